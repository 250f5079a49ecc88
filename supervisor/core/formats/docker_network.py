"""Docker's JSON about a container's networks, converted into endpoints. (Docker Engine API v1.41 to v1.48)

The MAC that an interface has is in the same member in all versions of Docker, whether it was chosen by Docker or by
`--mac-address`: only where the latter is repeated differs.
"""

import ipaddress
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import msgspec

from supervisor.core.container import Container, ContainerId, Endpoint

GATEWAY_NETWORK = "docker_gwbridge"
"""The network by which a container reaches the world if its own networks have no gateway, as overlay networks do.

Docker connects it to this one by itself, and does not list that among the container's networks.
"""


class EndpointShape(msgspec.Struct, rename="pascal"):
    """One network of a container, as Docker describes it."""

    mac_address: str = ""
    ip_address: str = msgspec.field(name="IPAddress", default="")
    ip_prefix_len: int = msgspec.field(name="IPPrefixLen", default=0)
    gateway: str = ""
    global_ipv6_address: str = msgspec.field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = msgspec.field(name="GlobalIPv6PrefixLen", default=0)
    ipv6_gateway: str = msgspec.field(name="IPv6Gateway", default="")
    gw_priority: int = 0


class _Pool(msgspec.Struct, rename="pascal"):
    subnet: str = ""
    gateway: str = ""


class _Pools(msgspec.Struct, rename="pascal"):
    config: list[_Pool] | None = None


class _Attached(msgspec.Struct, rename="pascal"):
    mac_address: str = ""
    ipv4_address: str = msgspec.field(name="IPv4Address", default="")
    ipv6_address: str = msgspec.field(name="IPv6Address", default="")


class _Network(msgspec.Struct, rename="pascal"):
    containers: dict[str, _Attached] | None = None
    ipam: _Pools = msgspec.field(name="IPAM", default_factory=_Pools)


def parse_endpoint(network: str, data: EndpointShape) -> Endpoint:
    """Return a network with the addresses in it that are valid."""
    both = (
        (data.ip_address, data.ip_prefix_len, data.gateway),
        (data.global_ipv6_address, data.global_ipv6_prefix_len, data.ipv6_gateway),
    )
    return replace(_endpoint_of(network, data.mac_address, both), priority=data.gw_priority)


def _endpoint_of(network: str, mac: str, addresses: Iterable[tuple[str, int, str]]) -> Endpoint:
    return Endpoint(network, parse_mac(mac), tuple(found for each in addresses if (found := _address(*each))))


def _address(ip: str, prefix: int, gateway: str) -> tuple[str, int, str] | None:
    """Return them as the kernel writes them, or None if they are none."""
    try:
        found = ipaddress.ip_interface(f"{ip}/{prefix}")
        return str(found.ip), prefix, str(ipaddress.ip_address(gateway)) if gateway else ""
    except ValueError:
        return None


def parse_mac(text: str) -> str:
    """Return a MAC as the kernel writes it, from any form that Docker takes (Go: net.ParseMAC); empty if it is none."""
    digits = re.sub("[:.-]", "", text).lower()
    return ":".join(re.findall("..", digits)) if re.fullmatch("[0-9a-f]{12}", digits) else ""


def may_have_way_out(container: Container) -> bool:
    """Return whether Docker may have connected it to GATEWAY_NETWORK (moby: libnetwork/default_gateway.go)."""
    connected = [each for each in container.endpoints if each.has_interface]
    gateways = (ipaddress.ip_address(gw) for each in connected for _, _, gw in each.addresses if gw)
    return bool(connected) and not any(gateway.version == 4 for gateway in gateways)


def parse_way_out(answer: object, container_id: ContainerId) -> Endpoint | None:
    """Return a container's endpoint in GATEWAY_NETWORK, from Docker's answer about that network; None if it has none.

    Raises msgspec.ValidationError if the answer is not understood.
    """
    data = msgspec.convert(answer, _Network)
    found = (data.containers or {}).get(container_id)
    if found is None:
        return None
    both = (each.partition("/") for each in (found.ipv4_address, found.ipv6_address))
    addresses = [(ip, int(prefix), _gateway_of(ip, data.ipam)) for ip, _, prefix in both if prefix.isdecimal()]
    return _endpoint_of(GATEWAY_NETWORK, found.mac_address, addresses)


def _gateway_of(ip: str, pools: _Pools) -> str:
    for pool in pools.config or ():
        with suppress(ValueError):
            if ipaddress.ip_address(ip) in ipaddress.ip_network(pool.subnet):
                return pool.gateway
    return ""
