"""Connect a guest that has its container's addresses and the container itself by a private link, or disconnect them.

A macvtap cannot talk to the interface that it is on. So the kernel gets programs on the hooks of both
(`core.devices.link_program`). The container has an address of its own on the link, on its loopback, and a route and a
neighbour entry for each address of the guest. The guest sends to the container's address wherever its routes lead.

The link is of use, but nothing depends on it: if a step for it fails, everything else goes on.
"""

from collections.abc import Iterator
from dataclasses import replace

from supervisor.core.attach.actions import Action, ClosePrivateLink, OpenPrivateLink, WriteRecord
from supervisor.core.attach.entries import with_entry
from supervisor.core.attach.lifetimes import static_addresses
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.devices.link_program import LinkEnds, guard_label, link_label
from supervisor.core.links import GuestWay, Hooks, Interface, Tap
from supervisor.core.record import PrivateLink, Record, TapRecord

LINK_PROTOCOL = 119
"""The rtm_protocol and NDA_PROTOCOL of the link's routes and neighbour entries, by which they are known."""


def expected_ways(original: Interface, address: str) -> tuple[GuestWay, ...]:
    """Return how the container reaches the guest that has the interface's addresses."""
    ips = sorted(each.ip for each in static_addresses(original, (4,)))
    return tuple(GuestWay(ip, address, original.mac) for ip in ips)


def expected_hooks(interface: Interface, tap: Tap, address: str) -> Hooks:
    """Return what is on the hooks of a complete link."""
    label = link_label(LinkEnds(address, interface.index, interface.mac, tap.index))
    return Hooks(clsact=True, interface=label, guard=guard_label(address), tap_clsact=True, tap=label)


def opening_steps(seen: Seen, record: Record, entry: TapRecord, address: str | None) -> Iterator[Action]:
    """Yield the next step for the link on an interface that is taken over. `address`: the container's on it."""
    each = seen.of(entry.interface)
    assert each is not None, "an interface that is gone was withdrawn before"
    if address is None or why_no_link(seen, record, entry, address):
        if entry.link:
            yield closing_step(seen, record, entry)
    elif entry.link is None:
        link = PrivateLink(address, own_clsact=not each.hooks.clsact)
        yield WriteRecord(with_entry(record, replace(entry, link=link)))
    elif entry.link.address != address:
        yield closing_step(seen, record, entry)
    elif entry.original and each.tap and not _is_open(seen, entry.original, each, each.tap, address):
        yield OpenPrivateLink(entry.original, each.interface, each.tap, each.hooks, address)


def _is_open(seen: Seen, original: Interface, each: SeenInterface, tap: Tap, address: str) -> bool:
    ways, hooks = expected_ways(original, address), expected_hooks(each.interface, tap, address)
    return address in seen.other_ipv4 and (each.interface.guests, each.hooks) == (ways, hooks)


def closing_step(seen: Seen, record: Record, entry: TapRecord) -> Action:
    """Remove what is there of the link, then its record."""
    link = entry.link
    assert link is not None
    each = _present(seen, entry)
    tap = each.tap if each and each.tap else seen.stray(entry.slot)
    is_shared = any(other.link and other.link.address == link.address for other in record.taps if other != entry)
    address = link.address if link.address in seen.other_ipv4 and not is_shared else None
    if address is None and (each is None or not _is_something_left(each)):
        return WriteRecord(with_entry(record, replace(entry, link=None)))
    return ClosePrivateLink(each.interface if each else None, tap, address, link.own_clsact)


def _present(seen: Seen, entry: TapRecord) -> SeenInterface | None:
    """Return the interface of the entry, unless another one has its name now."""
    each = seen.of(entry.interface)
    index = entry.original.index if entry.original else entry.parent
    return each if each is not None and each.interface.index == index else None


def _is_something_left(each: SeenInterface) -> bool:
    hooks = each.hooks
    return bool(each.interface.guests or hooks.interface or hooks.guard or hooks.tap or hooks.tap_clsact)


def why_no_link(seen: Seen, record: Record, entry: TapRecord, address: str) -> str:
    """Return why the link on this interface cannot have the address; empty if it can."""
    if entry.original is None or not any(static_addresses(entry.original, (4,))):
        return "the guest has no IPv4 address on it"
    if address in seen.other_ipv4 and not any(each.link and each.link.address == address for each in record.taps):
        return f"the container has the address {address} itself"
    originals = (each.original for each in record.taps if each.original)
    for interface in (*originals, *(each.interface for each in seen.interfaces)):
        for destination, prefix in _networks(interface):
            if _covers(destination, prefix, address):
                return f"{address} is in the network {destination}/{prefix} of {interface.name}"
    return ""


def _networks(interface: Interface) -> Iterator[tuple[str, int]]:
    """Yield the IPv4 networks that are reached through the interface."""
    yield from ((each.peer or each.ip, each.prefix) for each in interface.addresses if each.family == 4)
    yield from ((each.destination, each.prefix) for each in interface.routes if each.family == 4 and each.prefix)


def _covers(destination: str, prefix: int, address: str) -> bool:
    return (_number(destination) ^ _number(address)) >> (32 - prefix) == 0


def _number(ip: str) -> int:
    return int.from_bytes(map(int, ip.split(".")))
