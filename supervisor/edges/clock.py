"""The clock of all times that outlive the daemon."""

import time


def boottime_s() -> float:
    """Return the seconds since boot, which no clock adjustment moves and every daemon of this boot shares."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
