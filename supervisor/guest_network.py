"""Gathers what a guest is told of its network: from the kernel, Docker, the container's resolv.conf and the host's."""

from supervisor.core.actions import Uplink
from supervisor.core.addressing import interfaces_of, network_of
from supervisor.core.guests.kind import GuestKind
from supervisor.core.guests.network import GuestNetwork
from supervisor.core.model import Container
from supervisor.core.names import Names, names_of, parse_resolv
from supervisor.core.spec import AddressPlan
from supervisor.edges import resolv, rootfs

_RESOLV_CONF = "/etc/resolv.conf"


def observe_network(
    root: int, container: Container, address: AddressPlan, kind: GuestKind, uplinks: tuple[Uplink, ...]
) -> GuestNetwork | None:
    """For a guest with cards on these; None where it is to care for its addresses without being told so."""
    if address.mode == "none" or (address.mode == "dhcp" and not kind.says_dhcp):
        return None
    interfaces = interfaces_of(uplinks, address)
    if address.address is not None:
        interfaces = interfaces[:1]
    return network_of(interfaces, container, _names(root, container), dhcp=address.mode == "dhcp")


def _names(root: int, container: Container) -> Names:
    asked = Names(container.dns, next(iter(container.dns_search), ""))
    own = parse_resolv(rootfs.read_text(root, _RESOLV_CONF))
    return names_of(asked, own, [parse_resolv(text) for text in resolv.read_resolv_confs()])
