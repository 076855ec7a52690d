"""What `e3d doctor` finds out about the machine: processors, memory, disk, packages, programs."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

_GIB = 2**30
_DISTRIBUTION = "export3d-pipeline"
_IMPORT_LIMIT_S = 180.0

# torch first: decord must find its libraries loaded.
_NATIVE = ("torch", "decord", "av", "cv2", "ray", "pyarrow", "ai_edge_litert")


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report. `missing`: the default path cannot run without it."""

    name: str
    state: Literal["ok", "warning", "missing"]
    detail: str
    remedy: str = ""


def check_python() -> Check:
    """The interpreter and the system; the installer has checked the version."""
    return Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def check_cores() -> Check:
    """Processors that this process may use."""
    return Check("cores", "ok", f"{usable_cores():g}")


def usable_cores() -> float:
    """Processors that this process may use: its affinity, and a container's quota."""
    allowed = float(len(os.sched_getaffinity(0)))
    quota, _, period = _cgroup("cpu.max").partition(" ")
    return min(allowed, int(quota) / int(period)) if quota.isdigit() else allowed


def check_memory() -> Check:
    """Memory of the machine, or of the container where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup("memory.max")
    gib = min(total, int(limit) if limit.isdigit() else total) / _GIB
    if gib >= 8:
        return Check("memory", "ok", f"{gib:.0f} GiB")
    return Check("memory", "warning", f"{gib:.1f} GiB", "8 GiB or more let films run side by side")


def check_shared_memory() -> Check:
    """Ray keeps its objects in /dev/shm, which containers make small."""
    name = "/dev/shm"  # noqa: S108  a fact of Linux; nothing of ours is put there
    gib = shutil.disk_usage(name).total / _GIB if Path(name).is_dir() else 0.0
    if gib >= 1:
        return Check(name, "ok", f"{gib:.0f} GiB")
    remedy = "in a container: --shm-size=2g, or Ray uses the disk instead and is slow"
    return Check(name, "warning", f"{gib:.2f} GiB", remedy)


def check_disk(name: str, folder: Path, variable: str) -> Check:
    """A folder that is written to: it exists or can be made, and has room."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free / _GIB
    except OSError as error:
        remedy = f"let {variable} name a folder that can be written"
        return Check(name, "missing", f"{folder}: {error.strerror}", remedy)
    if not os.access(folder, os.W_OK):
        remedy = f"let {variable} name a folder that can be written"
        return Check(name, "missing", f"{folder} cannot be written", remedy)
    detail = f"{folder}, {free:.0f} GiB free"
    if free < 1:
        return Check(name, "missing", detail, f"free some, or let {variable} name another disk")
    if free < 10:
        return Check(name, "warning", detail, f"let {variable} name a larger disk for long films")
    return Check(name, "ok", detail)


def check_packages() -> Check:
    """Every installed package is in the range that the product was tested with."""
    try:
        lines = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", "missing", "e3d itself is not installed", _REINSTALL)
    wanted = [Requirement(line) for line in lines]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [trouble for one in wanted if (trouble := _trouble_with(one))]
    if wrong:
        return Check("packages", "missing", "; ".join(wrong), _REINSTALL)
    return Check("packages", "ok", f"{len(wanted)} packages in their tested ranges")


_REINSTALL = "install again with: pip install -c constraints.txt -e ."


def _trouble_with(wanted: Requirement) -> str:
    try:
        found = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(found, prereleases=True):
        return ""
    return f"{wanted.name} {found} is not {wanted.specifier}"


def check_native() -> list[Check]:
    """Packages with compiled parts can be imported here; and the GPUs that torch sees."""
    command = [sys.executable, "-m", "flows.cli.import_trial", *_NATIVE]
    try:
        done = subprocess.run(  # noqa: S603  the list holds our own words alone
            command, capture_output=True, text=True, timeout=_IMPORT_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        detail = f"importing them took longer than {_IMPORT_LIMIT_S:.0f} s"
        return [Check("native packages", "missing", detail, "look at the machine's load and disk")]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ended = {row["name"]: row for row in said if row["state"] != "trying"}
    checks = []
    for name in _NATIVE:
        row = ended.get(name)
        if row is None and name not in {one["name"] for one in said}:
            continue  # the trial ended before it
        if row is None:
            detail = f"importing it ended the process with status {done.returncode}"
            checks.append(Check(name, "missing", detail, "install the build for this CPU"))
        elif row["state"] == "works":
            checks.append(Check(name, "ok", row["detail"] or "imports"))
        else:
            checks.append(Check(name, "missing", row["detail"], _REINSTALL))
    gpus = [row["detail"] for row in said if row["name"] == "gpu"]
    if gpus:
        checks.append(Check("gpu", "ok", "; ".join(gpus)))
    else:
        remedy = "none is needed for pre-processing, trials and the demo recipe"
        checks.append(Check("gpu", "warning", "torch sees no CUDA GPU", remedy))
    return checks


def _cgroup(name: str) -> str:
    path = Path("/sys/fs/cgroup") / name
    return path.read_text("ascii").strip() if path.is_file() else ""
