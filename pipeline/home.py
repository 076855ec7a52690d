"""The folder of the command's own state: Prefect's data base, locks, and logs."""

import os
from pathlib import Path

import platformdirs


def e3d_home() -> Path:
    """$E3D_HOME, else the user's data folder for e3d."""
    chosen = os.environ.get("E3D_HOME", "")
    return Path(chosen).absolute() if chosen else Path(platformdirs.user_data_dir("e3d"))
