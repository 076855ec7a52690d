"""The connection to Ray: what it refuses, and how long it lasts."""

import pytest
import ray

from pipeline.errors import ConfigurationError
from pipeline.runners.embedded import connected
from pipeline.runners.one_connection import one_connection


def test_a_shared_connection_lasts_until_the_end_of_the_outer_block() -> None:
    with one_connection():
        assert not ray.is_initialized()
        with connected(None):
            assert ray.is_initialized()
        assert ray.is_initialized()
        with one_connection(), connected(None):
            pass
        assert ray.is_initialized()
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("address", "why"),
    [("ray://head:10001", "HOST:6379"), ("127.0.0.1:1", "no Ray cluster answers")],
)
def test_an_address_that_leads_nowhere_is_refused(address: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why), connected(address):
        pass
