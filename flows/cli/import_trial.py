"""Import packages one after the other and say on standard output what came of each.

Run by `e3d doctor` as a program: a package that kills its process (a wheel for another CPU, a
missing library) ends the trial, and the doctor can tell which one it was.
"""

import importlib
import json
import sys
from collections.abc import Sequence


def try_imports(names: Sequence[str]) -> None:
    """Write one JSON line before each import and one after it."""
    for name in names:
        _say(name, "trying", "")
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            _say(name, "broken", f"{type(error).__name__}: {error}"[:300])
        else:
            _say(name, "works", str(getattr(module, "__version__", "")))
    if "torch" in sys.modules:
        _say_gpus()


def _say_gpus() -> None:
    import torch

    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        _say("gpu", "works", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")


def _say(name: str, state: str, detail: str) -> None:
    sys.stdout.write(json.dumps({"name": name, "state": state, "detail": detail}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try_imports(sys.argv[1:])
