"""Undo what was done to a container or to one of its interfaces, in the reverse order."""

from dataclasses import replace

from supervisor.core.attach.actions import (
    Action,
    DeleteRecord,
    DeleteTap,
    DenyDevice,
    GiveBack,
    RemoveNode,
    StopGuest,
    UnlinkNetns,
    UnmarkReady,
    UnplugNic,
    WriteRecord,
)
from supervisor.core.attach.entries import with_entry
from supervisor.core.attach.lifetimes import is_due
from supervisor.core.attach.state import Seen
from supervisor.core.model import Interface, Record, TapRecord


def undo_action(seen: Seen, record: Record | None) -> Action | None:
    """Undo everything: the guest first, then the interfaces, the last one first."""
    if seen.guest:
        return StopGuest()
    if seen.ready:
        return UnmarkReady()
    if record is None:
        return None
    if record.taps:
        return withdraw_action(seen, record, record.taps[-1])
    return forget_action(seen, record)


def forget_action(seen: Seen, record: Record | None) -> Action | None:
    """Remove what outlives the container's run: the symlink and the record."""
    if record is None:
        return None
    if seen.netns_link == record.incarnation.pid:
        return UnlinkNetns()
    kept = record.detached and record.incarnation == seen.incarnation
    return None if kept else DeleteRecord()


def withdraw_action(seen: Seen, record: Record, entry: TapRecord) -> Action:
    """Undo one interface, and remove its entry from the record last."""
    each = seen.of(entry.interface)
    if entry.slot in seen.nics:
        return remove_card_action(seen, entry)
    if entry.original:
        return give_back_action(seen, record, entry)
    action = close_device_action(seen, entry)
    if action:
        return action
    if each and each.tap and each.tap.name == entry.tap:
        return DeleteTap(each.tap)
    return WriteRecord(replace(record, taps=tuple(t for t in record.taps if t != entry)))


def remove_card_action(seen: Seen, entry: TapRecord) -> Action:
    """Remove a card that the guest must not keep. A guest without another one is stopped, and started again later."""
    return UnplugNic(entry.slot) if len(seen.nics) > 1 else StopGuest(again=True)


def close_device_action(seen: Seen, entry: TapRecord) -> Action | None:
    """Remove the node and the rule of the recorded number; None if both are gone."""
    if entry.device is None:
        return None
    if (entry.slot, entry.device) in seen.nodes:
        return RemoveNode(entry.slot, entry.device)
    # Linux may have given the number to the tap of another interface, which needs the rule.
    others = {s.tap.device for s in seen.interfaces if s.tap and s.interface.name != entry.interface}
    return DenyDevice(entry.device) if entry.device in seen.rules - others else None


def give_back_action(seen: Seen, record: Record, entry: TapRecord) -> Action:
    """Give an interface its MAC, addresses and routes back, then record that it has them."""
    assert entry.original is not None
    each = seen.of(entry.interface)
    if each is None or _is_back(entry.original, each.interface, seen.at_s):
        return WriteRecord(with_entry(record, replace(entry, original=None)))
    return GiveBack(entry.original, each.tap)


def _is_back(original: Interface, now: Interface, at_s: float) -> bool:
    """Return whether the interface has its MAC, and all addresses and routes whose lifetimes have not ended."""
    addresses = {address for address in original.addresses if is_due(address, at_s)}
    routes = {route for route in original.routes if is_due(route, at_s)}
    return now.mac == original.mac and addresses <= set(now.addresses) and routes <= set(now.routes)
