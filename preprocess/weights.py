"""Files of weights are what they are said to be, or are not used."""

import hashlib
from pathlib import Path


def check_digest(weights_file: Path, sha256: str) -> None:
    """Compare a file with the digest (hexadecimal) that stands in the identity of its results.

    Raises OSError if the file cannot be read, ValueError if it is another file.
    """
    with weights_file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != sha256:
        raise ValueError(
            f"{weights_file} has sha256 {digest}, expected {sha256}: "
            "it is not the weights file that was asked for"
        )
