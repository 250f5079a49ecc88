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
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.attach.withdrawal import close_device_actions, remove_card_action, withdraw_actions
from supervisor.core.model import Record, Tap, TapRecord


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
        yield WriteRecord(with_entry(record, replace(entry, original=None)))
    elif entry.device is not None and entry.device != device:
        # Something else deleted the tap. Linux gives its number to the next tap that is created.
        closing = tuple(close_device_actions(seen, entry))
        yield from closing or (WriteRecord(with_entry(record, replace(entry, device=None))),)
    elif each.tap is None:
        name = entry.tap if entry.original else free_tap_name(each.interface, record)
        named = WriteRecord(with_entry(record, replace(entry, tap=name)))
        yield CreateTap(each.interface, name) if name == entry.tap else named
    elif entry.device is None:
        yield _check_history(seen, record, entry, each.tap, fresh=each.fresh)
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


def _check_history(seen: Seen, record: Record, entry: TapRecord, tap: Tap, *, fresh: bool) -> Action:
    """Record the tap's number, or delete a tap that another container may have open.

    This ends: each RevokeDevice removes a number from a record, and only fresh taps add one to a record.
    """
    if tap.device in seen.claimed:
        return RevokeDevice(tap.device)
    return WriteRecord(with_entry(record, replace(entry, device=tap.device))) if fresh else DeleteTap(tap)
