"""What to do next for one container: desired against seen, one action at a time.

Invariants, held at every moment and for every prefix of every plan (tests/unit/test_plan.py interrupts it anywhere):

1. A thing is recorded before it is made, and forgotten after it is undone.
2. No device rule and no node without the tap that has this number.
3. No guest without tap, rule, node and address; no address given back while a guest still runs; none called ready that
   the daemon has not found so, or that it is about to end.
4. What is undone is exactly what the record says was done.
5. No tap is on record, up or under another interface's MAC before it is certain that no other container ever had the
   means to open it: its number was looked up among all records while it was down. A tap that is found without a number
   on record has an unknown history, since the kernel gives the number of a deleted tap to the next one. It is deleted
   and made again.
"""

from dataclasses import dataclass, replace
from itertools import count

from supervisor.core.attach.actions import (
    Action,
    AllowDevice,
    CreateTap,
    DeleteRecord,
    DeleteTap,
    DenyDevice,
    GiveBack,
    LinkNetns,
    MakeNode,
    MarkReady,
    PlugNic,
    RaiseTap,
    RemoveNode,
    RevokeDevice,
    StartGuest,
    StopGuest,
    TakeOver,
    UnlinkNetns,
    UnmarkReady,
    UnplugNic,
    Uplink,
    WriteRecord,
)
from supervisor.core.attach.lifetimes import is_due, static_addresses
from supervisor.core.model import (
    ContainerId,
    DeviceNumber,
    Incarnation,
    Interface,
    Pid,
    Record,
    Tap,
    TapRecord,
)

_FIRST_OTHER_SLOT = 64


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be. Without `attached` nothing else is wanted either."""

    attached: bool
    takeover: bool = False
    """The interfaces' addresses belong to the guest."""
    guest: bool = False
    """Its QEMU should run."""
    cards: int = 1
    """On how many interfaces, at the most, the guest has a network card; further ones stay the container's."""
    ip_versions: tuple[int, ...] = ()
    """A card needs an address of one of these versions that the guest can be given; empty if it is given none."""
    hotplug: bool = False
    """A guest that runs takes further ones."""
    ready: bool = False
    """The guest that runs was found ready."""


@dataclass(frozen=True, slots=True)
class SeenInterface:
    """One of the container's interfaces and what hangs on it."""

    interface: Interface
    tap: Tap | None = None
    fresh: bool = False
    """The tap was made a moment ago, and when it was made no other container had its number on record."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is, for one container."""

    incarnation: Incarnation | None
    """None when it does not run: its namespaces, nodes, rules and processes are gone with it."""
    netns_link: Pid | None = None
    """To whose namespace the symlink leads; None when there is none."""
    interfaces: tuple[SeenInterface, ...] = ()
    rules: frozenset[DeviceNumber] = frozenset()
    """Those of the recorded and existing taps' numbers that the container may open."""
    nodes: tuple[tuple[int, DeviceNumber], ...] = ()
    """N of /dev/tapN and its number, macvtap devices only."""
    guest: bool = False
    """Its QEMU runs."""
    nics: frozenset[int] = frozenset()
    """The slots that the running guest has a network card on."""
    ready: bool = False
    """The container has the mark that its guest is ready."""
    at_s: float = 0.0
    """When this was seen, in seconds since boot."""
    claimed: frozenset[DeviceNumber] = frozenset()
    """The numbers of the taps that another container has on record: its own tap of that number is gone."""

    def of(self, interface: str) -> SeenInterface | None:
        """One interface by name."""
        return next((s for s in self.interfaces if s.interface.name == interface), None)


def tap_name(mac: str) -> str:
    """`vtap` and the last six digits of the interface's MAC."""
    return "vtap" + mac.replace(":", "")[-6:]


def is_taken(entry: TapRecord, seen: SeenInterface | None) -> bool:
    """Whether the takeover that the record speaks of is complete in the kernel."""
    if entry.original is None or seen is None or seen.tap is None:
        return False
    # The container may get one with a lifetime again, by a router's next advertisement: it is not the guest's.
    mine = {(a.family, a.ip) for a in entry.original.addresses if a.valid_until_s is None}
    theirs = {(a.family, a.ip) for a in seen.interface.addresses}
    return seen.interface.mac != entry.original.mac and seen.tap.mac == entry.original.mac and not mine & theirs


def is_attached(seen: Seen, record: Record | None) -> bool:
    """Whether every interface has all that it should have."""
    return record is not None and record.incarnation == seen.incarnation and _attach(seen, record) is None


def has_card(desired: Desired, seen: Seen, record: Record) -> bool:
    """Whether a guest has a network card, or would have one if it was started."""
    return bool(_with_cards(desired, seen, record))


def next_action(
    container_id: ContainerId, name: str, desired: Desired, seen: Seen, record: Record | None
) -> Action | None:
    """The one next step, or None when nothing differs."""
    action = _next_action(container_id, name, desired, seen, record)
    return UnmarkReady() if seen.ready and isinstance(action, StopGuest) else action


def _next_action(
    container_id: ContainerId, name: str, desired: Desired, seen: Seen, record: Record | None
) -> Action | None:
    if seen.incarnation is None:
        return _forget(seen, record)
    if record is not None and record.incarnation != seen.incarnation:
        # The container was restarted: all but the symlink went with its old namespaces.
        if not desired.attached or seen.netns_link == record.incarnation.pid:
            return _forget(seen, record)
        record = None
    if record is not None and (followed := _follow_names(record, seen)) != record:
        return WriteRecord(followed)
    if not desired.attached:
        return _undo(seen, record)
    if record is None:
        return WriteRecord(_with_interfaces(Record(container_id, name, seen.incarnation), seen))
    return _attach(seen, record, _awaited(desired, seen, record)) or _serve(desired, seen, record)


def _follow_names(record: Record, seen: Seen) -> Record:
    """The record under the names that interfaces have now: one that carries our tap is the one that it was."""
    for entry in record.taps:
        if seen.of(entry.interface) is None:
            mine = (each.interface.name for each in seen.interfaces if each.tap and _is_tap_of(entry, each.tap))
            name = next((name for name in mine if record.tap_of(name) is None), entry.interface)
            original = replace(entry.original, name=name) if entry.original else None
            renamed = replace(entry, interface=name, original=original)
            record = replace(record, taps=tuple(renamed if tap == entry else tap for tap in record.taps))
    return record


def _is_tap_of(entry: TapRecord, tap: Tap) -> bool:
    return (tap.name, tap.device) == (entry.tap, entry.device)


def _forget(seen: Seen, record: Record | None) -> Action | None:
    if record is None:
        return None
    if seen.netns_link == record.incarnation.pid:
        return UnlinkNetns()
    kept = record.detached and record.incarnation == seen.incarnation
    return None if kept else DeleteRecord()


def _attach(seen: Seen, record: Record, awaited: frozenset[int] = frozenset()) -> Action | None:
    """`awaited`: the slots whose taps come up only after their takeover."""
    if seen.netns_link != record.incarnation.pid:
        return LinkNetns()
    for entry in record.taps:
        if seen.of(entry.interface) is None:
            return _withdraw(seen, record, entry)
    complete = _with_interfaces(record, seen)
    if complete != record:
        return WriteRecord(complete)
    actions = (_attach_interface(seen, record, each, awaited) for each in seen.interfaces)
    return next((action for action in actions if action), None)


def _with_interfaces(record: Record, seen: Seen) -> Record:
    """The record with an entry for each interface that has none yet."""
    for number, each in enumerate(seen.interfaces):
        if record.tap_of(each.interface.name) is None:
            name = each.tap.name if each.tap else _free_name(each.interface, record)
            entry = TapRecord(slot_of(each.interface.name, number, record), each.interface.name, name)
            record = replace(record, taps=(*record.taps, entry))
    return record


def _attach_interface(seen: Seen, record: Record, each: SeenInterface, awaited: frozenset[int]) -> Action | None:
    entry = record.tap_of(each.interface.name)
    assert entry is not None, "entries were made before"
    exchanged = entry.original is not None and entry.original.index != each.interface.index
    if entry.slot in seen.nics and (exchanged or each.tap is None or each.tap.device != entry.device):
        return _lose_nic(seen, entry)
    if exchanged:
        # Another interface of that name: what was taken from the one before is gone with it.
        return WriteRecord(_with(record, replace(entry, original=None)))
    device = each.tap.device if each.tap else None
    if entry.device is not None and entry.device != device:
        # Another program deleted the tap. Linux gives its number to the next tap that is made.
        return _close(seen, entry) or WriteRecord(_with(record, replace(entry, device=None)))
    if each.tap is None:
        name = entry.tap if entry.original else _free_name(each.interface, record)
        if name != entry.tap:
            return WriteRecord(_with(record, replace(entry, tap=name)))
        return CreateTap(each.interface, entry.tap)
    if entry.device is None:
        return _check_history(seen, record, entry, each.tap, fresh=each.fresh)
    if (not each.tap.up or each.tap.mtu != each.interface.mtu) and entry.slot not in awaited:
        return RaiseTap(each.tap, each.interface.mtu)
    if each.tap.device not in seen.rules:
        return AllowDevice(each.tap.device)
    if (entry.slot, each.tap.device) not in seen.nodes:
        return MakeNode(entry.slot, each.tap.device)
    return None


def _check_history(seen: Seen, record: Record, entry: TapRecord, tap: Tap, *, fresh: bool) -> Action:
    """Note the tap's number, or get rid of a tap that another container may have open.

    That comes to an end: each RevokeDevice takes a number off a record, and only fresh taps bring one onto a record.
    """
    if tap.device in seen.claimed:
        return RevokeDevice(tap.device)
    return WriteRecord(_with(record, replace(entry, device=tap.device))) if fresh else DeleteTap(tap)


def _serve(desired: Desired, seen: Seen, record: Record) -> Action | None:
    """Give the guest its address and start it, or the reverse."""
    if seen.ready and not (seen.guest and desired.ready):
        return UnmarkReady()
    if seen.guest and not desired.guest:
        return StopGuest()
    if any(t.slot in seen.nics and (t.original is not None) != desired.takeover for t in record.taps):
        return StopGuest(again=True)  # it was started for other addresses than it should have
    theirs = _with_cards(desired, seen, record)
    for entry in record.taps:
        if not desired.takeover or entry not in theirs:
            action = _give_back(seen, record, entry) if entry.original else None
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


def _with_cards(desired: Desired, seen: Seen, record: Record) -> list[TapRecord]:
    """What the guest's cards are on: one that runs has those that it was started with, unless it takes more."""
    able = [t for t in record.taps if t.slot in seen.nics or _can_have_card(desired, seen, t)]
    candidates = sorted(able, key=lambda t: (t.slot not in seen.nics, t.slot))
    return candidates[: desired.cards if not seen.guest or desired.hotplug else len(seen.nics)]


def _can_have_card(desired: Desired, seen: Seen, entry: TapRecord) -> bool:
    """Return whether the guest can be given an address of this interface, if it is given any."""
    each = seen.of(entry.interface)
    interface = entry.original or (each.interface if each else None)
    return not desired.ip_versions or (interface is not None and any(static_addresses(interface, desired.ip_versions)))


def _awaited(desired: Desired, seen: Seen, record: Record) -> frozenset[int]:
    """The slots that are to be taken over and are not yet."""
    if not desired.takeover:
        return frozenset()
    theirs = _with_cards(desired, seen, record)
    return frozenset(entry.slot for entry in theirs if not is_taken(entry, seen.of(entry.interface)))


def _take_over(seen: Seen, record: Record, entry: TapRecord) -> Action | None:
    each = seen.of(entry.interface)
    assert each is not None, "an interface that is gone was withdrawn before"
    assert each.tap is not None, "an interface without its tap was attached before"
    if entry.original is None:
        return WriteRecord(_with(record, replace(entry, original=each.interface)))
    return None if is_taken(entry, each) else TakeOver(entry.original, each.tap)


def _uplink(seen: Seen, entry: TapRecord) -> Uplink:
    each = seen.of(entry.interface)
    assert each is not None, "an interface that is gone was withdrawn before"
    assert each.tap is not None, "an interface without its tap was attached before"
    return Uplink(entry.original or each.interface, each.tap, entry.slot)


def _lose_nic(seen: Seen, entry: TapRecord) -> Action:
    """A guest's card leads nowhere any more. One that has no other is worth nothing until it is started again."""
    return UnplugNic(entry.slot) if len(seen.nics) > 1 else StopGuest(again=True)


def _undo(seen: Seen, record: Record | None) -> Action | None:
    if seen.guest:
        return StopGuest()
    if seen.ready:
        return UnmarkReady()
    if record is None:
        return None
    if record.taps:
        return _withdraw(seen, record, record.taps[-1])
    return _forget(seen, record)


def _withdraw(seen: Seen, record: Record, entry: TapRecord) -> Action:
    """The reverse of one interface's attachment, and at last its entry in the record."""
    each = seen.of(entry.interface)
    if entry.slot in seen.nics:
        return _lose_nic(seen, entry)
    if entry.original:
        return _give_back(seen, record, entry)
    action = _close(seen, entry)
    if action:
        return action
    if each and each.tap and each.tap.name == entry.tap:
        return DeleteTap(each.tap)
    return WriteRecord(replace(record, taps=tuple(t for t in record.taps if t != entry)))


def _close(seen: Seen, entry: TapRecord) -> Action | None:
    """Take away what would open the recorded number."""
    if entry.device is None:
        return None
    if (entry.slot, entry.device) in seen.nodes:
        return RemoveNode(entry.slot, entry.device)
    # Linux may have given the number to another interface's tap since, whose rule this now is.
    others = {s.tap.device for s in seen.interfaces if s.tap and s.interface.name != entry.interface}
    return DenyDevice(entry.device) if entry.device in seen.rules - others else None


def _give_back(seen: Seen, record: Record, entry: TapRecord) -> Action:
    assert entry.original is not None
    each = seen.of(entry.interface)
    if each is None or _is_back(entry.original, each.interface, seen.at_s):
        return WriteRecord(_with(record, replace(entry, original=None)))
    return GiveBack(entry.original, each.tap)


def _is_back(original: Interface, now: Interface, at_s: float) -> bool:
    """Whether it has all again whose lifetime has not ended by then."""
    addresses = {address for address in original.addresses if is_due(address, at_s)}
    routes = {route for route in original.routes if is_due(route, at_s)}
    return now.mac == original.mac and addresses <= set(now.addresses) and routes <= set(now.routes)


def _with(record: Record, entry: TapRecord) -> Record:
    taps = tuple(entry if t.interface == entry.interface else t for t in record.taps)
    return replace(record, taps=taps)


def _free_name(interface: Interface, record: Record) -> str:
    """The tap's name, or a longer one where another interface's MAC ends alike; both fit IFNAMSIZ."""
    name = tap_name(interface.mac)
    others = {t.tap for t in record.taps if t.interface != interface.name}
    return name if name not in others else "vtap" + interface.mac.replace(":", "")[-10:]


def slot_of(interface: str, number: int, record: Record) -> int:
    """N of ethN; interfaces of other names come far behind, where no ethN will ever want to be."""
    taken = {t.slot for t in record.taps}
    digits = interface.removeprefix("eth")
    ours = interface.startswith("eth") and digits.isascii() and digits.isdecimal()
    wanted = int(digits) if ours else _FIRST_OTHER_SLOT + number
    return wanted if wanted not in taken else next(n for n in count(_FIRST_OTHER_SLOT) if n not in taken)
