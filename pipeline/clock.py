"""The time of day as records hold it."""

import datetime


def utc_now() -> str:
    """Return the present time in UTC, ISO 8601 to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
