"""Collect a guest's network: from the kernel, Docker, the container's resolv.conf and the host's."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from supervisor.core.attach.lifetimes import static_addresses
from supervisor.core.container import Container
from supervisor.core.guest.addressing import interfaces_of, network_of, with_resolver
from supervisor.core.guest.spec import AddressPlan
from supervisor.core.kinds.dns import Names, names_of, parse_resolv
from supervisor.core.kinds.kind import GuestKind
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.links import Interface
from supervisor.edges.kernel import resolv, rootfs

_RESOLV_CONF = "/etc/resolv.conf"


def observe_network(
    root: int,
    container: Container,
    address: AddressPlan,
    kind: GuestKind,
    cards: Sequence[tuple[Interface, str]],
    resolver: str | None = None,
) -> GuestNetwork | None:
    """Return the network of a guest with these cards, or None if the guest configures its addresses itself.

    `cards`: for each card its interface, as Docker made it, and its MAC. `resolver`: the container's address at which
    vtapd answers the guest's DNS queries; None if it does not.
    """
    if address.mode == "none" or (address.mode == "dhcp" and not kind.takes_dhcp):
        return None
    if not address.takes_over:
        container = replace(container, endpoints=())  # Docker's gateway belongs to Docker's address
    interfaces = interfaces_of(cards, address)
    if address.address is not None:
        interfaces = interfaces[:1]
    network = network_of(interfaces, container, _names(root, container), dhcp=address.mode == "dhcp")
    return with_resolver(network, resolver) if resolver else network


def expect_network(
    root: int, container: Container, address: AddressPlan, kind: GuestKind, interfaces: Iterable[Interface]
) -> GuestNetwork | None:
    """Return the network that a guest on these interfaces would get, as far as it is known before it has cards."""
    needed = kind.ip_versions if address.takes_over else ()
    able = [each for each in interfaces if not needed or any(static_addresses(each, needed))]
    cards = [(each, each.mac) for each in able[: kind.most_cards]]
    return observe_network(root, container, address, kind, cards) if cards else None


def _names(root: int, container: Container) -> Names:
    asked = Names(container.dns, next(iter(container.dns_search), ""))
    own = parse_resolv(rootfs.read_text(root, _RESOLV_CONF))
    return names_of(asked, own, [parse_resolv(text) for text in resolv.read_resolv_confs()])
