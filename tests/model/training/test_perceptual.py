import h5py
import numpy as np
import pytest
import torch

from model.training.data import resize_antialiased
from model.training.perceptual import HedVgg16, OnSquares, PerceptualWeightsError
from storage import assets


def _write(path, blocks: int = 5) -> None:
    """Weights of the right shapes whose first block copies blue, green and red."""
    rng = np.random.default_rng(0)
    widths = (3, 64, 128, 256, 512, 512)
    with h5py.File(path, "w") as file:
        for block in range(1, blocks + 1):
            for conv in range(HedVgg16.CONVS[block - 1]):
                inputs = widths[block - 1] if conv == 0 else widths[block]
                shape = (3, 3, inputs, widths[block])
                group = f"block{block}/layers/conv2d{f'_{conv}' if conv else ''}/vars"
                kernel = rng.normal(0, (2 / (9 * inputs)) ** 0.5, shape).astype(np.float32)
                file[f"{group}/0"] = kernel
                file[f"{group}/1"] = np.zeros(widths[block], np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg.h5"
    _write(path)
    return path


def test_distance_is_zero_for_equal_images_and_grows_with_noise(weights):
    distance = HedVgg16(weights, blocks=3)
    torch.manual_seed(0)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    noise = torch.randn_like(image)
    values = [float(distance(image + s * noise, image)) for s in (0, 0.05, 0.2)]
    assert values[0] == 0
    assert 0 < values[1] < values[2] < 2
    assert distance.name == "hed-vgg16-blocks3"


def test_gradients_flow_into_the_image_alone(weights):
    distance = HedVgg16(weights, blocks=2)
    image = torch.zeros(1, 3, 16, 16, requires_grad=True)
    target = torch.rand(1, 3, 16, 16, requires_grad=True)
    distance(image, target).backward()
    assert image.grad.abs().sum() > 0
    assert target.grad is None
    assert not any(p.requires_grad for p in distance.parameters())


def test_input_is_bgr_less_the_means_and_kernels_are_height_width_in_out(tmp_path):
    path = tmp_path / "vgg.h5"
    _write(path, blocks=1)
    with h5py.File(path, "a") as file:
        for conv in ("conv2d", "conv2d_1"):
            kernel = np.zeros_like(file[f"block1/layers/{conv}/vars/0"])
            kernel[0, 1, [0, 1, 2], [0, 1, 2]] = 1  # copies the pixel above
            file[f"block1/layers/{conv}/vars/0"][...] = kernel
    image = torch.ones(1, 3, 8, 8)
    image[:, 2, 0] = -1  # the first row has no blue
    (features,) = HedVgg16(path, blocks=1).features(image)
    expected = 255 - torch.tensor(HedVgg16.MEAN_BGR)
    assert torch.allclose(features[0, :3, 5, 4], expected / expected.norm(), atol=1e-5)
    shifted = torch.tensor([0, expected[1], expected[2]])
    assert torch.allclose(features[0, :3, 2, 4], shifted / shifted.norm(), atol=1e-5)


def test_large_images_are_shrunk_first_and_the_name_says_so(tmp_path):
    path = tmp_path / "vgg.h5"
    _write(path, blocks=1)
    whole, shrunk = HedVgg16(path, blocks=1), HedVgg16(path, blocks=1, largest_px=16)
    image, target = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    small = [resize_antialiased(one, 16) for one in (image, target)]
    assert torch.equal(shrunk(image, target), whole(*small))
    assert torch.equal(shrunk(*small), whole(*small))
    assert shrunk.name == "hed-vgg16-blocks1-16px"


def test_a_file_without_the_layers_is_one_clear_error(tmp_path):
    path = tmp_path / "vgg.h5"
    _write(path, blocks=2)
    with pytest.raises(PerceptualWeightsError, match="no entry block3/layers/conv2d/vars"):
        HedVgg16(path, blocks=3)
    with pytest.raises(PerceptualWeightsError, match="blocks is 6"):
        HedVgg16(path, blocks=6)


def test_the_real_trunk_minds_blur_more_than_brightness(portrait_png):
    try:
        path = assets.fetch("hed_vgg16")
    except assets.AssetError as error:
        pytest.skip(f"hed_vgg16 cannot be had here: {error}")
    distance = HedVgg16(path, blocks=5)
    from skimage.io import imread

    picture = imread(portrait_png)[:128, 160:288, :3].astype(np.float32) / 127.5 - 1
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    brighter = (image + 0.12).clamp(-1, 1)
    kernel = torch.ones(3, 1, 5, 5) / 25
    blurred = torch.nn.functional.conv2d(image, kernel, padding=2, groups=3)
    assert float(distance(brighter, image)) < 0.2 * float(distance(blurred, image))
    assert float(distance(image.flip(3), image)) > float(distance(blurred, image))


def test_one_square_of_the_pictures_at_a_place_drawn_for_each_step():
    class Remember:
        name = "remember"
        seen: list[torch.Tensor] = []  # noqa: RUF012

        def __call__(self, image_BCHW, target_BCHW):
            assert torch.equal(image_BCHW + 1, target_BCHW)
            self.seen.append(image_BCHW)
            return image_BCHW.mean()

    distance = OnSquares(Remember(), 8)
    image = torch.arange(32.0 * 32).view(1, 1, 32, 32)
    torch.manual_seed(0)
    for _ in range(300):
        distance(image, image + 1)
    corners = {int(one[0, 0, 0, 0]) for one in Remember.seen}
    assert {one.shape[-2:] for one in Remember.seen} == {(8, 8)}
    assert min(c % 32 for c in corners) == 0
    assert max(c % 32 for c in corners) == 24
    assert max(corners) // 32 == 24
    assert distance.name == "remember-square8px"
    distance(image[..., :4, :4], image[..., :4, :4] + 1)
    assert Remember.seen[-1].shape[-2:] == (4, 4)  # raw images smaller than the square: as they are
