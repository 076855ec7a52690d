import numpy as np
import pytest

from model.geometry.camera import label_eg3d_orig, project_film, project_label
from preprocess.crop import Align, CropConfig, crop_affines, crop_boxes, follow, transform
from preprocess.face3d.cameras import CameraMode, camera_labels, smooth_pose
from preprocess.face3d.mesh478 import fit_clip


@pytest.mark.parametrize("align", list(Align))
def test_the_exact_camera_shows_the_face_where_the_crop_has_it(model, make_clip, align):
    clip = make_clip(model, seed=1, frames=12)
    config = CropConfig(align=align)
    alignment = follow(clip.alignment, np.arange(12), config)
    boxes = crop_boxes(alignment.origin_T2, alignment.scale_T, config.align)
    fit = fit_clip(model, clip.meshes_TV3, alignment)
    shapes = model.shape(fit.identity_I, fit.expression_TE, fit.angles_T3)
    film_px = project_film(
        shapes, fit.angles_T3, fit.translation_T3, alignment.origin_T2, alignment.scale_T
    )
    labels = camera_labels(fit, alignment, boxes, CameraMode.EXACT)
    assert labels.shape == (12, 25)
    crop_px = 256 * project_label(shapes, labels)
    np.testing.assert_allclose(crop_px, transform(crop_affines(boxes, 256), film_px), atol=1e-6)
    seen = transform(crop_affines(boxes, 256), clip.meshes_TV3[..., :2])
    assert np.linalg.norm(crop_px - seen, axis=-1).mean() < 0.5


def test_eg3d_labels_depend_on_the_pose_alone(model, make_clip):
    clip = make_clip(model, seed=2, frames=4)
    fit = fit_clip(model, clip.meshes_TV3, clip.alignment)
    boxes = crop_boxes(clip.alignment.origin_T2, clip.alignment.scale_T, Align.PER_FRAME)
    labels = camera_labels(fit, clip.alignment, boxes, CameraMode.EG3D_ORIG)
    np.testing.assert_array_equal(labels, label_eg3d_orig(fit.angles_T3, fit.translation_T3))


def test_smoothing_touches_the_pose_and_nothing_else(model, make_clip):
    clip = make_clip(model, seed=3, frames=30)
    fit = fit_clip(model, clip.meshes_TV3, clip.alignment)
    even = smooth_pose(fit, np.arange(30), sigma_frames=2.0)
    assert even.angles_T3.std() < fit.angles_T3.std()
    assert np.diff(even.translation_T3, axis=0).std() < np.diff(fit.translation_T3, axis=0).std()
    assert even.expression_TE is fit.expression_TE
    assert even.identity_I is fit.identity_I
