"""Decide the next action for one container, from what should be, what is, and what is on record.

Terms
    desired     what the configuration, the labels and the operator ask for (state.Desired)
    seen        what the kernel and QEMU show now (state.Seen)
    record      what vtapd did to the container, in a file that outlives the daemon (model.Record)
    entry       the part of the record about one interface (model.TapRecord)
    tap         the macvtap of one interface, with a character device in the host that has a number
    slot        N of the tap's node /dev/tapN in the container
    rule        what lets the container open a device of that number
    takeover    an interface's MAC, addresses and routes are taken away, because the guest has them on its network card;
                the entry keeps them as `original`
    withdrawal  the reverse of all that was done to one interface

`next_action` returns one action. The caller carries it out, observes again, and asks for the next one, until there is
none. So a daemon that is killed at any moment is no special case: the next one observes and goes on from there.

Invariants. They hold at every moment and after every prefix of every plan; tests/unit/test_plan*.py stop after each
action and check them, and tests/integration/faults kill the daemon there.

1. A thing is recorded before it is made, and its entry is removed after it is undone.
2. There is no device rule and no node without the tap that has this number.
3. There is no guest without its tap, rule, node and address. No address is given back while a guest runs. No guest is
   marked ready that the daemon has not found ready, or that it is about to stop.
4. What is undone is exactly what the record says was done.
5. Before a tap is recorded with its number, brought up, or given another interface's MAC, it is certain that no other
   container was ever able to open it: its number was looked up in all records while the tap was down. A tap that is
   found without a number on record may be open elsewhere, since the kernel gives the number of a deleted tap to the
   next one. Such a tap is deleted and created again.
"""

from supervisor.core.attach.actions import Action, StopGuest, UnmarkReady, WriteRecord
from supervisor.core.attach.attaching import attach_action
from supervisor.core.attach.entries import with_current_names, with_interfaces
from supervisor.core.attach.service import awaiting_takeover, guest_action, with_cards
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.attach.withdrawal import forget_action, undo_action
from supervisor.core.model import ContainerId, Record


def is_attached(seen: Seen, record: Record | None) -> bool:
    """Return whether every interface has its tap, rule and node."""
    return record is not None and record.incarnation == seen.incarnation and attach_action(seen, record) is None


def has_card(desired: Desired, seen: Seen, record: Record) -> bool:
    """Return whether the guest has a network card, or would have one if it were started."""
    return bool(with_cards(desired, seen, record))


def next_action(
    container_id: ContainerId, name: str, desired: Desired, seen: Seen, record: Record | None
) -> Action | None:
    """Return the next action, or None if everything is as desired."""
    action = _next_action(container_id, name, desired, seen, record)
    return UnmarkReady() if seen.ready and isinstance(action, StopGuest) else action


def _next_action(
    container_id: ContainerId, name: str, desired: Desired, seen: Seen, record: Record | None
) -> Action | None:
    if seen.incarnation is None:
        return forget_action(seen, record)
    if record is not None and record.incarnation != seen.incarnation:
        # The container was restarted: everything but the symlink and the record ended with its old namespaces.
        if not desired.attached or seen.netns_link == record.incarnation.pid:
            return forget_action(seen, record)
        record = None
    if record is not None and (followed := with_current_names(record, seen)) != record:
        return WriteRecord(followed)
    if not desired.attached:
        return undo_action(seen, record)
    if record is None:
        return WriteRecord(with_interfaces(Record(container_id, name, seen.incarnation), seen))
    awaited = awaiting_takeover(desired, seen, record)
    return attach_action(seen, record, awaited) or guest_action(desired, seen, record)
