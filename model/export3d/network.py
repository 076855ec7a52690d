"""Export3D: one network from portrait, expression and camera to an image.

Shape suffixes: B batch, C channels, H, W, P planes = 3, E expression coefficients, 25 camera label
(row-major 4x4 camera-to-world, then row-major 3x3 intrinsics in units of the image's side).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from model.export3d.condition import ExpressionCondition
from model.export3d.config import Export3DConfig
from model.export3d.generator import SourceTokens, TriplaneGenerator
from model.precision import full_precision
from model.rendering.superres import SuperResolution
from model.rendering.triplane import PLANES, PointDecoder
from model.rendering.volume import MarchSettings, render


@dataclass(frozen=True)
class Rendered:
    """What a camera sees. Images are red, green, blue in [-1, 1], not clamped.

    `depth_B1HW` is the mean distance along the ray in label units and `alpha_B1HW` the share of the
    ray that is opaque, both as large as `raw_BCHW`. `generated_BPCHW` is the generator's output
    before the running mean was added, for `update_plane_mean`; None from `render` alone.
    """

    image_BCHW: Tensor
    raw_BCHW: Tensor
    depth_B1HW: Tensor
    alpha_B1HW: Tensor
    generated_BPCHW: Tensor | None = None


class Export3D(nn.Module):
    """The paper's network (Export3D 3): expression encoder, generator, renderer, super-resolution.

    In eval mode the same input gives the same bytes; in train mode the ray samples are random.
    """

    plane_mean_PCHW: Tensor

    def __init__(self, config: Export3DConfig) -> None:
        super().__init__()
        self.config = config
        self.condition = ExpressionCondition(config)
        self.generator = TriplaneGenerator(config)
        self.decoder = PointDecoder(
            config.plane_channels, config.decoder_hidden, config.feature_channels
        )
        self.superres = SuperResolution(config.feature_channels, config.superres_channels)
        self.march = MarchSettings(
            box_size=config.box_size,
            depth_range=config.depth_range,
            near=config.near,
            far=config.far,
            samples_coarse=config.samples_coarse,
            samples_fine=config.samples_fine,
        )
        side = config.plane_px
        mean = torch.zeros(len(PLANES), config.plane_channels, side, side)
        self.register_buffer("plane_mean_PCHW", mean)

    def encode_source(self, image_BCHW: Tensor) -> SourceTokens:
        """Return what can be kept of a source image [B, 3, image_px, image_px] in [-1, 1].

        Raises ValueError for another shape.
        """
        side = self.config.image_px
        if image_BCHW.shape[1:] != (3, side, side):
            got = list(image_BCHW.shape)
            raise ValueError(f"a source image is [B, 3, {side}, {side}], not {got}")
        return self.generator.encode(image_BCHW)

    def generate(self, source: SourceTokens, exp_BE: Tensor) -> Tensor:
        """Return the generator's raw planes_BPCHW, without their running mean."""
        with full_precision(exp_BE.device):
            condition_BMD = self.condition(exp_BE)
        return self.generator.decode(source, condition_BMD).float()

    def planes(self, source: SourceTokens, exp_BE: Tensor) -> Tensor:
        """Return planes_BPCHW ready to render: raw planes plus their running mean."""
        return self.generate(source, exp_BE) + self.plane_mean_PCHW

    def render(self, planes_BPCHW: Tensor, camera_B25: Tensor) -> Rendered:
        """Return the planes as the camera sees them."""
        # Depths along a ray differ by less than bfloat16 can tell.
        with full_precision(planes_BPCHW.device):
            volume = render(
                planes_BPCHW,
                self.decoder,
                camera_B25,
                self.config.raw_px,
                self.march,
                jitter=self.training,
            )
        return Rendered(
            image_BCHW=self.superres(volume.feature_BCHW),
            raw_BCHW=volume.feature_BCHW[:, :3],
            depth_B1HW=volume.depth_B1HW,
            alpha_B1HW=volume.alpha_B1HW,
        )

    def forward(self, source_BCHW: Tensor, exp_BE: Tensor, camera_B25: Tensor) -> Rendered:
        """Return the source with the expression, as the camera sees it."""
        generated_BPCHW = self.generate(self.encode_source(source_BCHW), exp_BE)
        seen = self.render(generated_BPCHW + self.plane_mean_PCHW, camera_B25)
        return Rendered(
            seen.image_BCHW, seen.raw_BCHW, seen.depth_B1HW, seen.alpha_B1HW, generated_BPCHW
        )

    @torch.no_grad()
    def update_plane_mean(self, generated_BPCHW: Tensor) -> None:
        """Move the running mean toward the batch's; call once per optimiser step, after forward.

        The mean is of the raw output: averaging what already contains it would grow without bound
        (Export3D eq. 12; Spec 2.7). With several processes the mean is over all of them. Does
        nothing where the configuration has no running mean; raises RuntimeError in eval mode.
        """
        if not self.training:
            raise RuntimeError("the running mean of the planes is updated in train mode only")
        if self.config.plane_mean == "none":
            return
        batch_PCHW = generated_BPCHW.detach().float().mean(dim=0)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(batch_PCHW)
            batch_PCHW /= distributed.get_world_size()
        self.plane_mean_PCHW.lerp_(batch_PCHW, 1 - self.config.plane_mean_decay)
