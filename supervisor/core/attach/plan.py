"""Decide the next action for one container, from what should be, what is, and what is on record.

Terms
    desired     what the configuration, the labels and the operator ask for (state.Desired)
    seen        what the kernel and QEMU show now (state.Seen)
    record      what vtapd did to the container, in a file that outlives the daemon (record.Record)
    entry       the part of the record about one interface (record.TapRecord)
    tap         the macvtap of one interface, with a character device in the host that has a number
    slot        N of the tap's node /dev/tapN in the container
    rule        what lets the container open a device of that number
    takeover    an interface's MAC, addresses and routes are taken away, because the guest has them on its network card;
                the entry keeps them as `original`. For a guest with an address of its own it is the MAC alone, and
                only if Docker was asked for that MAC
    link        the private link between the guest and its container, on an interface that is taken over
    withdrawal  the reverse of all that was done to one interface
    attempt     a kind of action on one interface, or on the container as a whole
    resting     attempts that failed, and that are not to be tried again yet

`next_step` returns one action and the interface that it is for. The caller carries it out, observes again, and asks for
the next one, until there is none. So a daemon that is killed at any moment is no special case: the next one observes
and goes on from there. If an action fails, the caller lets this attempt rest, observes, and goes on in the same way.

Invariants. They hold at every moment and after every prefix of every plan; tests/unit/test_plan*.py stop after each
action and check them, and tests/integration/faults kill the daemon there.

1. A thing is recorded before it is made, and its entry is removed after it is undone.
2. There is no device rule and no node without the tap that has this number.
3. There is no guest without its tap, rule, node and address. No address is given back while a guest runs. No guest is
   marked ready that the daemon has not found ready, or that it is about to stop.
4. What is undone is exactly what the record says was done. The record follows what Docker changes meanwhile: names,
   and the default gateway.
5. Before a tap is recorded with its number, brought up, or given another interface's MAC, it is certain that no other
   container was ever able to open it: its number was looked up in all records while the tap was down. A tap that is
   found without a number on record may be open elsewhere, since the kernel gives the number of a deleted tap to the
   next one. Such a tap is deleted and created again.
6. What fails on one interface holds up nothing of another one, nor a guest that has a card on another one. An interface
   that is not wholly attached and taken over is the container's own: the guest has no card on it, and what was taken
   from it is given back. A guest is not stopped because something rests.
7. The private link holds nothing up. If a step for it rests, everything else is as it would be without a link.
8. An undo is a set of steps. If one of them rests, those that do not need it are taken: only a tap stays whose rule or
   node stays, and the entry of an interface of which something is left. The record is deleted last.
9. The taps of a guest are filtered before it falls asleep, and not any more when it starts or goes on.
"""

from collections.abc import Iterator
from itertools import chain

from supervisor.core.attach.actions import LinkNetns, Planned, StopGuest, UnmarkReady, WriteRecord
from supervisor.core.attach.attaching import attach_steps
from supervisor.core.attach.entries import with_current_names, with_interfaces
from supervisor.core.attach.gateways import with_current_gateways
from supervisor.core.attach.service import awaiting_addresses, guest_steps, with_cards
from supervisor.core.attach.state import Desired, Resting, Seen
from supervisor.core.attach.withdrawal import forget_steps, undo_steps
from supervisor.core.container import ContainerId
from supervisor.core.record import Record

_NOTHING: Resting = frozenset()


def is_attached(seen: Seen, record: Record | None, resting: Resting = _NOTHING) -> bool:
    """Return whether the symlink is there, and every interface has its tap, rule and node.

    Interfaces on which something rests do not count, unless all of them are such.
    """
    if record is None or record.incarnation != seen.incarnation:
        return False
    missing = set()
    for step in attach_steps(seen, record):
        if isinstance(step.action, LinkNetns) or step.attempt not in resting:
            return False
        missing.add(step.interface)
    wanted = {each.interface.name for each in seen.interfaces if each.wanted}
    return not wanted or not wanted <= missing


def has_card(desired: Desired, seen: Seen, record: Record, resting: Resting = _NOTHING) -> bool:
    """Return whether the guest has a network card, or would have one if it were started."""
    return bool(with_cards(desired, seen, record, resting))


def next_step(
    container_id: ContainerId,
    name: str,
    desired: Desired,
    seen: Seen,
    record: Record | None,
    resting: Resting = _NOTHING,
) -> Planned | None:
    """Return the next step, or None if everything is as desired, or rests."""
    steps = _steps(container_id, name, desired, seen, record, resting)
    step = next((step for step in steps if step.attempt not in resting), None)
    return Planned(UnmarkReady()) if seen.ready and step and isinstance(step.action, StopGuest) else step


def _steps(
    container_id: ContainerId, name: str, desired: Desired, seen: Seen, record: Record | None, resting: Resting
) -> Iterator[Planned]:
    """Return the steps that may be taken now. One that comes later may be taken only if those before it rest."""
    if record is not None and record.incarnation != seen.incarnation:
        # The container has ended or was restarted. Everything but the symlink and the record ended with its namespaces.
        if seen.incarnation is None or not desired.attached or seen.netns_link == record.incarnation.pid:
            return forget_steps(seen, record)
        record = None
    if seen.incarnation is None:
        return iter(())
    if record is not None and (followed := with_current_names(record, seen)) != record:
        return iter((Planned(WriteRecord(followed)),))
    if record is not None and (followed := with_current_gateways(record, seen, desired.endpoints)) != record:
        return iter((Planned(WriteRecord(followed)),))
    if not desired.attached:
        return undo_steps(seen, record)
    if record is None:
        return iter((Planned(WriteRecord(with_interfaces(Record(container_id, name, seen.incarnation), seen))),))
    awaited = awaiting_addresses(desired, seen, record, resting)
    return chain(attach_steps(seen, record, awaited), guest_steps(desired, seen, record, resting))
