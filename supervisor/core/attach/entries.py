"""The entries of a container's record, one for each interface: their slots, tap names and changes."""

from dataclasses import replace
from itertools import count

from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.links import Interface
from supervisor.core.record import Record, TapRecord

_FIRST_OTHER_SLOT = 64


def tap_name(mac: str) -> str:
    """Return `vtap` and the last six digits of the interface's MAC."""
    return "vtap" + mac.replace(":", "")[-6:]


def slot_of(interface: str, number: int, record: Record) -> int:
    """Return N for ethN. Interfaces of other names get slots from 64 on, which no ethN is likely to need."""
    taken = {t.slot for t in record.taps}
    digits = interface.removeprefix("eth")
    ours = interface.startswith("eth") and digits.isascii() and digits.isdecimal()
    wanted = int(digits) if ours else _FIRST_OTHER_SLOT + number
    return wanted if wanted not in taken else next(n for n in count(_FIRST_OTHER_SLOT) if n not in taken)


def free_tap_name(interface: Interface, record: Record) -> str:
    """Return the tap's name, or a longer one if another interface's MAC has the same end. Both fit IFNAMSIZ."""
    name = tap_name(interface.mac)
    others = {t.tap for t in record.taps if t.interface != interface.name}
    return name if name not in others else "vtap" + interface.mac.replace(":", "")[-10:]


def with_entry(record: Record, entry: TapRecord) -> Record:
    """Return the record with this entry in place of the one of the same interface."""
    taps = tuple(entry if t.interface == entry.interface else t for t in record.taps)
    return replace(record, taps=taps)


def with_interfaces(record: Record, seen: Seen) -> Record:
    """Return the record with an entry for each wanted interface that has none yet."""
    for number, each in enumerate(seen.interfaces):
        if each.wanted and record.tap_of(each.interface.name) is None:
            name = each.tap.name if each.tap else free_tap_name(each.interface, record)
            entry = TapRecord(slot_of(each.interface.name, number, record), each.interface.name, name)
            record = replace(record, taps=(*record.taps, entry))
    return record


def with_current_names(record: Record, seen: Seen) -> Record:
    """Return the record with the names that renamed interfaces and taps have now.

    Names are identified by ifindexes, so that two interfaces may also have exchanged their names.
    """
    named = tuple(_with_current_names(entry, seen) for entry in record.taps)
    # Where two entries would be about one interface, neither is changed.
    is_same = named == record.taps or len({entry.interface for entry in named}) < len(named)
    return record if is_same else replace(record, taps=named)


def _with_current_names(entry: TapRecord, seen: Seen) -> TapRecord:
    each = next((each for each in seen.interfaces if _is_of(entry, each, seen)), None)
    if each is None:
        return entry
    name = each.interface.name
    tap = each.tap.name if each.tap and each.tap.device == entry.device else entry.tap
    if (name, tap) == (entry.interface, entry.tap) and (entry.original is None or entry.original.name == name):
        return entry
    original = replace(entry.original, name=name) if entry.original else None
    return replace(entry, interface=name, original=original, tap=tap)


def _is_of(entry: TapRecord, each: SeenInterface, seen: Seen) -> bool:
    """Return whether the entry is about this interface. Version 0.1 recorded no ifindex, but the tap's number."""
    if entry.parent is not None:
        return entry.parent == each.interface.index
    gone = seen.of(entry.interface) is None
    return gone and entry.device is not None and each.tap is not None and each.tap.device == entry.device


def is_taken(entry: TapRecord, seen: SeenInterface | None) -> bool:
    """Return whether the takeover that this entry records is complete in the kernel."""
    if entry.original is None or seen is None or seen.tap is None:
        return False
    # An address with a lifetime was not given to the guest; the container may get it again from a router.
    mine = {(a.family, a.ip) for a in entry.original.addresses if a.valid_until_s is None}
    theirs = {(a.family, a.ip) for a in seen.interface.addresses}
    return seen.interface.mac != entry.original.mac and seen.tap.mac == entry.original.mac and not mine & theirs
