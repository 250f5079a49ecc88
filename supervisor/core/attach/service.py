"""Give the guest its addresses and network cards, and start it; or the reverse.

`sleeping` has the steps for a guest that sleeps.

An interface on which a step failed has no part in this until the step is tried again: the guest gets the other ones.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from enum import Enum, auto

from supervisor.core.attach.actions import (
    Action,
    ClosePrivateLink,
    GiveBack,
    KeepSnapshot,
    MarkExit,
    MarkReady,
    OpenPrivateLink,
    Planned,
    PlugNic,
    RefreshGuest,
    RemoveWakeFilter,
    ResumeGuest,
    SetWakeFilter,
    StartGuest,
    StopGuest,
    TakeOver,
    UnmarkExit,
    UnmarkReady,
    Uplink,
    WriteRecord,
)
from supervisor.core.attach.entries import is_taken, with_entry
from supervisor.core.attach.gateways import gateways_to_reach, has_only_routes_to
from supervisor.core.attach.lifetimes import static_addresses
from supervisor.core.attach.private_link import closing_step, opening_steps
from supervisor.core.attach.sleeping import sleeping_steps, waking_steps
from supervisor.core.attach.state import Desired, Resting, Seen
from supervisor.core.attach.withdrawal import give_back_action
from supervisor.core.links import Interface
from supervisor.core.record import Record, TapRecord

_COSTS_NO_CARD = (GiveBack, OpenPrivateLink, ClosePrivateLink, SetWakeFilter, RemoveWakeFilter)
"""The guest has a card on an interface though one of these rests."""


def guest_steps(desired: Desired, seen: Seen, record: Record, resting: Resting) -> Iterator[Planned]:
    """Yield the next steps for the guest: take over addresses and start it, or stop it and give them back."""
    theirs = with_cards(desired, seen, record, resting)
    if seen.ready and not ((seen.guest or desired.wakers) and desired.ready):
        yield Planned(UnmarkReady())
    if seen.exit_status is not None and desired.exit_status is None:
        yield Planned(UnmarkExit())
    yield from waking_steps(seen, record, theirs if desired.asleep else ())
    if seen.guest and desired.asleep:
        yield from sleeping_steps(desired, seen, record, theirs)
    elif seen.guest and not desired.guest:
        resumes_at_s = desired.resumes_at_s
        yield Planned(StopGuest() if resumes_at_s is None else StopGuest(again=True, not_before_s=resumes_at_s))
    elif any(t.slot in seen.nics and _present_share(t) is not _desired_share(desired, seen, t) for t in record.taps):
        yield Planned(StopGuest(again=True))  # it was started with other addresses than it should have
    else:
        yield from _address_steps(desired, seen, record, theirs)
        if desired.guest and theirs:
            others = [entry for entry in record.taps if entry not in theirs and entry.interface not in _failed(resting)]
            yield from _card_steps(desired, seen, theirs, others)
        if desired.asleep:
            if desired.ready and theirs and not seen.ready:
                yield Planned(MarkReady())
            yield from sleeping_steps(desired, seen, record, theirs)
        if desired.exit_status not in (None, seen.exit_status) and not seen.guest:
            yield Planned(MarkExit(desired.exit_status))


def _address_steps(desired: Desired, seen: Seen, record: Record, theirs: list[TapRecord]) -> Iterator[Planned]:
    for entry in record.taps:
        share = _desired_share(desired, seen, entry) if entry in theirs else _Share.NOTHING
        taken = share is not _Share.NOTHING and _present_share(entry) in (_Share.NOTHING, share)
        if entry.link and not (taken and entry.original):
            yield Planned(closing_step(seen, record, entry), entry.interface)
        action = _take_over(desired, seen, record, entry) if taken else _give_back(seen, record, entry)
        if action:
            yield Planned(action, entry.interface)
        elif taken:
            steps = opening_steps(seen, record, entry, desired.link_address)
            yield from (Planned(step, entry.interface) for step in steps)


def _card_steps(
    desired: Desired, seen: Seen, theirs: Collection[TapRecord], others: Collection[TapRecord]
) -> Iterator[Planned]:
    uplinks = tuple(_uplink(seen, entry) for entry in sorted(theirs, key=lambda t: t.slot))
    if not seen.guest:
        kept = (seen.of(entry.interface) for entry in others)
        yield Planned(StartGuest(uplinks, tuple(each.interface for each in kept if each)))
    elif desired.wakers:
        yield Planned(ResumeGuest())
    else:
        yield from (Planned(PlugNic(each), each.original.name) for each in uplinks if each.slot not in seen.nics)
        if desired.ready and not seen.ready:
            yield Planned(MarkReady())
        if desired.refresh:
            yield Planned(RefreshGuest(uplinks))
        if desired.snapshot:
            yield Planned(KeepSnapshot(uplinks))


def with_cards(desired: Desired, seen: Seen, record: Record, resting: Resting = frozenset()) -> list[TapRecord]:
    """Return the entries that the guest has cards on. A running guest keeps its cards; with `hotplug` it gets more."""
    failed = _failed(resting)
    able = [
        entry
        for entry in record.taps
        if entry.slot in seen.nics or (entry.interface not in failed and _can_have_card(desired, seen, entry))
    ]
    candidates = sorted(able, key=lambda t: (t.slot not in seen.nics, t.slot))
    return candidates[: desired.cards if not seen.guest or desired.hotplug else len(seen.nics)]


def _failed(resting: Resting) -> frozenset[str | None]:
    """Return the interfaces that a guest cannot be started on, because they are not wholly attached or taken over."""
    return frozenset(attempt.interface for attempt in resting if attempt.kind not in _COSTS_NO_CARD)


def _can_have_card(desired: Desired, seen: Seen, entry: TapRecord) -> bool:
    """Return whether this interface has an address that the guest can be given, if it needs one."""
    each = seen.of(entry.interface)
    if each is None or not each.wanted:
        return False
    return not desired.ip_versions or any(static_addresses(entry.original or each.interface, desired.ip_versions))


class _Share(Enum):
    """What a guest has of an interface."""

    NOTHING = auto()
    MAC = auto()
    ALL = auto()


def _present_share(entry: TapRecord) -> _Share:
    if entry.original is None:
        return _Share.NOTHING
    return _Share.MAC if entry.only_mac else _Share.ALL


def _desired_share(desired: Desired, seen: Seen, entry: TapRecord) -> _Share:
    """Return what a guest that has a card on the interface should have of it."""
    if desired.takeover:
        return _Share.ALL
    each = seen.of(entry.interface)
    docker = entry.original or (each.interface if each else None)
    return _Share.MAC if docker is not None and docker.mac == desired.mac else _Share.NOTHING


def awaiting_addresses(desired: Desired, seen: Seen, record: Record, resting: Resting) -> frozenset[int]:
    """Return the slots whose interfaces are still to be taken over or given back."""
    cards = with_cards(desired, seen, record, resting)
    theirs = [entry for entry in cards if _desired_share(desired, seen, entry) is not _Share.NOTHING]
    return frozenset(
        entry.slot
        for entry in record.taps
        if (not is_taken(entry, seen.of(entry.interface)) if entry in theirs else entry.original is not None)
    )


def _give_back(seen: Seen, record: Record, entry: TapRecord) -> Action | None:
    """Return the next action by which the container has the interface's addresses."""
    return give_back_action(seen, record, entry) if entry.original else None


def _take_over(desired: Desired, seen: Seen, record: Record, entry: TapRecord) -> Action | None:
    """Return the next action by which the guest gets the interface's MAC, and its addresses if it is to have them."""
    each = seen.of(entry.interface)
    assert each is not None, "an interface that is gone was withdrawn before"
    assert each.tap is not None, "an interface without its tap was attached before"
    if entry.original is None:
        original = each.interface if desired.takeover else _without_addresses(each.interface)
        original = replace(original, guests=())
        return WriteRecord(with_entry(record, replace(entry, original=original, only_mac=not desired.takeover)))
    reach = () if entry.only_mac else gateways_to_reach(entry.original, desired.endpoints)
    if is_taken(entry, each) and (entry.only_mac or has_only_routes_to(reach, each.interface)):
        return None
    return TakeOver(entry.original, each.tap, reach)


def _without_addresses(interface: Interface) -> Interface:
    return replace(interface, addresses=(), routes=())


def _uplink(seen: Seen, entry: TapRecord) -> Uplink:
    each = seen.of(entry.interface)
    assert each is not None, "an interface that is gone was withdrawn before"
    assert each.tap is not None, "an interface without its tap was attached before"
    return Uplink(entry.original or each.interface, each.tap, entry.slot)
