"""Pre-training of the expression encoder as a stage (Export3D 3.1; Spec 2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from model.export3d.config import Export3DConfig
from model.training.clebs import ClebsTrainingConfig, pretrain_clebs
from model.training.data import Clip
from model.training.holdout import Holdout, split
from model.training.loop import Watch
from model.training.state import TrainedState
from pipeline.stage import Resources, Result, Stage, Work, stage_key
from pipeline.stages.training import device, run_training, train_here
from storage.identity import JSON, plain

ENCODER = "lebs"
_OWN_GIB = 2.0  # of the process, beside the frames that it keeps


@dataclass(frozen=True)
class TrainClebsConfig:
    """Network, training, and the devices it gets."""

    network: Export3DConfig
    training: ClebsTrainingConfig
    holdout: Holdout = field(default_factory=Holdout)
    """Frames that the run never sees."""
    gpus: float = 0
    """Devices of the run; changes no key."""


class TrainClebs(Stage):
    """Dataset in; the encoder with its stored basis and the statistics of lambda out."""

    name = "clebs"
    version = 1
    unit = "steps"
    libraries = ("torch", "decord")

    config: TrainClebsConfig

    def __init__(self, config: TrainClebsConfig) -> None:
        super().__init__(config)
        memory_gib = _OWN_GIB + config.training.cache_gib
        self.resources = Resources(cpus=8, gpus=config.gpus, memory_gib=memory_gib)

    def identity(self) -> JSON:
        """Network, training, and the frames left out."""
        return {
            "network": plain(self.config.network),
            "training": plain(self.config.training),
            "holdout": plain(self.config.holdout),
        }

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Pre-train once for each run."""
        return [self._run(work) for work in batch]

    def _run(self, work: Work) -> Result:
        key = stage_key(self, work.item)
        return run_training(work, [ENCODER], lambda: train_here(work, key, self._train))

    def _train(
        self, clips: Sequence[Clip], state: TrainedState | None, watch: Watch
    ) -> TrainedState:
        config = self.config
        trained_on, _ = split(clips, config.holdout)
        return pretrain_clebs(
            config.network, config.training, trained_on, state=state, watch=watch, device=device()
        )
