"""What `vtapd top` computes from two readings."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.report.load import Order, compute_loads, filter_loads, page_start, sort_loads
from supervisor.core.report.schema import Load, Usage

USAGE: Usage = {
    "id": "c0ffee", "name": "web", "state": "running", "guest": "rumprun", "ready": True, "restarts": 1, "restores": 3,
    "backoff_s": None, "uptime_s": 5.0, "at_s": 10.0, "cpu_s": 1.0, "memory_bytes": 1 << 20, "memory_limit_bytes": None,
    "receive_bytes": 1000, "transmit_bytes": 100, "read_bytes": 0, "written_bytes": 0, "processes": 4,
}  # fmt: skip


def usage(**changes: object) -> Usage:
    return cast("Usage", USAGE | changes)


def load(**changes: object) -> Load:
    (only,) = compute_loads([], [USAGE])
    return cast("Load", only | changes)


def names(loads: list[Load]) -> list[str]:
    return [each["name"] for each in loads]


def test_rates_are_per_second_between_the_readings() -> None:
    now = usage(at_s=12.0, cpu_s=2.5, receive_bytes=3000, transmit_bytes=100, read_bytes=10, written_bytes=30)
    (found,) = compute_loads([USAGE], [now])
    assert found == now | {
        "cpu_percent": 75.0, "receive_bytes_per_s": 1000.0, "transmit_bytes_per_s": 0.0, "read_bytes_per_s": 5.0,
        "written_bytes_per_s": 15.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([], usage(at_s=12.0)),
        ([usage(id="another")], usage(at_s=12.0)),
        ([USAGE], USAGE),
        ([usage(cpu_s=None)], usage(at_s=12.0)),
        ([USAGE], usage(at_s=12.0, cpu_s=None)),
        ([USAGE], usage(at_s=12.0, cpu_s=0.1)),
    ],
    ids=["first reading", "new container", "no time passed", "was not counted", "is not counted", "started again"],
)
def test_rate_that_cannot_be_known_is_none(before: list[Usage], now: Usage) -> None:
    (found,) = compute_loads(before, [now])
    assert found["cpu_percent"] is None


def test_container_that_has_gone_is_left_out() -> None:
    assert compute_loads([USAGE, usage(id="gone")], [USAGE])[0]["id"] == "c0ffee"
    assert compute_loads([USAGE], []) == []


LOADS = [
    load(name="b", cpu_percent=1.0, memory_bytes=3, receive_bytes_per_s=9.0, transmit_bytes_per_s=0.0, restarts=0),
    load(name="d", cpu_percent=None, memory_bytes=None, receive_bytes_per_s=None, restarts=None),
    load(name="a", cpu_percent=1.0, memory_bytes=1, receive_bytes_per_s=1.0, transmit_bytes_per_s=7.0, restarts=7),
    load(name="c", cpu_percent=9.0, memory_bytes=2, receive_bytes_per_s=0.0, transmit_bytes_per_s=0.0, restarts=1),
]


@pytest.mark.parametrize(
    ("order", "sorted_names", "reversed_names"),
    [
        (Order.CPU, "cabd", "abcd"),
        (Order.MEMORY, "bcad", "acbd"),
        (Order.NETWORK, "bacd", "cabd"),
        (Order.RESTARTS, "acbd", "bcad"),
        (Order.NAME, "abcd", "dcba"),
    ],
)
def test_rows_are_sorted_and_those_without_a_value_come_last(
    order: Order, sorted_names: str, reversed_names: str
) -> None:
    assert "".join(names(sort_loads(LOADS, order))) == sorted_names
    assert "".join(names(sort_loads(LOADS, order, is_reversed=True))) == reversed_names


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "wd"), ("WEB", "w"), ("rump run", "w"), ("web rejected", ""), ("rejected", "d"), ("c0f", "wd")],
)
def test_filter_wants_each_word(text: str, found: str) -> None:
    rows = [load(name="web"), load(name="db", guest=None, state="rejected")]
    assert "".join(name[0] for name in names(filter_loads(rows, text))) == found


@given(first=st.integers(0, 50), count=st.integers(0, 50), height=st.integers(1, 20))
def test_page_is_full_if_there_are_rows_enough(first: int, count: int, height: int) -> None:
    rows = list(range(count))
    start = page_start(first, rows, height)
    assert 0 <= start <= first
    assert len(rows[start : start + height]) == min(count, height) or start == first
