"""The time of day as records hold it."""

import datetime


def now() -> datetime.datetime:
    """Return the present time in UTC."""
    return datetime.datetime.now(datetime.UTC)


def utc_now() -> str:
    """Return the present time in UTC, ISO 8601 to the millisecond."""
    return now().isoformat(timespec="milliseconds")
