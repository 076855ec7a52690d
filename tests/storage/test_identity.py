"""Identity: equal content, equal digest, in any order and process; unstable values are refused."""

import enum
import hashlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.identity import UnstableIdentity, canonical_json, check_name, digest, digest_file

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def _reversed_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: _reversed_keys(value[key]) for key in reversed(list(value))}
    if isinstance(value, list):
        return tuple(_reversed_keys(element) for element in value)
    return value


@given(PLAIN)
def test_order_of_keys_and_kind_of_sequence_do_not_matter(value: object) -> None:
    assert canonical_json(value) == canonical_json(_reversed_keys(value))


@given(PLAIN)
def test_the_form_is_json_of_the_same_value(value: object) -> None:
    form = canonical_json(value)
    assert form.isascii()
    assert json.loads(form) == value


@given(PLAIN, PLAIN)
def test_different_values_have_different_forms(one: object, other: object) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (
        repr(_sorted(one)) == repr(_sorted(other))
    )


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(element) for element in value] if isinstance(value, list) else value


def test_the_form_never_changes() -> None:
    """Keys in existing stores depend on these very bytes."""
    value = {"b": [1, 1.0, True, None], "a": {"ü": "é\n"}, "c": 0.1}
    assert canonical_json(value) == (
        b'{"a":{"\\u00fc":"\\u00e9\\n"},"b":[1,1.0,true,null],"c":0.1}'
    )
    assert digest({}) == hashlib.sha256(b"{}").hexdigest()


class Colour(enum.StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Box:
    width: int = 1


@pytest.mark.parametrize(
    "unstable",
    [
        {1, 2},
        frozenset(),
        b"bytes",
        lambda: None,
        print,
        object(),
        Path("/x"),
        Colour.RED,
        Box(),
        math.nan,
        math.inf,
        -math.inf,
        np.float64(1.0),
        np.int64(1),
        np.zeros(2),
        {1: "number as key"},
        {Colour.RED: 1},
        "half a \ud800 pair",
        complex(1, 2),
    ],
    ids=repr,
)
def test_an_unstable_value_is_named_by_its_place(unstable: object) -> None:
    with pytest.raises(UnstableIdentity, match=r"value\.crop\[1\]\.margin"):
        digest({"crop": [0, {"margin": unstable}]})


@given(PLAIN)
def test_one_unstable_value_spoils_the_whole(value: object) -> None:
    with pytest.raises(UnstableIdentity):
        digest([value, object()])


def test_another_process_finds_the_same_digest() -> None:
    value = {"z": [1, 2.5, "ä"], "a": {"k": None}}
    program = f"from storage.identity import digest; print(digest({value!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.stdout.strip() == digest(value)


def test_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert digest_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(FileNotFoundError):
        digest_file(tmp_path / "none")


@given(st.text(max_size=70))
def test_accepted_names_are_safe_in_a_path(name: str) -> None:
    try:
        check_name(name, "job name")
    except ValueError:
        return
    assert name == Path(name).name
    assert name.isascii()
    assert name == name.lower()
    assert 1 <= len(name) <= 64


@pytest.mark.parametrize("name", ["a", "export3d_256", "0.1-rc.2", "a" * 64])
def test_usual_names_are_accepted(name: str) -> None:
    assert check_name(name, "recipe") == name


@pytest.mark.parametrize("name", ["", "..", ".x", "-x", "A", "a/b", "a b", "a\n", "ä", "a" * 65])
def test_unusable_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"recipe .* must be"):
        check_name(name, "recipe")
