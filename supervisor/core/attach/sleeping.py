"""Put a guest to sleep: filter what reaches its taps, then end its QEMU; or the reverse.

While it sleeps it keeps its addresses, and packets that wake it wait in its taps' queues. The filters come before its
end, and are removed before its next start: meanwhile a queue that is not empty has something in it that wakes it.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache

from supervisor.core.attach.actions import Planned, RemoveWakeFilter, SetWakeFilter, SleepGuest, WriteRecord
from supervisor.core.attach.entries import with_entry
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.devices.link_program import label_of
from supervisor.core.devices.wake_program import Wakers, build_wake_program
from supervisor.core.record import Record, TapRecord

_REMEMBERED = 1024


@lru_cache(_REMEMBERED)
def filter_name(wakers: Wakers) -> str:
    """Return the name of the filter that lets these pass."""
    return label_of(build_wake_program(wakers))


def sleeping_steps(desired: Desired, seen: Seen, record: Record, theirs: Collection[TapRecord]) -> Iterator[Planned]:
    """Yield the next steps for a guest that is to sleep. `theirs`: the entries of the taps that wake it."""
    assert desired.wakers is not None, "only a guest that something wakes can sleep"
    waits = False
    for entry in theirs:
        each = seen.of(entry.interface)
        if each is None or each.tap is None or each.wake_filter == filter_name(desired.wakers):
            continue
        waits = True
        if not entry.wake_filter:
            yield Planned(WriteRecord(with_entry(record, replace(entry, wake_filter=True))))
        else:
            yield Planned(SetWakeFilter(each.tap, desired.wakers), entry.interface)
    if seen.guest and not waits:
        yield Planned(SleepGuest())


def waking_steps(seen: Seen, record: Record, kept: Collection[TapRecord]) -> Iterator[Planned]:
    """Yield the next steps by which all packets reach the taps again, except those of the entries in `kept`."""
    for entry in record.taps:
        if not entry.wake_filter or entry in kept:
            continue
        each = seen.of(entry.interface)
        if each is not None and each.tap is not None and each.wake_filter:
            yield Planned(RemoveWakeFilter(each.tap, entry.link is not None), entry.interface)
        else:
            yield Planned(WriteRecord(with_entry(record, replace(entry, wake_filter=False))))
