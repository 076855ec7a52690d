"""Take credentials out of text before people or logs see it."""

import os
import re

_MASK = "***"
_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSPHRASE|API_KEY|AUTH_STRING|CREDENTIAL", re.IGNORECASE
)
_PLACE_NAME = re.compile(r"_(FILE|PATH|URI|URL|DIR)$", re.IGNORECASE)
_SHORTEST_SECRET = 6

_USER_INFO = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_QUERY_SECRET = re.compile(
    r"(?<=[?&])((?:x-amz-(?:signature|credential|security-token)|signature|awsaccesskeyid|sig|token"
    r"|access_token|api_?key|secret|password)=)[^&#\s\"')>\]]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return the text without credentials.

    Masked are user and password in addresses, signatures and keys of signed links, and the values
    of environment variables whose names say that they are secret (AWS_SECRET_ACCESS_KEY,
    PREFECT_API_KEY, ...).
    """
    for value in _secret_values():
        text = text.replace(value, _MASK)
    return _QUERY_SECRET.sub(rf"\1{_MASK}", _USER_INFO.sub(_MASK, text))


def _secret_values() -> list[str]:
    """Values of secret variables, longest first so that none is cut by another."""
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name)
        and not _PLACE_NAME.search(name)
        and len(value) >= _SHORTEST_SECRET
    }
    return sorted(values, key=len, reverse=True)
