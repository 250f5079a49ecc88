"""Compute what `vtapd top` shows: rates between two readings of counters, and which rows in which order."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from supervisor.core.report.schema import Load, Usage


class Order(StrEnum):
    """What rows are sorted by. All but names put the largest first."""

    CPU = "cpu"
    MEMORY = "memory"
    NETWORK = "network"
    RESTARTS = "restarts"
    NAME = "name"


def compute_loads(before: Iterable[Usage], now: Iterable[Usage]) -> list[Load]:
    """Return each container's usage now, with rates since the earlier reading if that has the container, too."""
    earlier = {usage["id"]: usage for usage in before}
    return [_load(earlier.get(usage["id"]), usage) for usage in now]


def _load(before: Usage | None, now: Usage) -> Load:
    passed_s = now["at_s"] - before["at_s"] if before is not None else 0.0

    def rate(then: float | None, counted: float | None) -> float | None:
        if then is None or counted is None or counted < then or passed_s <= 0:
            return None
        return (counted - then) / passed_s

    then = before or now
    cpu = rate(then["cpu_s"], now["cpu_s"])
    return {
        **now,
        "cpu_percent": None if cpu is None else 100 * cpu,
        "receive_bytes_per_s": rate(then["receive_bytes"], now["receive_bytes"]),
        "transmit_bytes_per_s": rate(then["transmit_bytes"], now["transmit_bytes"]),
        "read_bytes_per_s": rate(then["read_bytes"], now["read_bytes"]),
        "written_bytes_per_s": rate(then["written_bytes"], now["written_bytes"]),
    }


def sort_loads(loads: Iterable[Load], order: Order, *, is_reversed: bool = False) -> list[Load]:
    """Return them in this order. Equal ones are sorted by name; those without a value come last, in any direction."""
    named = sorted(loads, key=lambda load: load["name"], reverse=is_reversed and order is Order.NAME)
    if order is Order.NAME:
        return named
    known = [load for load in named if _measure(load, order) is not None]
    known.sort(key=lambda load: _measure(load, order) or 0, reverse=not is_reversed)
    return known + [load for load in named if _measure(load, order) is None]


def _measure(load: Load, order: Order) -> float | None:
    match order:
        case Order.MEMORY:
            return load["memory_bytes"]
        case Order.NETWORK:
            received, transmitted = load["receive_bytes_per_s"], load["transmit_bytes_per_s"]
            return None if received is None or transmitted is None else received + transmitted
        case Order.RESTARTS:
            return load["restarts"]
        case _:
            return load["cpu_percent"]


def filter_loads(loads: Iterable[Load], text: str) -> list[Load]:
    """Return those whose name, kind, state or id has each word of the text in it, in upper or lower case."""
    words = text.lower().split()
    return [load for load in loads if all(word in _searched(load) for word in words)]


def _searched(load: Load) -> str:
    return "\n".join((load["name"], load["guest"] or "", load["state"], load["id"])).lower()


def page_start(first: int, rows: Sequence[object], height: int) -> int:
    """Return the first row to show, so that a page of this height is full if there are rows enough."""
    return max(0, min(first, len(rows) - height))
