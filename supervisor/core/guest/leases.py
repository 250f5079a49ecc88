"""What a guest is given by DHCP on the private link: what its container had on this interface."""

import re

from supervisor.core.formats.dhcp import ANY, Lease
from supervisor.core.kinds.network import GuestNetwork

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


def lease_of(network: GuestNetwork, mac: str, server: str) -> Lease | None:
    """Return the lease for the card with this MAC; None if the guest has no IPv4 address there.

    `server`: the container's address on the private link.
    """
    nic = next((nic for nic in network.nics if nic.mac == mac), None)
    if nic is None or nic.ipv4 is None:
        return None
    return Lease(
        address=nic.ipv4.ip,
        prefix=nic.ipv4.prefix,
        server=server,
        mtu=nic.mtu,
        gateway=nic.gateway4,
        routes=tuple((r.destination, r.prefix, r.gateway or ANY) for r in nic.routes if r.family == 4),
        dns=tuple(each for each in network.dns if ":" not in each),
        domain=network.domain or network.search,
        hostname=network.hostname if _HOSTNAME.fullmatch(network.hostname) else "",
    )
