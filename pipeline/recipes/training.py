"""Recipes of training, as plain functions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from model.export3d import sizes
from model.training.clebs import ClebsTrainingConfig
from model.training.config import TrainingConfig
from model.training.discriminator import DiscriminatorConfig
from model.training.holdout import Holdout
from model.training.loop import Cadence
from model.training.losses import ReconstructionWeights
from pipeline.stage import StageSpec
from pipeline.stages.train_clebs import TrainClebs, TrainClebsConfig
from pipeline.stages.train_export3d import TrainExport3D, TrainExport3DConfig
from preprocess.face3d.cameras import CameraMode


@dataclass(frozen=True)
class TrainRecipe:
    """The stages of training."""

    name: str
    clebs: TrainClebsConfig | None
    """Pre-training of the expression encoder; None where the network learns without."""
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
            clebs=self.clebs and replace(self.clebs, gpus=gpus),
            export3d=replace(self.export3d, gpus=gpus),
        )

    def with_workers(self, workers: int) -> "TrainRecipe":
        """Return the recipe for that many workers of the generator; they share each step's pairs.

        Raises ConfigurationError where they cannot do so evenly.
        """
        return replace(self, export3d=replace(self.export3d, workers=workers))

    def from_weights(self) -> "TrainRecipe":
        """Return the recipe for a run that begins with all the weights of another."""
        return replace(self, clebs=None, export3d=replace(self.export3d, from_weights=True))

    def stages(self) -> list[StageSpec]:
        """Return the chain that a run goes through."""
        before = [StageSpec(TrainClebs, self.clebs)] if self.clebs else []
        return [*before, StageSpec(TrainExport3D, self.export3d)]


def train_export3d_256() -> TrainRecipe:
    """The paper's network and schedule: about five days on one A100."""
    network = sizes.export3d_256()
    return TrainRecipe(
        name="export3d_256",
        clebs=TrainClebsConfig(network, ClebsTrainingConfig()),
        export3d=TrainExport3DConfig(
            network, TrainingConfig(precision="bf16"), perceptual_blocks=5
        ),
    )


def train_export3d_mini() -> TrainRecipe:
    """256 px and 11.7 M parameters: meant for half an hour on one large GPU; not yet tried on one.

    Limited in time, too, as export3d_128 is.
    """
    network = sizes.export3d_mini()
    holdout = Holdout(tail_share=0.2)
    clebs = ClebsTrainingConfig(
        steps=1500,
        learning_rate=1e-3,
        final_rate=0.1,
        allow_fewer=True,
        cadence=Cadence(metrics_every=50, sample_every=0, checkpoint_every=500),
    )
    training = TrainingConfig(
        batch=16,
        reconstruction_steps=20_000,
        adversarial_steps=500,
        max_seconds=1500,
        learning_rate=5e-4,
        warmup_steps=200,
        final_rate=0.05,
        gradient_clip=1.0,
        precision="bf16",
        discriminator=DiscriminatorConfig(channel_base=8192, channel_max=256),
        cadence=Cadence(metrics_every=100, sample_every=1000, checkpoint_every=1000),
        sample_rows=8,
    )
    return TrainRecipe(
        name="export3d_mini",
        clebs=TrainClebsConfig(network, clebs, holdout),
        export3d=TrainExport3DConfig(
            network, training, perceptual_blocks=5, perceptual_px=128, holdout=holdout
        ),
        camera_mode=CameraMode.EXACT,
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


def train_export3d_128_fine() -> TrainRecipe:
    """Go on from a run of export3d_128, with a perceptual loss that sees the whole picture.

    At 64 px and two blocks that loss leaves eyes and mouth soft, and the soft ones are measured
    as other expressions. At full size and four blocks it costs more than the generator, so that it
    pays only where the coarse work is done.
    """
    recipe = train_export3d_128()
    training = replace(
        recipe.export3d.training,
        reconstruction_steps=10_000,
        adversarial_steps=0,
        max_seconds=5700,
        learning_rate=7e-4,
        weights=ReconstructionWeights(perceptual=3, perceptual_raw=0),
    )
    return replace(
        recipe,
        name="export3d_128_fine",
        export3d=replace(
            recipe.export3d, training=training, perceptual_blocks=4, perceptual_px=None
        ),
    )


def train_export3d_128_expression() -> TrainRecipe:
    """Go on from a run of export3d_128_fine, with a loss that reads the expressions drawn.

    Soft lids and lips are measured as other expressions than the driver's; a network that finds
    the landmarks tells the generator so, also of another person's face. VGG16 looks at a square of
    each picture, which saves the time that this takes.
    """
    recipe = train_export3d_128_fine()
    training = replace(
        recipe.export3d.training,
        max_seconds=5400,
        learning_rate=6e-4,
        weights=ReconstructionWeights(
            perceptual=3, perceptual_raw=0, expression=0.3, expression_of_others=0.3
        ),
    )
    return replace(
        recipe,
        name="export3d_128_expression",
        export3d=replace(recipe.export3d, training=training, perceptual_square_px=80),
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


TRAIN: dict[str, Callable[[], TrainRecipe]] = {
    "export3d_256": train_export3d_256,
    "export3d_mini": train_export3d_mini,
    "export3d_128": train_export3d_128,
    "export3d_128_fine": train_export3d_128_fine,
    "export3d_128_expression": train_export3d_128_expression,
    "export3d_demo": train_export3d_demo,
    "export3d_test": train_export3d_test,
}
