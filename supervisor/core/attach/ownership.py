"""Find the macvtaps in a container's network namespace that are vtapd's.

A container can make macvtaps itself, under any name and with any MAC, and can rename, move or delete vtapd's. So a
macvtap is vtapd's if the record says so: by its ifindex and its device number, which are unique within one namespace.
Until these are on record it is known by the name on record and by a MAC that only vtapd gives.

If the record is lost, a macvtap is vtapd's if the container has a device rule of vtapd's for it, which no container can
make itself, or if it has a MAC that only vtapd gives.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from supervisor.core.attach.entries import tap_name
from supervisor.core.attach.macvtap_parent import interface_of
from supervisor.core.container import Container, ContainerId
from supervisor.core.links import DeviceNumber, IfIndex, Link
from supervisor.core.record import Record, TapRecord

_SLOTS = range(256)


def own_mac(whose: str, purpose: str | int) -> str:
    """Return the MAC of a link that vtapd makes for a container. `purpose`: a tap's slot, or another link's name.

    `whose`: the container's id, or its init's pid for a link of one run. The address is locally administered (IEEE 802,
    bits 1 and 0 of the first octet), and the same each time.
    """
    octets = bytearray(hashlib.sha256(f"{whose}/{purpose}".encode()).digest()[:6])
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


@dataclass(frozen=True, slots=True)
class OwnLink:
    """A macvtap of vtapd's, if it has the device number on record."""

    slot: int
    link: Link
    interface: IfIndex | None
    """The interface that it was made on; None if that is gone. On a macvlan network the macvtap outlives it."""
    device: DeviceNumber | None
    """The number that it must have; None if none is on record."""


def find_recorded(record: Record, links: Sequence[Link]) -> Iterator[OwnLink]:
    """Yield the macvtaps of the record. `links` are all of the namespace."""
    for entry in record.taps:
        link = next((each for each in links if each.kind == "macvtap" and _may_be(record.id, entry, each)), None)
        if link is not None:
            yield OwnLink(entry.slot, link, _interface_of(entry, link, links), entry.device)


def _may_be(container_id: ContainerId, entry: TapRecord, link: Link) -> bool:
    if entry.index is not None:
        return link.index == entry.index
    if entry.device is not None:
        return link.name == entry.tap  # version 0.1 recorded no ifindex
    macs = {own_mac(container_id, entry.slot), entry.original.mac if entry.original else ""}
    return link.name == entry.tap and link.mac in macs


def _interface_of(entry: TapRecord, link: Link, links: Sequence[Link]) -> IfIndex | None:
    if entry.parent is None:
        return interface_of(link, links, {link.name: entry.interface})
    return entry.parent if any(each.index == entry.parent for each in links) else None


def find_unrecorded(
    container: Container,
    links: Sequence[Link],
    devices: Mapping[IfIndex, DeviceNumber | None],
    rules: Collection[DeviceNumber],
    nodes: Mapping[DeviceNumber, int],
) -> Iterator[OwnLink]:
    """Yield the macvtaps that are vtapd's although the record is lost.

    `devices` has the number of each macvtap, `rules` the devices of vtapd's own rules, `nodes` the slots of devices.
    """
    own_macs = {own_mac(container.id, slot): slot for slot in _SLOTS}
    for link in links:
        device = devices.get(link.index)
        if device is not None and (device in rules or link.mac in own_macs or _is_guests(container, link)):
            slot = nodes.get(device, own_macs.get(link.mac, _SLOTS.stop))
            yield OwnLink(slot, link, interface_of(link, links, {}), device)


def _is_guests(container: Container, link: Link) -> bool:
    """Return whether it has the MAC of an interface that a guest took over. Linux gives it to no other link there."""
    return any(link.mac == each.mac and link.name == tap_name(each.mac) for each in container.endpoints)
