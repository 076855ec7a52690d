"""What this command's workers take, as the kernel counts it."""

from pathlib import Path


def peak_mib_of_workers() -> float:
    """Largest resident size so far of one Ray worker on this machine, in MiB."""
    peaks = [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if not (status.parent / "cmdline").read_bytes().startswith(b"ray::"):
                continue
            lines = status.read_text().splitlines()
        except OSError:  # it has just ended
            continue
        peaks += [float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return max(peaks)
