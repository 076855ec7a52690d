"""Runs one function in several processes at once, which may talk by torch.distributed: Ray Train.

Ray Train reserves a place for all of them, starts them, joins them to torch's process group and
ends them together. The caller should hold no cores and no GPUs meanwhile: they would be missing.
"""

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any, TypeAlias

import ray
import ray.train
from ray.exceptions import RayError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.exceptions import RayTrainError
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from torch.distributed import DistError

from pipeline.errors import ConfigurationError
from pipeline.runners.contract import RunError
from pipeline.runners.embedded import nodes
from pipeline.runners.fit import Node
from pipeline.stage import Resources, ShouldStop, never

os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # paths given to a command may be relative

Report: TypeAlias = Callable[[int, int], None]
Part: TypeAlias = Callable[[int, Report, ShouldStop], None]
"""What one process does: part(rank, report, should_stop). Of rank 0 it is heard what it reports;
it alone is told to stop, and has to tell the others."""

_GIB = 1024**3
_TICK_S = 0.5
_ANSWER_S = 30.0
_EXCHANGE_S = 1800  # so long may one process wait for another, as when that writes a checkpoint
_PLACE_TRIES = 10  # of a minute each, until the cluster has a place for all


def share_out(nodes: Sequence[Node], workers: int, each: Resources) -> Resources:
    """Return what each of `workers` gets, so that all find a place on the nodes at once.

    Cores and memory are halved until they do, as the stages of a chain share them; GPUs are not.
    Raises ConfigurationError where there are too few of them, or no cores at all.
    """
    cores = max((node.cpus for node in nodes), default=0.0)
    if not cores:
        raise ConfigurationError("no machine of the Ray cluster offers cores: add one with some")
    offered = _places(nodes, Resources(cpus=0, gpus=each.gpus, memory_gib=0)) if each.gpus else 0
    if each.gpus and offered < workers:
        raise ConfigurationError(
            f"{workers} workers ask for {each.gpus:g} GPU each, and the machines have enough for "
            f"{offered}: lower --workers, or name a cluster with more of them with --ray"
        )
    each = replace(each, cpus=min(each.cpus, cores))
    while _places(nodes, each) < workers:
        each = replace(each, cpus=each.cpus / 2, memory_gib=each.memory_gib / 2)
    return each


def _places(nodes: Sequence[Node], each: Resources) -> int:
    """Return how many workers fit on the nodes."""
    wanted = (each.cpus, each.gpus, each.memory_gib)

    def on(node: Node) -> int:
        offered = (node.cpus, node.gpus, node.memory_gib)
        shares = [has / one for has, one in zip(offered, wanted, strict=True) if one]
        return int(min(shares) + 1e-6)

    return sum(on(node) for node in nodes if node.cpus)


@dataclass
class _News:
    """How far rank 0 is: what it says last, the caller hears; and whether it is to stop."""

    last: tuple[int, int] | None = None
    is_over: bool = False

    def tell(self, done: int, total: int) -> None:
        self.last = (done, total)

    def hear(self) -> tuple[int, int] | None:
        return self.last

    def stop(self) -> None:
        self.is_over = True

    def should_stop(self) -> bool:
        return self.is_over


_NEWS: Any = ray.remote(num_cpus=0)(_News)


def run_together(
    part: Part,
    *,
    workers: int,
    each: Resources,
    folder: Path,
    report: Report,
    patience_s: float,
    should_stop: ShouldStop = never,
) -> None:
    """Call `part` in `workers` new processes on the connected Ray; return when all have returned.

    `folder` is scratch: Ray Train puts a marker there. What one of them raises is raised here.
    Raises RunError where one dies, where nothing is reported for `patience_s`, and where the
    cluster has no place for them; ConfigurationError as `share_out`.
    """
    if not ray.is_initialized():
        raise RunError("several workers train on Ray, and there is no connection to one")
    each = share_out(nodes(), workers, each)
    news = _NEWS.remote()
    run_config: Any = RunConfig(  # Any: TorchTrainer's types are of the former Ray Train
        name=uuid.uuid4().hex,
        storage_path=str(folder),
        failure_config=FailureConfig(
            max_failures=0, controller_failure_limit=_PLACE_TRIES, max_preemption_failures=0
        ),
        worker_runtime_env={"env_vars": _environment(max(1, int(each.cpus)))},
    )
    trainer = TorchTrainer(
        _take_part,
        train_loop_config={"part": part, "news": news},
        torch_config=TorchConfig(
            backend="cpu:gloo,cuda:nccl" if each.gpus else "gloo", timeout_s=_EXCHANGE_S
        ),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=bool(each.gpus), resources_per_worker=_bundle(each)
        ),
        run_config=run_config,
    )
    try:
        _follow(_in_background(trainer.fit), news, report, patience_s, should_stop)
    except ray.train.TrainingFailedError as error:
        raise _cause(error) from None
    finally:
        ray.kill(news)


def _bundle(each: Resources) -> dict[str, float]:
    asked = {"CPU": each.cpus, "GPU": each.gpus, "memory": int(each.memory_gib * _GIB)}
    return {name: amount for name, amount in asked.items() if amount}


def _environment(threads: int) -> dict[str, str]:
    """Waiting threads sleep, for on a shared machine spinning slows them all."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENCV_FOR_THREADS_NUM": str(threads),
    }


def _take_part(given: Mapping[str, Any]) -> None:
    """Run in each process, called by Ray Train."""
    rank = ray.train.get_context().get_world_rank()
    told_s, asked_s, is_over = 0.0, 0.0, False

    def report(done: int, total: int) -> None:
        nonlocal told_s
        if rank == 0 and (time.monotonic() - told_s > _TICK_S or done >= total):
            told_s = time.monotonic()
            given["news"].tell.remote(done, total)

    def should_stop() -> bool:
        nonlocal asked_s, is_over
        if rank == 0 and time.monotonic() - asked_s > _TICK_S:
            asked_s = time.monotonic()
            is_over = ray.get(given["news"].should_stop.remote(), timeout=_ANSWER_S)
        return is_over

    given["part"](rank, report, should_stop)


def _in_background(work: Callable[[], object]) -> Future[None]:
    """Run Ray Train outside the main thread, where it would take Ctrl-C over for good."""
    ended: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            ended.set_exception(error)
        else:
            ended.set_result(None)

    Thread(target=run, daemon=True, name="ray-train").start()
    return ended


def _follow(
    ended: Future[None], news: Any, report: Report, patience_s: float, should_stop: ShouldStop
) -> None:
    """Pass the news on until the end, and raise what it raises."""
    heard, heard_s = None, time.monotonic()
    asked = news.hear.remote()
    while not wait([ended], timeout=_TICK_S).done:
        if should_stop():
            news.stop.remote()
        if ray.wait([asked], timeout=0)[0]:
            said, asked = ray.get(asked, timeout=_ANSWER_S), news.hear.remote()
            if said != heard:
                heard, heard_s = said, time.monotonic()
                report(*said)
        if time.monotonic() - heard_s > patience_s:
            raise RunError(f"the workers gave no sign of life for {patience_s:g} s")
    ended.result()


def _cause(error: ray.train.TrainingFailedError) -> Exception:
    """Return what to raise: the exception of the worker at fault, or RunError where one died.

    When a worker ends, the others fail in their exchange with it: those are not at fault.
    """
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        if not (_is_death(failure) or _is_lost_contact(failure)):
            return failure
    start: Exception = getattr(error, "controller_failure", error)
    if not failures and not isinstance(start, RayError):
        why = str(start).strip().partition("\n")[0]
        return RunError(f"the workers could not be started: {why}")
    dead = [rank for rank, failure in failures.items() if _is_death(failure)]
    which = f"worker {dead[0]} of the training" if dead else "a worker of the training"
    return RunError(f"{which} died: its process was killed, or its machine was lost")


def _is_death(failure: Exception) -> bool:
    return isinstance(failure, RayTrainError | RayError)


def _is_lost_contact(failure: Exception) -> bool:
    said = str(failure).lower()
    return isinstance(failure, DistError) or (
        isinstance(failure, RuntimeError) and ("gloo" in said or "nccl" in said)
    )
