"""Recipes: named configurations as plain functions. What a command does by default stands here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from model.export3d import sizes
from model.training.clebs import ClebsTrainingConfig
from model.training.discriminator import DiscriminatorConfig
from model.training.holdout import Holdout
from model.training.loop import Cadence
from model.training.losses import ReconstructionWeights
from model.training.trainer import TrainingConfig
from pipeline.dataset import DatasetKind
from pipeline.errors import ConfigurationError
from pipeline.face_backends import FROM_PYPI, FaceNetworks
from pipeline.face_models import FaceModelName, identity_of, widths_of
from pipeline.stage import StageSpec
from pipeline.stages.crop import Crop, CropStageConfig
from pipeline.stages.face3d import Face3D, Face3DConfig
from pipeline.stages.ingest import Ingest, IngestConfig
from pipeline.stages.landmarks import Landmarks, LandmarksConfig
from pipeline.stages.train_clebs import TrainClebs, TrainClebsConfig
from pipeline.stages.train_export3d import TrainExport3D, TrainExport3DConfig
from preprocess.crop import Align, Centre, CropConfig
from preprocess.face3d.cameras import CameraMode
from preprocess.people.spans import SpanConfig
from preprocess.quality.scores import QualityConfig
from storage.identity import digest

T = TypeVar("T")


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


@dataclass(frozen=True)
class TrainRecipe:
    """The two stages of training."""

    name: str
    clebs: TrainClebsConfig
    export3d: TrainExport3DConfig
    camera_mode: CameraMode | None = None
    """Cameras that the network's rays are laid out for; None: either, for the fixed range of the
    paper holds the face in both."""

    def with_steps(self, steps: int) -> "TrainRecipe":
        """Return the recipe with that many steps of the generator, shared by the phases alike."""
        training = self.export3d.training
        planned = training.reconstruction_steps + training.adversarial_steps
        adversarial = round(steps * training.adversarial_steps / planned)
        shorter = replace(
            training, reconstruction_steps=steps - adversarial, adversarial_steps=adversarial
        )
        return replace(self, export3d=replace(self.export3d, training=shorter))

    def with_gpus(self, gpus: float) -> "TrainRecipe":
        """Return the recipe for workers that have devices."""
        return replace(
            self,
            clebs=replace(self.clebs, gpus=gpus),
            export3d=replace(self.export3d, gpus=gpus),
        )

    def stages(self) -> list[StageSpec]:
        """Return the chain that a run goes through."""
        return [StageSpec(TrainClebs, self.clebs), StageSpec(TrainExport3D, self.export3d)]


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
    return _dubbing("dubbing_demo", FROM_PYPI)


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
        landmarks=LandmarksConfig(networks=networks),
        crop=CropStageConfig(spans=spans, crop=crop),
        face3d=Face3DConfig(crop=crop, quality=quality),
    )


def train_export3d_256() -> TrainRecipe:
    """The paper's network and schedule: about five days on one A100."""
    network = sizes.export3d_256()
    return TrainRecipe(
        name="export3d_256",
        clebs=TrainClebsConfig(network, ClebsTrainingConfig()),
        export3d=TrainExport3DConfig(network, TrainingConfig(), perceptual_blocks=5),
    )


def train_export3d_demo() -> TrainRecipe:
    """128 px and 0.8 M parameters: a blurry face from two short clips in minutes on two cores.

    Limited in time, too, so that the demo ends on a busy machine; a run cut short by that says so
    on its card, and cannot be reproduced.
    """
    network = sizes.export3d_demo()
    cadence = Cadence(metrics_every=20, sample_every=200, checkpoint_every=200)
    clebs = ClebsTrainingConfig(
        steps=150,
        max_seconds=60,
        learning_rate=1e-3,
        final_rate=0.1,
        allow_fewer=True,
        cadence=cadence,
    )
    training = TrainingConfig(
        batch=4,
        reconstruction_steps=1200,
        adversarial_steps=40,
        max_seconds=400,
        learning_rate=1e-3,
        warmup_steps=30,
        final_rate=0.1,
        gradient_clip=1.0,
        weights=ReconstructionWeights(perceptual_raw=0),
        discriminator=DiscriminatorConfig(channel_base=2048, channel_max=64, mapping_layers=2),
        cadence=cadence,
    )
    return TrainRecipe(
        name="export3d_demo",
        clebs=TrainClebsConfig(network, clebs),
        export3d=TrainExport3DConfig(network, training, perceptual_blocks=2, perceptual_px=64),
        camera_mode=CameraMode.EXACT,
    )


def train_export3d_128() -> TrainRecipe:
    """128 px and 1.8 M parameters: a dozen persons in two hours on two CPU cores.

    The last fifth of every clip is kept for `e3d evaluate`. Limited in time, too: a run cut short
    by that says so on its card, and cannot be reproduced.
    """
    network = sizes.export3d_128()
    holdout = Holdout(tail_share=0.2)
    clebs = ClebsTrainingConfig(
        steps=1000,
        learning_rate=1e-3,
        final_rate=0.1,
        allow_fewer=True,
        cadence=Cadence(metrics_every=50, sample_every=0, checkpoint_every=500),
        cache_gib=2,
    )
    training = TrainingConfig(
        batch=4,
        reconstruction_steps=14_000,
        adversarial_steps=400,
        max_seconds=6600,
        learning_rate=1e-3,
        warmup_steps=100,
        final_rate=0.05,
        gradient_clip=1.0,
        precision="bf16",
        weights=ReconstructionWeights(perceptual_raw=0),
        discriminator=DiscriminatorConfig(channel_base=2048, channel_max=64, mapping_layers=2),
        cadence=Cadence(metrics_every=50, sample_every=500, checkpoint_every=500),
        sample_rows=8,
        cache_gib=2,
    )
    return TrainRecipe(
        name="export3d_128",
        clebs=TrainClebsConfig(network, clebs, holdout),
        export3d=TrainExport3DConfig(
            network, training, perceptual_blocks=2, perceptual_px=64, holdout=holdout
        ),
        camera_mode=CameraMode.EXACT,
    )


def train_export3d_test() -> TrainRecipe:
    """64 px and 0.6 M parameters, a few steps: for tests of the path, not of the picture."""
    network = sizes.export3d_test()
    cadence = Cadence(metrics_every=2, sample_every=10, checkpoint_every=5)
    clebs = ClebsTrainingConfig(steps=6, learning_rate=1e-3, allow_fewer=True, cadence=cadence)
    training = TrainingConfig(
        batch=2,
        reconstruction_steps=18,
        adversarial_steps=2,
        learning_rate=1e-3,
        discriminator=DiscriminatorConfig(channel_base=512, channel_max=32, mapping_layers=2),
        cadence=cadence,
        sample_rows=2,
    )
    return TrainRecipe(
        name="export3d_test",
        clebs=TrainClebsConfig(network, clebs),
        export3d=TrainExport3DConfig(network, training, perceptual_blocks=0),
    )


PREPROCESS: dict[str, Callable[[], PreprocessRecipe]] = {
    "default": preprocess_default,
    "paper": preprocess_paper,
    "demo": preprocess_demo,
    "dubbing": preprocess_dubbing,
    "dubbing_demo": preprocess_dubbing_demo,
}
TRAIN: dict[str, Callable[[], TrainRecipe]] = {
    "export3d_256": train_export3d_256,
    "export3d_128": train_export3d_128,
    "export3d_demo": train_export3d_demo,
    "export3d_test": train_export3d_test,
}


def preprocess_recipe(name: str) -> PreprocessRecipe:
    """Return a recipe by name. Raises ConfigurationError, naming the ones there are."""
    return _find(name, PREPROCESS)()


def train_recipe(name: str) -> TrainRecipe:
    """Return a recipe by name. Raises ConfigurationError, naming the ones there are."""
    return _find(name, TRAIN)()


def _find(name: str, recipes: dict[str, Callable[[], T]]) -> Callable[[], T]:
    if name not in recipes:
        raise ConfigurationError(f"recipe is {name!r}; allowed is {', '.join(recipes)}")
    return recipes[name]
