import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://films/reel-1/shot.mp4", "s3://films/reel-1/shot.mp4"),
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("http://user:word@host:4200/api", "http://***@host:4200/api"),
        ("https://token@host/x and a@b.c", "https://***@host/x and a@b.c"),
        ("https://h/k?X-Amz-Signature=ab12&part=3", "https://h/k?X-Amz-Signature=***&part=3"),
        (
            "https://h/k?a=1&AWSAccessKeyId=AKIA&Signature=x%2B",
            "https://h/k?a=1&AWSAccessKeyId=***&Signature=***",
        ),
        ("[film](https://h/k?token=abc)", "[film](https://h/k?token=***)"),
    ],
)
def test_addresses_lose_their_credentials_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown


@given(
    secret=st.text("abcdefghijkXYZ0123456789+/=", min_size=6, max_size=40),
    before=st.text(),
    after=st.text(),
)
def test_a_secret_of_the_environment_is_never_shown(secret: str, before: str, after: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        assert secret not in redact(f"{before}{secret}{after}").replace("***", "\0")


def test_variables_that_only_name_a_place_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")
    assert redact("read /var/run/token") == "read /var/run/token"
