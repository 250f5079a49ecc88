"""Whose addresses a guest has: the container's interfaces as `vtapd.address` has it be told of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from supervisor.core.actions import Uplink
from supervisor.core.model import Interface, Route, Whereabouts
from supervisor.core.spec import AddressPlan


def whereabouts_of(interfaces: Iterable[Interface]) -> Whereabouts | None:
    """Where a guest on these can be asked; None where nobody knows."""
    for interface in interfaces:
        for family in (4, 6):
            if (address := interface.address(family)) is not None:
                return Whereabouts(address.ip, interface.mac, interface.name, interface.gateway(family))
    return None


def interfaces_of(uplinks: Sequence[Uplink], plan: AddressPlan) -> tuple[Interface, ...]:
    """Each card's interface, with the MAC that the card has; an address of the guest's own is on the first."""
    if plan.takes_over:
        return tuple(uplink.original for uplink in uplinks)
    bare = [replace(each.original, mac=each.tap.mac, addresses=(), routes=()) for each in uplinks]
    if plan.address is not None:
        routes = (Route(4, "", 0, plan.gateway),) if plan.gateway else ()
        bare[0] = replace(bare[0], addresses=(plan.address,), routes=routes)
    return tuple(bare)
