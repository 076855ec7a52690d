"""Recipes of pre-processing, as plain functions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.dataset import DatasetKind
from pipeline.errors import ConfigurationError
from pipeline.faces.backends import FROM_PYPI, KNOWING_FROM_PYPI, FaceNetworks
from pipeline.faces.models import FaceModelName, identity_of, widths_of
from pipeline.stage import StageSpec
from pipeline.stages.crop import Crop, CropStageConfig
from pipeline.stages.face3d import Face3D, Face3DConfig
from pipeline.stages.ingest import Ingest, IngestConfig
from pipeline.stages.landmarks import Landmarks, LandmarksConfig
from preprocess.crop import Align, Centre, CropConfig
from preprocess.face3d.cameras import CameraMode
from preprocess.people.follow import FollowConfig
from preprocess.people.spans import SpanConfig
from preprocess.quality.scores import QualityConfig
from storage.identity import digest


@dataclass(frozen=True)
class PreprocessRecipe:
    """The four stages of pre-processing."""

    name: str
    ingest: IngestConfig
    landmarks: LandmarksConfig
    crop: CropStageConfig
    face3d: Face3DConfig

    def __post_init__(self) -> None:
        networks, model = self.landmarks.networks, self.face3d.face_model
        if model is FaceModelName.MESH478 and networks.landmarks != "mediapipe":
            raise ConfigurationError(
                f"recipe {self.name!r}: face model mesh478 needs the mesh of landmarks mediapipe; "
                f"landmarks {networks.landmarks} go with face model bfm"
            )

        crop = self.crop.crop
        eg3d = crop.align is Align.PER_FRAME and crop.centre is Centre.ORIGIN
        if self.face3d.camera_mode is CameraMode.EG3D_ORIG and not eg3d:
            raise ConfigurationError(
                f"recipe {self.name!r}: camera eg3d_orig is only right for EG3D's own crop, align "
                f"per_frame about the origin; given is {crop.align} about the {crop.centre}"
            )

    def stages(self) -> list[StageSpec]:
        """Return the chain that films go through."""
        return [
            StageSpec(Ingest, self.ingest),
            StageSpec(Landmarks, self.landmarks),
            StageSpec(Crop, self.crop),
            StageSpec(Face3D, self.face3d),
        ]

    def kind(self) -> DatasetKind:
        """Return what a network trained on the dataset depends on."""
        return DatasetKind(
            recipe=self.name,
            camera_mode=str(self.face3d.camera_mode),
            face_model_sha256=digest(identity_of(self.face3d.face_model)),
            widths=widths_of(self.face3d.face_model),
        )


def preprocess_default() -> PreprocessRecipe:
    """The paper's data: 25 fps, 256 px nose-centred per frame, clips of at least 64 frames."""
    return _preprocess("default", 25, FaceNetworks(), SpanConfig(), CropConfig(), QualityConfig())


def preprocess_paper() -> PreprocessRecipe:
    """As default, with the Basel face model and EG3D's crop and camera, as the paper has them."""
    crop = CropConfig(centre=Centre.ORIGIN)
    like = _preprocess("paper", 25, FaceNetworks(), SpanConfig(), crop, QualityConfig())
    face3d = replace(like.face3d, face_model=FaceModelName.BFM, camera_mode=CameraMode.EG3D_ORIG)
    return replace(like, face3d=face3d)


def preprocess_demo() -> PreprocessRecipe:
    """As default, for films of seconds with one large face: clips of one second are enough."""
    spans = SpanConfig(min_frames=25)
    return _preprocess("demo", 25, FROM_PYPI, spans, CropConfig(), QualityConfig())


def preprocess_dubbing() -> PreprocessRecipe:
    """For films to be rendered: every frame at its own time, crop and pose smoothed over a shot."""
    return _dubbing("dubbing", FaceNetworks())


def preprocess_dubbing_demo() -> PreprocessRecipe:
    """As dubbing, for films of one large face: it needs no weights but those of the demo."""
    return _dubbing("dubbing_demo", KNOWING_FROM_PYPI)


def _dubbing(name: str, networks: FaceNetworks) -> PreprocessRecipe:
    spans = SpanConfig(min_frames=1, min_face_px=48)
    # A blurred or strange face is rendered all the same; what hides it must stay in front of it.
    quality = QualityConfig(min_sharpness=0, max_reprojection=0.05, max_lost_part=1)
    crop = CropConfig(align=Align.SMOOTHED)
    return _preprocess(name, None, networks, spans, crop, quality)


def _preprocess(
    name: str,
    fps: int | None,
    networks: FaceNetworks,
    spans: SpanConfig,
    crop: CropConfig,
    quality: QualityConfig,
) -> PreprocessRecipe:
    return PreprocessRecipe(
        name=name,
        ingest=IngestConfig(fps=fps),
        landmarks=LandmarksConfig(
            networks=networks,
            follow=FollowConfig(min_likeness=networks.likeness.same_face),
            same_person=networks.likeness.same_person,
        ),
        crop=CropStageConfig(spans=spans, crop=crop),
        face3d=Face3DConfig(crop=crop, quality=quality),
    )


PREPROCESS: dict[str, Callable[[], PreprocessRecipe]] = {
    "default": preprocess_default,
    "paper": preprocess_paper,
    "demo": preprocess_demo,
    "dubbing": preprocess_dubbing,
    "dubbing_demo": preprocess_dubbing_demo,
}
