"""Fit of a clip by the Basel face: crops, coefficients, what is shared, what is measured."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_bfm import made_converted, made_network, save_checkpoint, write_converted

from model.geometry.camera import label_eg3d_orig, project_film, project_label, rotation
from preprocess.crop import (
    CANONICAL_K3,
    Align,
    Alignment,
    CropBoxes,
    CropConfig,
    align_points,
    crop_affines,
    crop_boxes,
    follow,
    transform,
    warp_crop,
)
from preprocess.face3d.bfm import (
    BfmCoefficients,
    BfmFiles,
    extractor_affines,
    fit_clip,
    identity,
    read_bfm_model,
    regress,
)
from preprocess.face3d.bfm_files import CONVERTED, read_bfm
from preprocess.face3d.cameras import CameraMode, camera_labels, smooth_pose

FRAMES = 17  # more than one batch
HEADS = (80, 64, 80, 3, 27, 2, 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bfm")
    write_converted(folder, made_converted())
    save_checkpoint(folder / "epoch_20.pth", made_network())
    yield BfmFiles(folder, folder / "epoch_20.pth")
    (folder / "epoch_20.pth").unlink()  # 96 MB


@pytest.fixture(scope="module")
def model(files):
    return read_bfm_model(files, identity(files))


@pytest.fixture(scope="module")
def told(model):
    """The model with a network that says the same of every picture, and what it says."""
    rng = np.random.default_rng(5)
    says = np.concatenate(
        [
            rng.normal(size=224),
            [0.1, -0.3, 0.2],
            rng.normal(0, 0.1, 27),
            [0.05, -0.1, 0.4],
        ]
    ).astype(np.float32)
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        parts = torch.from_numpy(says).split(HEADS)
        for head, part in zip(network.final_layers, parts, strict=True):
            head.weight.zero_()
            head.bias.copy_(part)
    return replace(model, network=network), says.astype(np.float64)


def made_clip(frames=FRAMES, seed=0):
    """Tinted noise for pictures, an alignment that moves, and landmarks near its origin."""
    rng = np.random.default_rng(seed)
    tints = rng.uniform(0, 1, (frames, 1, 1, 3))
    pictures = (tints * rng.integers(0, 256, (frames, 120, 160, 3))).astype(np.uint8)
    origin = np.array([80, 60]) + np.cumsum(rng.normal(0, 1, (frames, 2)), axis=0)
    alignment = Alignment(origin, 30 + rng.normal(0, 0.5, frames))
    return pictures, origin[:, None] + rng.normal(0, 15, (frames, 68, 2)), alignment


@pytest.fixture(scope="module")
def fitted(model):
    pictures, landmarks, alignment = made_clip()
    fit = fit_clip(model, iter(pictures), landmarks, alignment)
    return SimpleNamespace(
        pictures=pictures, landmarks=landmarks, alignment=alignment, fit=fit, model=model
    )


# the crop


@given(
    origin=st.tuples(st.floats(-50, 2000), st.floats(-50, 2000)),
    scale=st.floats(10, 900),
)
def test_a_decimetre_is_102_px_and_the_origin_in_the_middle(origin, scale):
    """Five points of the canonical face, seen from afar, at their places on the 224 px crop."""
    film = np.array(origin) + scale * CANONICAL_K3[:, :2] * [1, -1]
    alignment = align_points(film[None])
    crop = transform(extractor_affines(alignment), film[None])[0]
    np.testing.assert_allclose(crop, 112 + 102 * CANONICAL_K3[:, :2] * [1, -1], atol=1e-6)


@pytest.mark.parametrize("scale", [40.0, 150.0])
def test_the_picture_moves_as_the_points_do(scale):
    """A soft spot per point; its middle is found again in the crop."""
    points = np.array([300.25, 280.6]) + scale * CANONICAL_K3[:, :2] * [1, -1]
    affine = extractor_affines(align_points(points[None]))[0]
    y, x = np.mgrid[:600, :600] + 0.5
    for point in points:
        spot = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (scale / 12) ** 2))
        film = np.repeat(np.round(255 * spot)[..., None], 3, axis=2).astype(np.uint8)
        crop = warp_crop(film, affine, 224)[..., 0].astype(np.float64)
        v, u = np.mgrid[:224, :224] + 0.5
        middle = np.array([(crop * u).sum(), (crop * v).sum()]) / crop.sum()
        np.testing.assert_allclose(middle, transform(affine, point[None])[0], atol=0.05)


def test_the_network_sees_rgb_from_0_to_1(fitted):
    """A frame of the second batch, put to the network by hand."""
    frame = FRAMES - 1
    affine = extractor_affines(fitted.alignment)[frame]
    crop = warp_crop(fitted.pictures[frame], affine, 224).astype(np.float32) / 255
    with torch.inference_mode():
        expected = fitted.model.network(torch.from_numpy(np.moveaxis(crop, -1, 0)[None]))[0]
    found = np.concatenate(
        [
            fitted.fit.expression_TE[frame],
            fitted.fit.angles_T3[frame],
            fitted.fit.gamma_TG[frame],
            fitted.fit.translation_T3[frame],
        ]
    )
    expected = np.r_[expected[80:144], expected[224:]]
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(fitted.fit.expression_TE - expected[:64]).max(axis=1)[:-1].min() > 1e-4


# coefficients


def test_widths_are_those_of_the_tables(fitted):
    fit = fitted.fit
    assert fit.identity_I.shape == fit.texture_X.shape == (80,)
    assert fit.expression_TE.shape == (FRAMES, 64)
    assert fit.gamma_TG.shape == (FRAMES, 27)
    assert fit.angles_T3.shape == fit.translation_T3.shape == (FRAMES, 3)
    assert fit.reprojection_px_T.shape == fit.reprojection_iod_T.shape == (FRAMES,)
    assert fit.identity_I.dtype == np.float64


def test_identity_and_albedo_are_the_means_over_the_clip(fitted):
    """And a second run gives the same bits."""
    coefficients = regress(fitted.model.network, fitted.pictures, fitted.alignment)
    assert coefficients.shape == (FRAMES, 257)
    assert coefficients[:, :80].std(axis=0).max() > 1e-4
    np.testing.assert_array_equal(fitted.fit.expression_TE, coefficients[:, 80:144])
    np.testing.assert_allclose(fitted.fit.identity_I, coefficients[:, :80].mean(axis=0))
    np.testing.assert_allclose(fitted.fit.texture_X, coefficients[:, 144:224].mean(axis=0))


def test_what_the_network_says_comes_out_group_by_group(told):
    model, says = told
    pictures, landmarks, alignment = made_clip(frames=2)
    fit = fit_clip(model, pictures, landmarks, alignment)
    assert isinstance(fit, BfmCoefficients)
    np.testing.assert_array_equal(fit.identity_I, says[:80])
    np.testing.assert_array_equal(fit.expression_TE, [says[80:144]] * 2)
    np.testing.assert_array_equal(fit.texture_X, says[144:224])
    np.testing.assert_array_equal(fit.angles_T3, [says[224:227]] * 2)
    np.testing.assert_array_equal(fit.gamma_TG, [says[227:254]] * 2)
    np.testing.assert_array_equal(fit.translation_T3, [says[254:]] * 2)


@pytest.mark.parametrize("extra", [-1, 1])
def test_frames_and_alignment_must_be_as_many(told, extra):
    model, _ = told
    pictures, landmarks, alignment = made_clip(frames=3)
    given_frames = [*pictures, pictures[0]]
    with pytest.raises(ValueError, match="zip"):
        fit_clip(model, given_frames[: 3 + extra], landmarks, alignment)
    for points in (landmarks[:2], landmarks[:, :67], landmarks[..., :1]):
        with pytest.raises(ValueError, match="68 or 5 points"):
            fit_clip(model, pictures, points, alignment)


# reprojection


def landmarks_by_formula(folder, says, alignment):
    """The model's 68 landmarks in film px, from the published formulas and the whole model."""
    face = read_bfm(folder)
    keep = face.landmarks_L
    shape = face.mean_V3[keep].double()
    shape = shape + torch.einsum(
        "i,ivc->vc", torch.tensor(says[:80]), face.identity_IV3[:, keep].double()
    )
    shape = shape + torch.einsum(
        "e,evc->vc", torch.tensor(says[80:144]), face.expression_EV3[:, keep].double()
    )
    moved = (rotation(says[224:227]) @ shape.numpy().T).T + says[254:]
    crop_px = 1015 * moved[:, :2] / (10 - moved[:, 2:]) * [1, -1]
    scale = (alignment.scale_T / 102)[:, None, None]
    return alignment.origin_T2[:, None] + scale * crop_px


def test_reprojection_is_the_distance_to_the_landmarks_in_film_px(files, told):
    model, says = told
    pictures, _, alignment = made_clip(frames=3)
    exact = landmarks_by_formula(files.folder, says, alignment)
    fit = fit_clip(model, pictures, exact, alignment)
    np.testing.assert_allclose(fit.reprojection_px_T, 0, atol=1e-9)
    moved = exact + np.array([3.0, 4.0])
    moved[1] = exact[1] + np.array([0.6, 0.8])
    fit = fit_clip(model, pictures, moved, alignment)
    np.testing.assert_allclose(fit.reprojection_px_T, [5, 1, 5], atol=1e-9)
    left, right = moved[:, [36, 39]].mean(axis=1), moved[:, [42, 45]].mean(axis=1)
    between = np.linalg.norm(left - right, axis=-1)
    np.testing.assert_allclose(fit.reprojection_iod_T, [5, 1, 5] / between, atol=1e-9)


def test_the_jaw_does_not_count(files, told):
    """Its landmarks are the picture's contour, not fixed points of the face."""
    model, says = told
    pictures, _, alignment = made_clip(frames=2)
    landmarks = landmarks_by_formula(files.folder, says, alignment)
    landmarks[:, :17] += 30
    fit = fit_clip(model, pictures, landmarks, alignment)
    np.testing.assert_allclose(fit.reprojection_px_T, 0, atol=1e-9)
    landmarks[:, 17] += [0, 51]
    fit = fit_clip(model, pictures, landmarks, alignment)
    np.testing.assert_allclose(fit.reprojection_px_T, 1, atol=1e-9)


def test_five_points_will_do(files, told):
    """Spec 2.2.1: nose 31, eyes the means of 37 and 40, 43 and 46, mouth 49 and 55, from 1."""
    model, says = told
    pictures, _, alignment = made_clip(frames=2)
    by_number = dict(
        enumerate(np.moveaxis(landmarks_by_formula(files.folder, says, alignment), 1, 0), 1)
    )
    left, right = (by_number[37] + by_number[40]) / 2, (by_number[43] + by_number[46]) / 2
    five = np.stack([left, right, by_number[31], by_number[49], by_number[55]], axis=1)
    fit = fit_clip(model, pictures, five, alignment)
    np.testing.assert_allclose(fit.reprojection_px_T, 0, atol=1e-9)
    five[1, 2] += [6, 8]
    fit = fit_clip(model, pictures, five, alignment)
    np.testing.assert_allclose(fit.reprojection_px_T, [0, 2], atol=1e-9)
    between = np.linalg.norm(left - right, axis=-1)
    np.testing.assert_allclose(fit.reprojection_iod_T, [0, 2] / between, atol=1e-9)


# cameras


def boxes_of(kind, alignment):
    if kind == "arbitrary":
        rng = np.random.default_rng(3)
        count = len(alignment.scale_T)
        return alignment, CropBoxes(rng.uniform(0, 160, (count, 2)), rng.uniform(20, 400, count))
    config = CropConfig(align=kind)
    followed = follow(alignment, np.arange(len(alignment.scale_T)), config)
    return followed, crop_boxes(followed.origin_T2, followed.scale_T, config.align)


@pytest.mark.parametrize("kind", [*Align, "arbitrary"])
def test_the_exact_camera_shows_the_face_where_the_crop_has_it(told, kind):
    """Spec 11, 1: the label against the extractor's projection, for EG3D's crop and others."""
    model, _ = told
    pictures, landmarks, alignment = made_clip(frames=6)
    alignment, boxes = boxes_of(kind, alignment)
    fit = fit_clip(model, pictures, landmarks, alignment)
    shapes = model.landmarks.shape(fit.identity_I, fit.expression_TE)
    film_px = project_film(
        shapes, fit.angles_T3, fit.translation_T3, alignment.origin_T2, alignment.scale_T
    )
    labels = camera_labels(fit, alignment, boxes, CameraMode.EXACT)
    assert labels.shape == (6, 25)
    expected = transform(crop_affines(boxes, 1), film_px)
    np.testing.assert_allclose(project_label(shapes, labels), expected, rtol=0, atol=1e-6)


def test_eg3d_labels_depend_on_the_pose_alone(fitted):
    boxes = crop_boxes(fitted.alignment.origin_T2, fitted.alignment.scale_T, Align.PER_FRAME)
    labels = camera_labels(fitted.fit, fitted.alignment, boxes, CameraMode.EG3D_ORIG)
    expected = label_eg3d_orig(fitted.fit.angles_T3, fitted.fit.translation_T3)
    np.testing.assert_array_equal(labels, expected)


def test_smoothing_the_pose_keeps_light_and_albedo(fitted):
    even = smooth_pose(fitted.fit, np.arange(FRAMES), sigma_frames=2.0)
    assert isinstance(even, BfmCoefficients)
    assert even.gamma_TG is fitted.fit.gamma_TG
    assert even.texture_X is fitted.fit.texture_X
    assert np.diff(even.angles_T3, axis=0).std() < np.diff(fitted.fit.angles_T3, axis=0).std()


# files and identity


def test_the_model_is_the_whole_ones_landmarks(files, model):
    face = read_bfm(files.folder)
    assert model.landmarks.name == "bfm"
    assert len(model.landmarks.digest) == 64
    np.testing.assert_array_equal(model.landmarks.mean_V3, face.mean_V3[face.landmarks_L])
    expected = face.expression_EV3[:, face.landmarks_L]
    np.testing.assert_array_equal(model.landmarks.expression_EV3, expected)


def test_identity_names_every_file_and_the_port(files):
    found = identity(files)
    assert found.keys() == {"face_model", "version", f"{CONVERTED} sha256", "checkpoint sha256"}
    assert found["face_model"] == "bfm"
    assert all(len(found[name]) == 64 for name in found if name.endswith("sha256"))


@pytest.fixture
def small_files(tmp_path):
    write_converted(tmp_path, made_converted())
    (tmp_path / "epoch_20.pth").write_bytes(b"weights")
    return BfmFiles(tmp_path, tmp_path / "epoch_20.pth")


def test_identity_follows_the_bytes_and_not_the_place(small_files, tmp_path):
    before = identity(small_files)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    small_files.checkpoint.rename(moved / "another_name.pth")
    (tmp_path / CONVERTED).rename(moved / CONVERTED)
    assert identity(BfmFiles(moved, moved / "another_name.pth")) == before
    (moved / "another_name.pth").write_bytes(b"other weights")
    after = identity(BfmFiles(moved, moved / "another_name.pth"))
    assert {key for key in before if before[key] != after[key]} == {"checkpoint sha256"}


def test_files_that_changed_since_the_job_began_are_refused(small_files):
    wanted = identity(small_files)
    small_files.checkpoint.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"not the files .* checkpoint sha256 differ"):
        read_bfm_model(small_files, wanted)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=CONVERTED):
        identity(BfmFiles(tmp_path, tmp_path / "epoch_20.pth"))
    write_converted(tmp_path, made_converted())
    with pytest.raises(FileNotFoundError, match=r"epoch_20\.pth"):
        identity(BfmFiles(tmp_path, tmp_path / "epoch_20.pth"))
