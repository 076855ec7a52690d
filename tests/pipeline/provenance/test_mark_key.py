"""The key of the invisible mark: configured, or made once."""

import stat
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.provenance.mark_key import MARK_KEY_FILE, known_mark_key, mark_key


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert known_mark_key(home, {}) is None
    assert not home.exists()
    first = mark_key(home, {})
    assert mark_key(home, {}) == known_mark_key(home, {}) == first
    (file,) = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert mark_key(tmp_path / "other", {}).name != first.name


def test_a_configured_key_is_used_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"sixteen bytes or more")
    given = {MARK_KEY_FILE: str(tmp_path / "secret")}
    assert mark_key(tmp_path / "home", given).secret == b"sixteen bytes or more"
    assert known_mark_key(tmp_path / "home", given) == mark_key(tmp_path / "home", given)
    assert not (tmp_path / "home").exists()


def test_a_short_or_absent_key_is_refused_without_telling_it(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"swordfish")
    with pytest.raises(ConfigurationError, match="fewer than 16 bytes") as refused:
        mark_key(tmp_path, {MARK_KEY_FILE: str(tmp_path / "short")})
    assert "swordfish" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        known_mark_key(tmp_path, {MARK_KEY_FILE: str(tmp_path / "absent")})


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be read or made: Not a directory"):
        mark_key(tmp_path / "file" / "home", {})
