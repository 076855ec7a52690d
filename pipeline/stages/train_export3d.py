"""Training of Export3D as a stage, on a pre-trained expression encoder (Spec 2.6)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from model.export3d.config import Export3DConfig
from model.training.config import TrainingConfig
from model.training.data import Clip
from model.training.expression_loss import ExpressionLoss
from model.training.holdout import Holdout, split
from model.training.loop import Watch
from model.training.perceptual import HedVgg16, OnSquares, Perceptual
from model.training.state import TrainedState
from model.training.team import UnevenShareError, check_share
from model.training.trainer import train_export3d
from pipeline.errors import ConfigurationError
from pipeline.faces.expression_loss import expression_loss_identity, open_expression_loss
from pipeline.stage import Resources, Result, Work, stage_key
from pipeline.stages.train_clebs import ENCODER
from pipeline.stages.training import Reached, device, run_training, train_here
from pipeline.stages.training_workers import SharedTraining, train_on_workers
from storage import assets
from storage.checkpoints import read_checkpoint
from storage.identity import JSON, plain
from storage.ledger import Commit

WEIGHTS = "weights"
PERCEPTUAL = "hed_vgg16"
_OWN_GIB = 4.0  # of a process, beside the frames that it keeps


@dataclass(frozen=True)
class TrainExport3DConfig:
    """Network, training, and the devices it gets."""

    network: Export3DConfig
    training: TrainingConfig
    perceptual_blocks: int
    """Blocks of VGG16 in the perceptual loss, 1 to 5; 0 trains without one."""
    perceptual_px: int | None = None
    """Images larger than this are shrunk for the perceptual loss; None compares full size."""
    perceptual_square_px: int | None = None
    """Side of the square, drawn for each step, that the perceptual loss sees; None: all of it."""
    holdout: Holdout = field(default_factory=Holdout)
    """Frames that the run never sees; pictures of samples are of them, where there are any."""
    from_weights: bool = False
    """Begin with the weights that the item names as "start", not with a pre-trained encoder. The
    item's inputs say which, so that this belongs to no key."""
    gpus: float = 0
    """Devices of each worker; changes no key."""
    workers: int = 1
    """Processes that share the pairs of every step; changes no key."""

    def __post_init__(self) -> None:
        if self.workers > 1 and not float(self.gpus).is_integer():
            raise ConfigurationError(
                f"{self.workers} workers with {self.gpus:g} GPU each would share devices, over "
                "which they cannot exchange gradients; allowed are whole numbers"
            )
        try:
            check_share(self.training.batch, self.workers)
        except UnevenShareError as error:
            raise ConfigurationError(str(error)) from error


class TrainExport3D(SharedTraining):
    """Dataset and encoder in; the network's weights out."""

    name = "export3d"
    version = 1
    unit = "steps"
    libraries = ("torch", "decord")

    config: TrainExport3DConfig

    def __init__(self, config: TrainExport3DConfig) -> None:
        super().__init__(config)
        memory_gib = _OWN_GIB + config.training.cache_gib
        self.workers = config.workers
        from_encoder = config.network.expression == "clebs" and not config.from_weights
        self.needs = ("clebs",) if from_encoder else ()
        self.each = Resources(cpus=8, gpus=config.gpus, memory_gib=memory_gib)
        # Where workers do the work, the stage's own process waits, and must not hold their place.
        self.resources = self.each if config.workers == 1 else Resources(cpus=0, memory_gib=1)

    def identity(self) -> JSON:
        """Network, training, the networks behind the losses, and the frames left out."""
        blocks = self.config.perceptual_blocks
        return {
            "network": plain(self.config.network),
            "training": plain(self.config.training),
            "perceptual_blocks": blocks,
            "perceptual_px": self.config.perceptual_px,
            "perceptual_square_px": self.config.perceptual_square_px,
            "perceptual_sha256": assets.weights_digest(PERCEPTUAL) if blocks else "",
            "expression": expression_loss_identity() if self._reads_expressions else None,
            "holdout": plain(self.config.holdout),
        }

    def setup(self) -> None:
        """Load the networks of the losses."""
        blocks, px = self.config.perceptual_blocks, self.config.perceptual_px
        self._perceptual: Perceptual | None = None
        if blocks:
            self._perceptual = HedVgg16(assets.locate(PERCEPTUAL), blocks, px).to(device())
            if square_px := self.config.perceptual_square_px:
                self._perceptual = OnSquares(self._perceptual, square_px)
        self._expression: ExpressionLoss | None = None
        if self._reads_expressions:
            self._expression = open_expression_loss().to(device())

    @property
    def _reads_expressions(self) -> bool:
        weights = self.config.training.weights
        return weights.expression > 0 or weights.expression_of_others > 0

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Train once for each run."""
        return [self._run(work) for work in batch]

    def _run(self, work: Work) -> Result:
        if self.workers > 1:
            return train_on_workers(self, work, [WEIGHTS])
        return run_training(work, [WEIGHTS], lambda: self.take_part(work, leads=True))

    def take_part(self, work: Work, *, leads: bool) -> Reached:
        """See SharedTraining."""
        clebs = _group(work, work.item.commits["clebs"], ENCODER) if self.needs else None
        weights = _group(work, _start(work), WEIGHTS) if self.config.from_weights else None

        def train(clips: Sequence[Clip], state: TrainedState | None, watch: Watch) -> TrainedState:
            config = self.config
            trained_on, held_out = split(clips, config.holdout)
            return train_export3d(
                config.network,
                config.training,
                trained_on,
                shown=held_out if config.holdout.tail_share else None,
                clebs=clebs,
                weights=weights,
                perceptual=self._perceptual,
                expression=self._expression,
                state=state,
                watch=watch,
                device=device(),
            )

        return train_here(work, stage_key(self, work.item), train, leads=leads)


def _start(work: Work) -> Commit:
    """Return the commit of the training that this one goes on from."""
    return work.ledger.expect(TrainExport3D.name, str(work.item.inputs["start"]))


def _group(work: Work, commit: Commit, group: str) -> dict[str, Tensor]:
    """Read a group of tensors that a finished training has left."""
    folder = work.folder / group
    folder.mkdir()
    for name in (f"{group}.safetensors", "card.json"):
        work.ledger.fetch(commit.output(name), folder)
    return dict(read_checkpoint(folder)[0][group])
