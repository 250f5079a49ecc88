"""Time in which a guest was not let run does not count as its silence."""

from dataclasses import replace

import pytest

from supervisor.core.formats.cpu_stat import parse_counters
from supervisor.core.guest.stillness import Activity, share_let_run, was_held

BEFORE = Activity(at_s=100.0, since_boot_s=500.0, used_s=7.0, periods=((10, 2), (0, 0)))
AFTER = replace(BEFORE, at_s=102.0, since_boot_s=502.0)


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (BEFORE, AFTER, False),
        (replace(BEFORE, frozen=True), AFTER, True),
        (BEFORE, replace(AFTER, frozen=True), True),
        (BEFORE, replace(AFTER, frozen_usec=900), True),
        (BEFORE, replace(AFTER, since_boot_s=3600.0), True),
        (BEFORE, replace(AFTER, since_boot_s=502.01), False),
    ],
)
def test_frozen_container_and_suspended_host(before: Activity, after: Activity, held: bool) -> None:
    assert was_held(before, after) is held


@pytest.mark.parametrize(
    ("after", "share"),
    [
        (AFTER, 1.0),
        (replace(AFTER, periods=((30, 2), (0, 0))), 1.0),
        (replace(AFTER, periods=((30, 22), (0, 0))), 0.0),
        (replace(AFTER, periods=((30, 22), (0, 0)), used_s=8.0), 0.5),
        (replace(AFTER, periods=((30, 22), (0, 0)), used_s=19.0), 1.0),
        (replace(AFTER, periods=((30, 12), (0, 0))), 0.5),
        (replace(AFTER, periods=((30, 2), (10, 10))), 0.0),
        (replace(AFTER, at_s=100.0, periods=((30, 22), (0, 0))), 1.0),
        (replace(AFTER, periods=()), 1.0),
    ],
)
def test_throttled_time_counts_as_much_as_it_ran(after: Activity, share: float) -> None:
    assert share_let_run(BEFORE, after) == pytest.approx(share)


def test_counters_of_a_file() -> None:
    text = "nr_periods 3\nnr_throttled 1\n\nwait x\nfrozen 1 2\n"
    assert parse_counters(text) == {"nr_periods": 3, "nr_throttled": 1}
