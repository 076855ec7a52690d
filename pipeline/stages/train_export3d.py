"""Training of Export3D as a stage, on a pre-trained expression encoder (Spec 2.6)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from model.export3d.config import Export3DConfig
from model.training.data import Clip
from model.training.holdout import Holdout, split
from model.training.loop import Watch
from model.training.perceptual import HedVgg16
from model.training.state import TrainedState, plain
from model.training.trainer import TrainingConfig, train_export3d
from pipeline.stage import Resources, Result, Stage, Work, stage_key
from pipeline.stages.train_clebs import ENCODER
from pipeline.stages.training import device, run_training
from storage import assets
from storage.checkpoints import read_checkpoint
from storage.identity import JSON

WEIGHTS = "weights"
PERCEPTUAL = "hed_vgg16"


@dataclass(frozen=True)
class TrainExport3DConfig:
    """Network, training, and the devices it gets."""

    network: Export3DConfig
    training: TrainingConfig
    perceptual_blocks: int
    """Blocks of VGG16 in the perceptual loss, 1 to 5; 0 trains without one."""
    perceptual_px: int | None = None
    """Images larger than this are shrunk for the perceptual loss; None compares full size."""
    holdout: Holdout = field(default_factory=Holdout)
    """Frames that the run never sees; pictures of samples are of them, where there are any."""
    gpus: float = 0
    """Devices of the run; changes no key."""


class TrainExport3D(Stage):
    """Dataset and encoder in; the network's weights out."""

    name = "export3d"
    version = 1
    needs = ("clebs",)
    unit = "steps"
    libraries = ("torch", "decord")

    config: TrainExport3DConfig

    def __init__(self, config: TrainExport3DConfig) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=8, gpus=config.gpus, memory_gib=6)

    def identity(self) -> JSON:
        """Network, training, the network behind the perceptual loss, and the frames left out."""
        blocks = self.config.perceptual_blocks
        return {
            "network": plain(self.config.network),
            "training": plain(self.config.training),
            "perceptual_blocks": blocks,
            "perceptual_px": self.config.perceptual_px,
            "perceptual_sha256": assets.weights_digest(PERCEPTUAL) if blocks else "",
            "holdout": plain(self.config.holdout),
        }

    def setup(self) -> None:
        """Load the perceptual network."""
        blocks, px = self.config.perceptual_blocks, self.config.perceptual_px
        self._perceptual = HedVgg16(assets.locate(PERCEPTUAL), blocks, px) if blocks else None

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Train once for each run."""
        return [self._run(work) for work in batch]

    def _run(self, work: Work) -> Result:
        encoder = work.folder / "encoder"
        encoder.mkdir()
        for name in (f"{ENCODER}.safetensors", "card.json"):
            work.ledger.fetch(work.item.commits["clebs"].output(name), encoder)
        clebs = read_checkpoint(encoder)[0][ENCODER]

        def train(clips: Sequence[Clip], state: TrainedState | None, watch: Watch) -> TrainedState:
            config = self.config
            trained_on, held_out = split(clips, config.holdout)
            return train_export3d(
                config.network,
                config.training,
                trained_on,
                shown=held_out if config.holdout.tail_share else None,
                clebs=clebs,
                perceptual=self._perceptual,
                state=state,
                watch=watch,
                device=device(),
            )

        return run_training(work, stage_key(self, work.item), [WEIGHTS], train)
