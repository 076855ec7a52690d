"""What a user sees of a bug: one sentence, and the path of a file that tells the rest."""

import os
import shlex
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType

from flows.redact import redact
from pipeline.home import e3d_home


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write the traceback to a file under $E3D_HOME/logs and say so; a `sys.excepthook`.

    With E3D_DEBUG=1, or where the file cannot be written, the traceback is shown. Credentials are
    masked in both.
    """
    story = redact("".join(traceback.format_exception(kind, error, trace)))
    command = redact(shlex.join(sys.argv))
    said = redact(f"{kind.__name__}: {error}".splitlines()[0])[:300]
    shown = os.environ.get("E3D_DEBUG") == "1"
    try:
        where = f"the details are in {_write(command, story)}"
    except OSError as trouble:
        where, shown = f"the details are above, as no log could be written ({trouble})", True
    if shown:
        sys.stderr.write(story)
    sys.stderr.write(f"e3d: this is a bug ({said}); {where}\n")


def _write(command: str, story: str) -> Path:
    folder = e3d_home() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"crash-{stamp}-{os.getpid()}.log"
    path.write_text(f"{command}\n\n{story}", "utf-8")
    return path
