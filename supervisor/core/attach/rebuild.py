"""Rebuild a record that is lost from what the kernel and Docker show, so that everything can be undone exactly.

What is seen must have only taps that are vtapd's (`ownership.find_unrecorded`).

Docker keeps each endpoint's MAC and addresses, and a macvtap's name has the last six digits of its interface's original
MAC. So a tap and an endpoint are matched by that, even if a takeover has changed the MACs. What only the record had is
lost, such as routes that were added by hand.

A tap is brought up, and gets its rule, only after its number was found in no other record and was recorded. So a tap
that is up or has a rule keeps its number. Any other tap may be open in another container: it gets no number on record,
and the plan deletes it and creates it again.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from supervisor.core.attach.entries import slot_of, tap_name
from supervisor.core.attach.gateways import gateway_endpoints
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.container import Container, Endpoint, Incarnation
from supervisor.core.links import Address, Interface, Route, Tap
from supervisor.core.record import PrivateLink, Record, TapRecord

_PROTO_BOOT, _IPV6_METRIC = 3, 1024
"""The protocol of libnetwork's default routes (linux/rtnetlink.h), and the metric of those of IPv6."""


def rebuild(container: Container, incarnation: Incarnation, seen: Seen) -> Record | None:
    """Return what an earlier daemon must have done to this container, or None if it did nothing."""
    record = Record(container.id, container.name, incarnation)
    for number, each in enumerate(seen.interfaces):
        if each.tap is not None:
            slot = slot_of(each.interface.name, number, record)
            device = each.tap.device if _is_known(each.tap, seen) else None
            on = each.interface.index
            original = _original(container, each)
            entry = TapRecord(
                slot,
                each.interface.name,
                each.tap.name,
                device,
                original,
                each.tap.index,
                on,
                only_mac=original is not None and not original.addresses,
                link=_link(each),
            )
            record = replace(record, taps=(*record.taps, entry))
    for slot, tap in seen.strays:
        # The entry has the tap's own name in place of the interface's, which is not known: the plan undoes it.
        device = tap.device if _is_known(tap, seen) else None
        free = next(n for n in count(slot) if n not in {entry.slot for entry in record.taps})
        record = replace(record, taps=(*record.taps, TapRecord(free, tap.name, tap.name, device, index=tap.index)))
    return record if record.taps or seen.netns_link == incarnation.pid else None


def _is_known(tap: Tap, seen: Seen) -> bool:
    return (tap.up or tap.device in seen.rules) and tap.device not in seen.claimed


def _link(each: SeenInterface) -> PrivateLink | None:
    """Return the private link of which a part is there, or None.

    The interface's hooks are taken for vtapd's own: they are removed only if no program uses them.
    """
    ways, hooks = each.interface.guests, each.hooks
    if not (ways or hooks.interface or hooks.guard or hooks.tap or hooks.tap_clsact):
        return None
    return PrivateLink(next((way.source for way in ways if way.source), ""), own_clsact=True)


def _original(container: Container, each: SeenInterface) -> Interface | None:
    """Return the interface as Docker made it, or None if it is unchanged or unknown."""
    assert each.tap is not None, "only interfaces with a tap were changed"
    endpoint = next((e for e in container.endpoints if e.mac and tap_name(e.mac) == each.tap.name), None)
    if endpoint is None:
        return None
    now = each.interface
    present = {address.ip for address in now.addresses}
    if endpoint.addresses and all(ip in present for ip, _, _ in endpoint.addresses):
        # A takeover takes addresses before the MAC, so only the MAC was asked for.
        return None if now.mac == endpoint.mac else replace(now, mac=endpoint.mac, addresses=(), routes=())
    routes = _routes(endpoint, container.endpoints)
    return Interface(now.name, now.index, endpoint.mac, now.mtu, _addresses(endpoint), routes)


def _addresses(endpoint: Endpoint) -> tuple[Address, ...]:
    addresses = []
    for ip, prefix, _ in endpoint.addresses:
        network = ipaddress.ip_network(f"{ip}/{prefix}", strict=False)
        broadcast = str(network.broadcast_address) if network.version == 4 else None
        addresses.append(Address(network.version, ip, prefix, broadcast))
    return tuple(addresses)


def _routes(endpoint: Endpoint, endpoints: Sequence[Endpoint]) -> tuple[Route, ...]:
    """Return the default routes that Docker has on this endpoint.

    The kernel makes the routes to the networks themselves, with the addresses.
    """
    routes = []
    chosen = gateway_endpoints(endpoints)
    for ip, _, gateway in endpoint.addresses:
        family = ipaddress.ip_address(ip).version
        if gateway and chosen.get(family) == endpoint:
            metric = _IPV6_METRIC if family == 6 else None
            routes.append(Route(family, "", 0, gateway, metric=metric, protocol=_PROTO_BOOT))
    return tuple(routes)
