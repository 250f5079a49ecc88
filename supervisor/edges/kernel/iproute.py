"""Addresses, routes and veth pairs, added by pyroute2. The only module that uses it.

These are added rarely, have many attributes, and no attach waits for them. pyroute2 is untyped, and ignores a keyword
that it does not know, so each message is written once, here, and tests/integration checks what the kernel made of it.

It is imported when it is first needed: it takes a seventh of the daemon's memory, and of the time to import the daemon.
"""

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from supervisor.core.attach.lifetimes import FOREVER_S, Lifetime
from supervisor.core.formats.rtnetlink import ADDRESS_FAMILIES
from supervisor.core.model import Address, IfIndex, Route
from supervisor.edges.kernel.netlink_socket import translated
from supervisor.errors import Step, Transient

_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200  # linux/if_addr.h
_U32 = struct.Struct("=I")


class IpRoute:
    """pyroute2 on the rtnetlink socket that it was given, which it owns.

    Keep none open: each takes a descriptor and 25 KiB of memory, and there are hundreds of containers.
    """

    def __init__(self, netlink: int) -> None:
        """Raises Transient, and closes the socket, if pyroute2 cannot be imported."""
        try:
            from pyroute2 import AsyncIPRoute
        except ImportError as error:  # a package is replacing its files; the next daemon has them
            os.close(netlink)
            raise Transient(f"cannot import pyroute2: {error}", step=Step.TAKEOVER) from error
        self._pyroute = AsyncIPRoute(fileno=netlink, ext_ack=True)

    def close(self) -> None:
        self._pyroute.close()

    async def create_pair(self, name: str, peer: str) -> None:
        """Create a veth and its other end, both in this namespace."""
        with _translated(Step.VETH, f"create {name}"):
            await self._pyroute.link("add", ifname=name, kind="veth", peer={"ifname": peer})

    async def add_address(self, index: IfIndex, address: Address, lifetime: Lifetime) -> None:
        """Add an address; do nothing if the link has it.

        An IPv6 address is not checked for duplicates again: it was checked before it was taken away.
        """
        flags = address.flags & _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if address.family == 6 else 0)
        optional = {"broadcast": address.broadcast, "flags": flags}
        with _translated(Step.TAKEOVER, f"add {address} to link {index}"):
            await self._pyroute.addr(
                "add",
                index=index,
                family=ADDRESS_FAMILIES[address.family],
                address=address.ip,
                prefixlen=address.prefix,
                scope=address.scope,
                preferred_lft=lifetime.preferred_s,
                valid_lft=lifetime.valid_s,
                **{name: value for name, value in optional.items() if value},
            )

    async def add_route(self, index: IfIndex, route: Route, lifetime: Lifetime) -> None:
        """Add a route through this link; do nothing if it is there."""
        optional: dict[str, Any] = {"gateway": route.gateway, "prefsrc": route.source, "priority": route.metric}
        if lifetime.valid_s != FOREVER_S:
            optional["expires"] = _U32.pack(lifetime.valid_s)  # RTA_EXPIRES, for which pyroute2 has no type
        with _translated(Step.TAKEOVER, f"add route {route.destination or 'default'}"):
            await self._pyroute.route(
                "add",
                family=ADDRESS_FAMILIES[route.family],
                dst=f"{route.destination}/{route.prefix}" if route.destination else "default",
                oif=index,
                table=route.table,
                proto=route.protocol,
                scope=route.scope,
                type=route.type,
                flags=route.flags,
                **{name: value for name, value in optional.items() if value is not None},
            )


@contextmanager
def _translated(step: Step, what: str) -> Iterator[None]:
    from pyroute2.netlink.exceptions import NetlinkError

    with translated(step, what, errno.EEXIST):
        try:
            yield
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from error
