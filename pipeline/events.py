"""What a run tells its driver while it goes on: plain rows, never log lines."""

from dataclasses import dataclass

from pipeline.stage import Outcome


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is within one item."""

    stage: str
    item_id: str
    done: int
    total: int
    unit: str = "frames"


@dataclass(frozen=True)
class ItemDone:
    """An item has ended a stage."""

    stage: str
    item_id: str
    outcome: Outcome
    reason: str
    computed: bool
    """False where an earlier commit was reused."""
    seconds: float
    """Time that computing took, in this run or in the one that committed it."""


Event = StageProgress | ItemDone
