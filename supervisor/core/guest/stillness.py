"""Decide how much of a guest's silence counts against it: not the time in which the machine did not let it run.

A container may be frozen (`docker pause`, or its cgroup's freezer by hand), and the whole host suspended. Then nothing
counts. It may also be throttled (`docker update --cpus`): such time counts as much as its processes were let run. So a
guest that really hangs is noticed, but later.
"""

from dataclasses import dataclass

_SUSPENDED_S = 0.1
"""The clocks are not read at the same moment."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What the kernel shows of a container's processes at one moment."""

    at_s: float
    """CLOCK_MONOTONIC, which stands still while the host is suspended."""
    since_boot_s: float
    """CLOCK_BOOTTIME, which does not."""
    frozen: bool = False
    frozen_usec: int = 0
    """For how long its cgroup was frozen; 0 if the kernel does not count that (before Linux 6.17)."""
    used_s: float = 0.0
    """Processor time of its cgroup."""
    periods: tuple[tuple[int, int], ...] = ()
    """Of its cgroup and each ancestor with a processor limit: how many periods there were, and how many throttled."""


def was_held(before: Activity, after: Activity) -> bool:
    """Return whether it did not run for a part of the time in between: it was frozen, or the host suspended."""
    suspended_s = (after.since_boot_s - before.since_boot_s) - (after.at_s - before.at_s)
    was_frozen = before.frozen or after.frozen or after.frozen_usec != before.frozen_usec
    return was_frozen or suspended_s > _SUSPENDED_S


def share_let_run(before: Activity, after: Activity) -> float:
    """Return which part of the time in between counts, from 0 to 1. Without throttling that is 1."""
    throttled = max(map(_throttled_share, before.periods, after.periods), default=0.0)
    elapsed_s = after.at_s - before.at_s
    if not throttled or elapsed_s <= 0:
        return 1.0
    used = min(1.0, max(0.0, (after.used_s - before.used_s) / elapsed_s))
    return 1.0 - throttled + throttled * used


def _throttled_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    periods, throttled = after[0] - before[0], after[1] - before[1]
    return min(1.0, throttled / periods) if periods > 0 and throttled > 0 else 0.0
