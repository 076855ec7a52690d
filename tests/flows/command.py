"""The command `e3d` as tests run it: as a process of its own, or, where that is enough, here."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

LIMIT_S = 300.0
PROGRAM = (sys.executable, "-m", "flows.cli.main")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """What it wrote to stdout under --json."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one line that a user reads of a mistake."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("e3d: ")]
        return line.removeprefix("e3d: ")


def e3d(*words: object, **variables: str) -> Ended:
    """Run the command in a process of its own, with its own Ray."""
    process = start(*words, **variables)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def start(*words: object, **variables: str) -> subprocess.Popen[str]:
    """Start the command; the caller ends it."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
    )
