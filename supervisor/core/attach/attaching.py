"""Give each interface of a container its tap, device rule and node."""

from dataclasses import replace

from supervisor.core.attach.actions import (
    Action,
    AllowDevice,
    CreateTap,
    DeleteTap,
    LinkNetns,
    MakeNode,
    RaiseTap,
    RevokeDevice,
    WriteRecord,
)
from supervisor.core.attach.entries import free_tap_name, with_entry, with_interfaces
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.attach.withdrawal import close_device_action, remove_card_action, withdraw_action
from supervisor.core.model import Record, Tap, TapRecord


def attach_action(seen: Seen, record: Record, awaited: frozenset[int] = frozenset()) -> Action | None:
    """Return the next action of attaching. `awaited`: the slots whose taps come up only after their takeover."""
    if seen.netns_link != record.incarnation.pid:
        return LinkNetns()
    for entry in record.taps:
        each = seen.of(entry.interface)
        # A guest keeps the card that it has until it ends.
        if each is None or not (each.wanted or entry.slot in seen.nics):
            return withdraw_action(seen, record, entry)
    complete = with_interfaces(record, seen)
    if complete != record:
        return WriteRecord(complete)
    ours = [each for each in seen.interfaces if record.tap_of(each.interface.name)]
    actions = (_attach_interface(seen, record, each, awaited) for each in ours)
    return next((action for action in actions if action), None)


def _attach_interface(seen: Seen, record: Record, each: SeenInterface, awaited: frozenset[int]) -> Action | None:
    entry = record.tap_of(each.interface.name)
    assert entry is not None, "entries were made before"
    exchanged = entry.original is not None and entry.original.index != each.interface.index
    if entry.slot in seen.nics and (exchanged or each.tap is None or each.tap.device != entry.device):
        return remove_card_action(seen, entry)
    if exchanged:
        # Another interface has this name now. What was taken from the first one is gone with it.
        return WriteRecord(with_entry(record, replace(entry, original=None)))
    device = each.tap.device if each.tap else None
    if entry.device is not None and entry.device != device:
        # Something else deleted the tap. Linux gives its number to the next tap that is created.
        return close_device_action(seen, entry) or WriteRecord(with_entry(record, replace(entry, device=None)))
    if each.tap is None:
        name = entry.tap if entry.original else free_tap_name(each.interface, record)
        if name != entry.tap:
            return WriteRecord(with_entry(record, replace(entry, tap=name)))
        return CreateTap(each.interface, entry.tap)
    if entry.device is None:
        return _check_history(seen, record, entry, each.tap, fresh=each.fresh)
    if (not each.tap.up or each.tap.mtu != each.interface.mtu) and entry.slot not in awaited:
        return RaiseTap(each.tap, each.interface.mtu)
    if each.tap.device not in seen.rules:
        return AllowDevice(each.tap.device)
    if (entry.slot, each.tap.device) not in seen.nodes or entry.slot in seen.ungiven:
        return MakeNode(entry.slot, each.tap.device)
    return None


def _check_history(seen: Seen, record: Record, entry: TapRecord, tap: Tap, *, fresh: bool) -> Action:
    """Record the tap's number, or delete a tap that another container may have open.

    This ends: each RevokeDevice removes a number from a record, and only fresh taps add one to a record.
    """
    if tap.device in seen.claimed:
        return RevokeDevice(tap.device)
    return WriteRecord(with_entry(record, replace(entry, device=tap.device))) if fresh else DeleteTap(tap)
