"""Undo what was done to a container or to one of its interfaces, in the reverse order.

An undo is a set of steps, not a chain: a step that fails rests, and those that do not need it go on.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from supervisor.core.attach.actions import (
    Action,
    DeleteRecord,
    DeleteTap,
    DenyDevice,
    GiveBack,
    Planned,
    RemoveNode,
    StopGuest,
    UnlinkNetns,
    UnmarkExit,
    UnmarkReady,
    UnplugNic,
    WriteRecord,
)
from supervisor.core.attach.entries import with_entry
from supervisor.core.attach.lifetimes import is_due
from supervisor.core.attach.private_link import closing_step
from supervisor.core.attach.state import Seen
from supervisor.core.links import Interface, Route
from supervisor.core.record import Record, TapRecord


def undo_steps(seen: Seen, record: Record | None) -> Iterator[Planned]:
    """Undo everything: the guest first, then the interfaces, the last one first."""
    if seen.guest:
        yield Planned(StopGuest())
    elif seen.ready:
        yield Planned(UnmarkReady())
    elif seen.exit_status is not None:
        yield Planned(UnmarkExit())
    elif record is not None:
        for entry in reversed(record.taps):
            yield from (Planned(action, entry.interface) for action in withdraw_actions(seen, record, entry))
        yield from forget_steps(seen, record)


def forget_steps(seen: Seen, record: Record) -> Iterator[Planned]:
    """Remove what outlives the container's run: the symlink, and then the record."""
    runs_on = record.incarnation == seen.incarnation
    if seen.netns_link == record.incarnation.pid:
        yield Planned(UnlinkNetns())
    elif not (runs_on and (record.detached or record.taps)):
        yield Planned(DeleteRecord())


def withdraw_actions(seen: Seen, record: Record, entry: TapRecord) -> Iterator[Action]:
    """Undo one interface, and remove its entry from the record last."""
    if entry.slot in seen.nics:
        yield remove_card_action(seen, entry)
    else:
        undo = tuple(_undo_actions(seen, record, entry))
        yield from undo or (WriteRecord(replace(record, taps=tuple(t for t in record.taps if t != entry))),)


def _undo_actions(seen: Seen, record: Record, entry: TapRecord) -> Iterator[Action]:
    if entry.link:
        yield closing_step(seen, record, entry)
    if entry.original:
        yield give_back_action(seen, record, entry)
    closing = tuple(close_device_actions(seen, entry))
    yield from closing
    each = seen.of(entry.interface)
    taps = (each.tap if each else None, seen.stray(entry.slot))
    if not closing:
        yield from (DeleteTap(tap) for tap in taps if tap)


def remove_card_action(seen: Seen, entry: TapRecord) -> Action:
    """Remove a card that the guest must not keep. A guest without another one is stopped, and started again later."""
    return UnplugNic(entry.slot) if len(seen.nics) > 1 else StopGuest(again=True)


def close_device_actions(seen: Seen, entry: TapRecord) -> Iterator[Action]:
    """Remove the node and the rule of the recorded number, as far as they are there."""
    if entry.device is None:
        return
    if (entry.slot, entry.device) in seen.nodes:
        yield RemoveNode(entry.slot, entry.device)
    # Linux may have given the number to the tap of another interface, which needs the rule.
    others = {s.tap.device for s in seen.interfaces if s.tap and s.interface.name != entry.interface}
    if entry.device in seen.rules - others:
        yield DenyDevice(entry.device)


def give_back_action(seen: Seen, record: Record, entry: TapRecord) -> Action:
    """Give an interface its MAC, addresses and routes back, then record that it has them."""
    assert entry.original is not None
    each = seen.of(entry.interface)
    later = tuple(_awaiting_others(seen, record, entry.original))
    # If another interface has this name now, what was taken from the first one is gone with it.
    exchanged = each is None or each.interface.index != entry.original.index
    if each is None or exchanged or _is_back(entry.original, each.interface, later, seen.at_s):
        return WriteRecord(with_entry(record, replace(entry, original=None, only_mac=False)))
    return GiveBack(entry.original, each.tap, later)


def _awaiting_others(seen: Seen, record: Record, original: Interface) -> Iterator[Route]:
    """Yield the routes that also use an interface, or an address of one, that is still taken over or gone.

    If it is taken over, it has the route on record too, and restores it when it is given back after this one.
    """
    taken = [e.original for e in record.taps if e.original and e.original.index != original.index]
    present = {s.interface.index for s in seen.interfaces} - {other.index for other in taken}
    theirs = {address.ip for other in taken for address in other.addresses}
    for route in original.routes:
        others = {hop.index for hop in route.hops} - {original.index}
        if not others <= present or route.source in theirs:
            yield route


def _is_back(original: Interface, now: Interface, later: Collection[Route], at_s: float) -> bool:
    """Return whether the interface has its MAC, and what it had, apart from `later` and from what has expired."""
    addresses, routes = set(now.addresses), set(now.routes)
    if not all(a.raw for a in original.addresses) or not all(r.raw for r in original.routes):
        # An earlier version recorded less.
        addresses |= {replace(address, peer=None) for address in addresses}
        routes |= {replace(route, tos=0, via=None, hops=(), nexthop_id=None) for route in routes}
    return (
        now.mac == original.mac
        and not now.reached
        and all(address in addresses for address in original.addresses if is_due(address, at_s))
        and all(route in routes or route in later for route in original.routes if is_due(route, at_s))
        and set(original.neighbours) <= set(now.neighbours)
    )
