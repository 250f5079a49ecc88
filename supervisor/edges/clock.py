"""The clock of all times that outlive the daemon, and how people read it."""

import time
from datetime import UTC, datetime, timedelta


def boottime_s() -> float:
    """Return the seconds since boot, which no clock adjustment moves and every daemon of this boot shares."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def utc_of(moment_s: float) -> str:
    """Return a moment of the clock above as ISO 8601 in UTC."""
    at = datetime.now(UTC) - timedelta(seconds=boottime_s() - moment_s)
    return at.isoformat(timespec="milliseconds")
