"""A container's links, addresses and routes by rtnetlink. The one module that knows pyroute2.

pyroute2 is untyped and forgiving: a misspelt keyword is ignored (`macvtap_mod=` silently makes a vepa device). So each
message is written once, here, and tests/integration looks at what the kernel made of it.
"""

import errno
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from supervisor.core.model import Address, IfIndex, Interface, Route
from supervisor.errors import ContainerGone, Permanent, Transient, VtapdError

_IFF_UP, _IFF_ALLMULTI = 0x1, 0x200  # linux/if.h
_RTEXT_FILTER_SKIP_STATS = 8  # linux/rtnetlink.h
_RT_TABLE_LOCAL, _RTPROT_KERNEL = 255, 2
_IFA_F_NODAD = 0x02  # linux/if_addr.h: an address that comes back was checked for duplicates before
_IN6_ADDR_GEN_MODE_NONE = 1  # linux/if_link.h
_NO_HOST_SIDE_IPV6 = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _IN6_ADDR_GEN_MODE_NONE)]})]}
_FAMILY = {2: 4, 10: 6}
_AF = {4: 2, 6: 10}
_HIGH_IFINDEX = range(1 << 20, 1 << 30)


class Link:
    """One link as a dump shows it."""

    __slots__ = ("index", "kind", "mac", "mtu", "name", "parent", "up")

    def __init__(self, message: Any) -> None:
        self.index = IfIndex(message["index"])
        self.name: str = message.get("ifname") or ""
        self.mac: str = message.get("address") or ""
        self.mtu: int = message.get("mtu") or 0
        self.up = bool(message["flags"] & _IFF_UP)
        self.parent = message.get("link")
        info = message.get("linkinfo")
        self.kind: str = (info.get("kind") if info else None) or ""


class Links:
    """The links of one network namespace. Owns the socket that it was given."""

    def __init__(self, netlink: int) -> None:
        self._route = AsyncIPRoute(fileno=netlink, ext_ack=True)

    def close(self) -> None:
        self._route.close()

    async def observe(self, with_routes: bool) -> tuple[list[Interface], list[Link]]:
        """The interfaces that are no loopback and no macvtap, in the order of their names; and the macvtaps."""
        async with _translated("observe"):
            links = [Link(m) async for m in await self._route.get_links(ext_mask=_RTEXT_FILTER_SKIP_STATS)]
            addresses = [m async for m in await self._route.get_addr()]
            routes = [m async for m in await self._route.get_routes()] if with_routes else []
        interfaces = [
            Interface(
                link.name,
                link.index,
                link.mac,
                link.mtu,
                tuple(_address(m) for m in addresses if m["index"] == link.index),
                tuple(_route(m) for m in routes if m.get("oif") == link.index and _is_restorable(m)),
            )
            for link in links
            if link.kind != "macvtap" and link.name != "lo"
        ]
        return sorted(interfaces, key=_name_order), [link for link in links if link.kind == "macvtap"]

    async def create_macvtap(self, name: str, parent: Interface) -> Link:
        """Make a macvtap in bridge mode with the parent's MTU, up, and return it as the kernel shows it.

        All multicast is let through, for the guest's IPv6 neighbour discovery.
        """
        wants_ipv6 = any(address.family == 6 for address in parent.addresses)
        flags = _IFF_ALLMULTI if wants_ipv6 else _IFF_ALLMULTI | _IFF_UP
        request = {
            "ifname": name,
            "kind": "macvtap",
            "macvtap_mode": "bridge",
            "link": parent.index,
            "mtu": parent.mtu,
            "flags": flags,
            "change": flags,
        }
        async with _translated("macvtap", f"create {name} on {parent.name}"):
            try:
                await self._route.link("add", **request)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                # Before Linux 6.1 macvtap refuses an ifindex that it has seen in another namespace.
                await self._route.link("add", index=random.choice(_HIGH_IFINDEX), **request)  # noqa: S311  # no secret
            if wants_ipv6:
                # The host's side of the tap must have no address of its own; the kernel takes this for no new link.
                await self._route.link("set", ifname=name, IFLA_AF_SPEC=_NO_HOST_SIDE_IPV6)
                await self._route.link("set", ifname=name, state="up")
            return Link((await self._route.link("get", ifname=name, ext_mask=_RTEXT_FILTER_SKIP_STATS))[0])

    async def delete_link(self, index: IfIndex) -> None:
        """Delete a link; nothing when it is gone. Takes 15 to 20 ms (RCU)."""
        async with _translated("macvtap", f"delete link {index}"), _missing_is_fine():
            await self._route.link("del", index=index)

    async def set_mac(self, index: IfIndex, mac: str) -> None:
        """Change a link's MAC while it is up."""
        async with _translated("takeover", f"set the MAC of link {index} to {mac}"):
            await self._route.link("set", index=index, address=mac)

    async def remove_address(self, index: IfIndex, address: Address) -> None:
        """Remove an address, and with it its routes; nothing when it is gone."""
        async with _translated("takeover", f"remove {address} from link {index}"), _missing_is_fine():
            await self._route.addr("del", index=index, address=address.ip, prefixlen=address.prefix)

    async def add_address(self, index: IfIndex, address: Address) -> None:
        """Add an address; nothing when it is there."""
        extra: dict[str, Any] = {"broadcast": address.broadcast} if address.broadcast else {}
        if address.family == 6:
            extra["flags"] = _IFA_F_NODAD
        async with _translated("takeover", f"add {address} to link {index}"), _existing_is_fine():
            await self._route.addr(
                "add",
                index=index,
                family=_AF[address.family],
                address=address.ip,
                prefixlen=address.prefix,
                scope=address.scope,
                **extra,
            )

    async def add_route(self, index: IfIndex, route: Route) -> None:
        """Add a route through this link; nothing when it is there."""
        optional = {"gateway": route.gateway, "prefsrc": route.source, "priority": route.metric}
        async with _translated("takeover", f"add route {route.destination or 'default'}"), _existing_is_fine():
            await self._route.route(
                "add",
                family=_AF[route.family],
                dst=f"{route.destination}/{route.prefix}" if route.destination else "default",
                oif=index,
                table=route.table,
                proto=route.protocol,
                scope=route.scope,
                type=route.type,
                flags=route.flags,
                **{name: value for name, value in optional.items() if value is not None},
            )


def _name_order(interface: Interface) -> tuple[int, str]:
    return len(interface.name), interface.name


def _address(message: Any) -> Address:
    # IFA_LOCAL is the address itself; IFA_ADDRESS the peer's on a point-to-point link (linux/if_addr.h).
    ip = message.get("local") or message.get("address")
    return Address(_FAMILY[message["family"]], ip, message["prefixlen"], message.get("broadcast"), message["scope"])


def _route(message: Any) -> Route:
    return Route(
        _FAMILY[message["family"]],
        message.get("dst") or "",
        message["dst_len"],
        message.get("gateway"),
        message.get("prefsrc"),
        message.get("priority"),
        message.get("table") or message["table"],
        message["proto"],
        message["scope"],
        message["type"],
        message["flags"] & 0x4,  # RTNH_F_ONLINK; the others are the kernel's to set (linux/rtnetlink.h)
    )


def _is_restorable(message: Any) -> bool:
    """Routes that the kernel makes with an address come back with it."""
    return (
        message["family"] in _FAMILY
        and message["proto"] != _RTPROT_KERNEL
        and (message.get("table") or message["table"]) != _RT_TABLE_LOCAL
        and not message["flags"] & 0x200  # RTM_F_CLONED: a cache entry
    )


@asynccontextmanager
async def _translated(step: str, what: str = "read the links") -> AsyncIterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise _translate(error, step, what) from error
    except OSError as error:
        raise Transient(f"cannot {what}: {error.strerror}", step=step) from error


def _translate(error: NetlinkError, step: str, what: str) -> VtapdError:
    said = f"cannot {what}: {errno.errorcode.get(error.code, error.code)}"
    match error.code:
        case errno.EPERM | errno.EACCES:
            return Permanent(said, step=step, remedy="vtapd needs CAP_NET_ADMIN: run it as root")
        case errno.EOPNOTSUPP:
            return Permanent(said, step=step, remedy="the kernel lacks macvtap: modprobe macvtap")
        case errno.ENODEV:
            return ContainerGone(said, step=step)
        case _:
            return Transient(said, step=step)


@asynccontextmanager
async def _missing_is_fine() -> AsyncIterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH):
            raise


@asynccontextmanager
async def _existing_is_fine() -> AsyncIterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
