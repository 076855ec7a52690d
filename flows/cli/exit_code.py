"""What the exit codes of `e3d` mean; scripts and schedulers rely on them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """A command's exit code; 0 is done."""

    CRASH = 1
    """A bug: the traceback is in a log file."""
    BAD_USE = 2
    """Something for the user to mend: options, configuration, a missing file or server."""
    FAILURES = 3
    """The job finished, with more failures than allowed."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM."""
