"""What an operator reads about the shots of a job."""

from typing import Any

import pytest

from pipeline.reports.rendering import network_share, said_of

OK: dict[str, Any] = {
    "outcome": "ok",
    "reason": "",
    "detail": "",
    "enlargement": 1.2,
    "seconds": 8.0,
    "network_s": 6.0,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"enlargement": None}, ""),
        ({"enlargement": 2.0}, ""),
        ({"enlargement": 3.14}, "the face is 3.1 times as large as it was rendered"),
        ({"outcome": "failed", "reason": "no_consent", "detail": "none"}, "no_consent: none"),
        ({"outcome": "crashed", "reason": "worker_died", "enlargement": 9.0}, "worker_died"),
    ],
)
def test_what_is_said_of_a_shot(changes: dict[str, Any], said: str) -> None:
    told = said_of(OK | changes)
    assert told.startswith(said)
    assert bool(told) == bool(said)


@pytest.mark.parametrize(
    ("changes", "share"),
    [({}, 0.75), ({"network_s": None}, None), ({"seconds": 0.0, "network_s": 0.0}, None)],
)
def test_the_networks_share_of_the_time(changes: dict[str, Any], share: float | None) -> None:
    assert network_share(OK | changes) == share
