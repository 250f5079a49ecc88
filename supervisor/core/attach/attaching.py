"""Give each interface of a container its tap, device rule and node.

Each function yields the steps that may be taken now. The plan takes the first one that does not rest after a failure.
"""

from collections.abc import Iterator
from dataclasses import replace

from supervisor.core.attach.actions import (
    Action,
    AllowDevice,
    CreateTap,
    DeleteTap,
    LinkNetns,
    MakeNode,
    Planned,
    RaiseTap,
    RevokeDevice,
    WriteRecord,
)
from supervisor.core.attach.entries import free_tap_name, with_entry, with_interfaces
from supervisor.core.attach.ownership import own_mac
from supervisor.core.attach.private_link import closing_step
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.attach.withdrawal import close_device_actions, remove_card_action, withdraw_actions
from supervisor.core.links import Tap
from supervisor.core.record import Record, TapRecord


def attach_steps(seen: Seen, record: Record, awaited: frozenset[int] = frozenset()) -> Iterator[Planned]:
    """Yield the next steps of attaching. `awaited`: the slots whose taps come up only after a change of addresses."""
    if seen.netns_link != record.incarnation.pid:
        yield Planned(LinkNetns())
    for entry in record.taps:
        if not _is_ours(seen.of(entry.interface), seen, entry):
            yield from (Planned(action, entry.interface) for action in withdraw_actions(seen, record, entry))
    complete = with_interfaces(record, seen)
    if complete != record:
        yield Planned(WriteRecord(complete))
    else:
        for each in seen.interfaces:
            its = record.tap_of(each.interface.name)
            if its is not None and _is_ours(each, seen, its):
                yield from (Planned(action, its.interface) for action in _attach(seen, record, its, each, awaited))


def _is_ours(each: SeenInterface | None, seen: Seen, entry: TapRecord) -> bool:
    """Return whether the interface of an entry is to be attached. A guest keeps the card that it has until it ends."""
    return each is not None and (each.wanted or entry.slot in seen.nics)


def _attach(
    seen: Seen, record: Record, entry: TapRecord, each: SeenInterface, awaited: frozenset[int]
) -> Iterator[Action]:
    exchanged = entry.original is not None and entry.original.index != each.interface.index
    device = each.tap.device if each.tap else None
    if entry.slot in seen.nics and (exchanged or device is None or device != entry.device):
        yield remove_card_action(seen, entry)
    elif exchanged:
        # Another interface has this name now. What was taken from the first one is gone with it.
        if entry.link:
            yield closing_step(seen, record, entry)
        yield WriteRecord(with_entry(record, replace(entry, original=None, only_mac=False)))
    elif entry.device is not None and entry.device != device:
        # Something else deleted the tap. Linux gives its number to the next tap that is created.
        # If its interface was exchanged, the tap may be there still.
        closing = tuple(close_device_actions(seen, entry))
        forgotten = replace(entry, device=None, index=None, parent=None)
        yield from closing or (_delete_stray(seen, entry) or WriteRecord(with_entry(record, forgotten)),)
    elif each.tap is None:
        yield _delete_stray(seen, entry) or _create(record, entry, each)
    elif entry.device is None:
        yield _check_history(seen, record, entry, each, each.tap)
    elif (entry.index, entry.parent) != (each.tap.index, each.interface.index):
        complete = replace(entry, index=each.tap.index, parent=each.interface.index)
        yield WriteRecord(with_entry(record, complete))  # version 0.1 did not record these
    else:
        yield from _open(seen, entry, each, each.tap, awaited)


def _open(seen: Seen, entry: TapRecord, each: SeenInterface, its_tap: Tap, awaited: frozenset[int]) -> Iterator[Action]:
    """Yield what makes a tap of its own usable. None of these steps needs another one of them."""
    if (not its_tap.up or its_tap.mtu != each.interface.mtu) and entry.slot not in awaited:
        yield RaiseTap(its_tap, each.interface.mtu)
    if its_tap.device not in seen.rules:
        yield AllowDevice(its_tap.device)
    if (entry.slot, its_tap.device) not in seen.nodes or entry.slot in seen.ungiven:
        yield MakeNode(entry.slot, its_tap.device)


def _delete_stray(seen: Seen, entry: TapRecord) -> DeleteTap | None:
    """Delete the entry's tap if it has outlived its interface; None if it has not."""
    stray = seen.stray(entry.slot)
    return DeleteTap(stray) if stray else None


def _create(record: Record, entry: TapRecord, each: SeenInterface) -> Action:
    """Create a tap, once its name is on record and no ifindex is: until it is seen, its name and MAC identify it."""
    name = free_tap_name(entry.original or each.interface, record)
    if (entry.tap, entry.index, entry.parent) != (name, None, None):
        return WriteRecord(with_entry(record, replace(entry, tap=name, index=None, parent=None)))
    return CreateTap(each.interface, name, own_mac(record.id, entry.slot))


def _check_history(seen: Seen, record: Record, entry: TapRecord, each: SeenInterface, tap: Tap) -> Action:
    """Record the tap's number, or delete a tap that another container may have open.

    This ends: each RevokeDevice removes a number from a record, and only fresh taps add one to a record.
    """
    if tap.device in seen.claimed:
        return RevokeDevice(tap.device)
    if not each.fresh:
        return DeleteTap(tap)
    known = replace(entry, device=tap.device, index=tap.index, parent=each.interface.index)
    return WriteRecord(with_entry(record, known))
