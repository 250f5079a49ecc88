"""Give the guest its addresses and network cards, and start it; or the reverse."""

from dataclasses import replace

from supervisor.core.attach.actions import (
    Action,
    MarkReady,
    PlugNic,
    StartGuest,
    StopGuest,
    TakeOver,
    UnmarkReady,
    Uplink,
    WriteRecord,
)
from supervisor.core.attach.entries import is_taken, with_entry
from supervisor.core.attach.lifetimes import static_addresses
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.attach.withdrawal import give_back_action
from supervisor.core.model import Record, TapRecord


def guest_action(desired: Desired, seen: Seen, record: Record) -> Action | None:
    """Return the next action for the guest: take over addresses and start it, or stop it and give them back."""
    if seen.ready and not (seen.guest and desired.ready):
        return UnmarkReady()
    if seen.guest and not desired.guest:
        resumes_at_s = desired.resumes_at_s
        return StopGuest() if resumes_at_s is None else StopGuest(again=True, not_before_s=resumes_at_s)
    if any(t.slot in seen.nics and (t.original is not None) != desired.takeover for t in record.taps):
        return StopGuest(again=True)  # it was started with other addresses than it should have
    theirs = with_cards(desired, seen, record)
    for entry in record.taps:
        if not desired.takeover or entry not in theirs:
            action = give_back_action(seen, record, entry) if entry.original else None
        else:
            action = _take_over(seen, record, entry)
        if action:
            return action
    uplinks = [_uplink(seen, entry) for entry in sorted(theirs, key=lambda t: t.slot)]
    if not desired.guest or not uplinks:
        return None
    if not seen.guest:
        others = [seen.of(entry.interface) for entry in record.taps if entry not in theirs]
        return StartGuest(tuple(uplinks), tuple(each.interface for each in others if each))
    plug = next((PlugNic(uplink) for uplink in uplinks if uplink.slot not in seen.nics), None)
    return plug or (MarkReady() if desired.ready and not seen.ready else None)


def with_cards(desired: Desired, seen: Seen, record: Record) -> list[TapRecord]:
    """Return the entries that the guest has cards on. A running guest keeps its cards; with `hotplug` it gets more."""
    able = [t for t in record.taps if t.slot in seen.nics or _can_have_card(desired, seen, t)]
    candidates = sorted(able, key=lambda t: (t.slot not in seen.nics, t.slot))
    return candidates[: desired.cards if not seen.guest or desired.hotplug else len(seen.nics)]


def _can_have_card(desired: Desired, seen: Seen, entry: TapRecord) -> bool:
    """Return whether this interface has an address that the guest can be given, if it needs one."""
    each = seen.of(entry.interface)
    interface = entry.original or (each.interface if each else None)
    return not desired.ip_versions or (interface is not None and any(static_addresses(interface, desired.ip_versions)))


def awaiting_takeover(desired: Desired, seen: Seen, record: Record) -> frozenset[int]:
    """Return the slots that are to be taken over and are not yet."""
    if not desired.takeover:
        return frozenset()
    theirs = with_cards(desired, seen, record)
    return frozenset(entry.slot for entry in theirs if not is_taken(entry, seen.of(entry.interface)))


def _take_over(seen: Seen, record: Record, entry: TapRecord) -> Action | None:
    each = seen.of(entry.interface)
    assert each is not None, "an interface that is gone was withdrawn before"
    assert each.tap is not None, "an interface without its tap was attached before"
    if entry.original is None:
        return WriteRecord(with_entry(record, replace(entry, original=each.interface)))
    return None if is_taken(entry, each) else TakeOver(entry.original, each.tap)


def _uplink(seen: Seen, entry: TapRecord) -> Uplink:
    each = seen.of(entry.interface)
    assert each is not None, "an interface that is gone was withdrawn before"
    assert each.tap is not None, "an interface without its tap was attached before"
    return Uplink(entry.original or each.interface, each.tap, entry.slot)
