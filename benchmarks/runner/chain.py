"""The stages that are measured: they nap as long as the item says, and die where it says so."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.stage import Item, Outcome, Resources, Result, Stage, StageSpec, Work
from storage.identity import JSON


@dataclass(frozen=True)
class Config:
    nap_s: float
    memo: str = ""


class Nap(Stage):
    version = 1
    resources = Resources(cpus=1, memory_gib=0.2)

    def identity(self) -> JSON:
        return None

    def process(self, batch: Sequence[Work]) -> list[Result]:
        for work in batch:
            trick = work.item.inputs.get("trick")
            if trick == f"{self.name}:dies" or (
                trick == f"{self.name}:dies_once" and self._first_time(work)
            ):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.config.nap_s)
        return [Result(Outcome.OK) for _ in batch]

    def _first_time(self, work: Work) -> bool:
        try:
            (Path(self.config.memo) / work.item.id).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class First(Nap):
    name = "first"


class Second(Nap):
    name = "second"
    needs = ("first",)


class Third(Nap):
    name = "third"
    needs = ("second",)


def chain(first_s: float, second_s: float, memo: Path) -> list[StageSpec]:
    return [
        StageSpec(First, Config(first_s, str(memo))),
        StageSpec(Second, Config(second_s, str(memo))),
    ]


def items(number: int, tricks: dict[int, str]) -> list[Item]:
    return [Item(f"item-{n}", {"n": n, "trick": tricks.get(n, "")}) for n in range(number)]
