"""A container's links, addresses and routes by rtnetlink. The one module that knows pyroute2.

pyroute2 is untyped and forgiving: a misspelt keyword is ignored (`macvtap_mod=` silently makes a vepa device). So each
message is written once, here, and tests/integration looks at what the kernel made of it.
"""

import errno
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from supervisor.core.attach.lifetimes import FOREVER_S, Lifetime
from supervisor.core.attach.macvtap_parent import interface_of
from supervisor.core.formats import rtnetlink
from supervisor.core.formats.rtnetlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    Kind,
    dump_request,
    ip_version,
    messages,
    parse_address,
    parse_error,
    parse_link,
    parse_route,
)
from supervisor.core.model import Address, IfIndex, Interface, Link, Route
from supervisor.errors import ContainerGone, Permanent, Step, Transient, VtapdError

_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200  # linux/if_addr.h
_AF = {4: 2, 6: 10}
_U32 = struct.Struct("=I")
_ANSWER_S = 5.0
_DUMP_BYTES = 1 << 17  # the kernel sends no larger piece of a dump
_DUMP_TRIES = 5
_BOTH, _EACH = (0,), (4, 6)
"""Versions of IP to dump: in one go, which waits for RTNL; or one by one, which does not since Linux 6.9."""
SIBLING = "vtapask"
"""A macvlan that guests are asked from, for as long as a question takes."""
_HIGH_IFINDEX = range(1 << 20, 1 << 30)


class Links:
    """The links of one network namespace. Owns the two rtnetlink sockets that it was given.

    What is no coroutine is carried out within the call. All changes wait for the one lock that the kernel has for the
    network devices of the whole machine (RTNL), and so does a look at macvtaps: while many containers start, tens of
    milliseconds.
    """

    def __init__(self, netlink: int, spare: int) -> None:
        self._socket = socket.socket(fileno=netlink)
        self._socket.settimeout(_ANSWER_S)
        self._spare = spare
        """pyroute2's."""
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()
        os.close(self._spare)

    def observe(self, with_routes: bool, owners: Mapping[str, str], now_s: float) -> tuple[list[Interface], list[Link]]:
        """The Ethernet interfaces that are no macvtap, eth0 and its like first; and the macvtaps, each with the
        interface that it was made on as its parent. `owners`: by macvtap the interface that it is on record for.
        `now_s`: seconds since boot, from which lifetimes count.

        A macvtap stands on nothing but Ethernet: a tunnel of a VPN in the container is none of our business.

        The kernel answers a dump within the call.
        """
        links = [parse_link(payload) for payload in self._dump(Kind.LINKS)]
        macvtaps = [replace(m, parent=interface_of(m, links, owners)) for m in links if m.kind == "macvtap"]
        versions = _BOTH if with_routes else ()
        return self._interfaces(links, self._addresses(_BOTH, now_s), versions, now_s), macvtaps

    def observe_new(
        self, with_routes: bool, show: Callable[[int, IfIndex], Link | None], now_s: float
    ) -> list[Interface]:
        """The Ethernet interfaces with addresses, where there is no macvtap: the same without RTNL.

        `show` tells of a link, by an ioctl on the socket that it is given; it is another edge's.
        """
        addresses = self._addresses(_EACH, now_s)
        links = [show(self._socket.fileno(), index) for index in {index for index, _ in addresses}]
        versions = _EACH if with_routes else ()
        return self._interfaces([link for link in links if link], addresses, versions, now_s)

    def _addresses(self, versions: Sequence[int], now_s: float) -> list[tuple[IfIndex, Address]]:
        payloads = self._dump_all(Kind.ADDRESSES, versions)
        return [found for payload in payloads if (found := parse_address(payload, now_s))]

    def _interfaces(
        self,
        links: list[Link],
        addresses: list[tuple[IfIndex, Address]],
        versions_of_routes: Sequence[int],
        now_s: float,
    ) -> list[Interface]:
        payloads = self._dump_all(Kind.ROUTES, versions_of_routes)
        routes = [found for payload in payloads if (found := parse_route(payload, now_s))]
        interfaces = [
            Interface(
                link.name,
                link.index,
                link.mac,
                link.mtu,
                tuple(address for index, address in addresses if index == link.index),
                tuple(route for index, route in routes if index == link.index),
            )
            for link in links
            if link.ethernet and link.kind != "macvtap" and link.name != SIBLING
        ]
        return sorted(interfaces, key=_name_order)

    def _dump_all(self, kind: Kind, versions: Sequence[int]) -> list[bytes]:
        """Asked for a version of IP that it lacks, the kernel shows the other."""
        found = [(version, payload) for version in versions for payload in self._dump(kind, version)]
        return [payload for version, payload in found if version in (0, ip_version(payload))]

    def _dump(self, kind: Kind, version: int = 0) -> list[bytes]:
        for _ in range(_DUMP_TRIES):
            try:
                whole, payloads = self._dump_once(kind, version)
            except OSError as error:
                raise Transient(
                    f"cannot read the {kind.name.lower()}: {error.strerror or error}", step=Step.OBSERVE
                ) from error
            if whole:
                return payloads
        raise Transient(f"the {kind.name.lower()} change faster than they can be read", step=Step.OBSERVE)

    def _dump_once(self, kind: Kind, version: int) -> tuple[bool, list[bytes]]:
        """Whether the tables stayed the same meanwhile, and the messages."""
        self._sequence += 1
        self._socket.send(dump_request(kind, version, self._sequence))
        whole = True
        payloads: list[bytes] = []
        while True:
            for found, flags, sequence, payload in messages(self._socket.recv(_DUMP_BYTES)):
                if sequence != self._sequence:
                    continue  # of a dump that was given up
                whole = whole and not flags & NLM_F_DUMP_INTR
                if found in (NLMSG_DONE, NLMSG_ERROR):
                    if code := parse_error(payload):
                        raise OSError(code, os.strerror(code))
                    return whole, payloads
                payloads.append(payload)

    def create_macvtap(self, name: str, parent: Interface, mac: str) -> None:
        """Make a macvtap in bridge mode with the parent's MTU. It is down: no process gets anything from it yet.

        All multicast is let through, for the guest's IPv6 neighbour discovery.
        """
        create = partial(rtnetlink.create_macvlan, "macvtap", name, parent.index, parent.mtu, mac=mac)
        with _translated(Step.MACVTAP, f"create {name} on {parent.name}"):
            try:
                self.request(create())
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                # Before Linux 6.1 macvtap refuses an ifindex that it has seen in another namespace.
                self.request(create(index=random.choice(_HIGH_IFINDEX)))  # noqa: S311  # any free number will do

    def create_sibling(self, parent: Interface) -> Link:
        """Make a macvlan in bridge mode beside the macvtap of this interface, up and with no address; or find it."""
        with _translated(Step.HEALTH, f"create {SIBLING}"):
            with _forgiven(errno.EEXIST):
                self.request(rtnetlink.create_macvlan("macvlan", SIBLING, parent.index, parent.mtu))
            shown = self._raise(SIBLING, parent.mtu, rtnetlink.show_link(SIBLING))
        if shown is None:
            raise ContainerGone(f"the link {SIBLING} went as soon as it was made", step=Step.HEALTH)
        return parse_link(shown)

    def delete_sibling(self) -> None:
        """Nothing when it is not there."""
        found = self._find(SIBLING)
        if found is not None:
            self.delete_link(found.index)

    def _find(self, name: str) -> Link | None:
        links = (parse_link(payload) for payload in self._dump(Kind.LINKS))
        return next((link for link in links if link.name == name), None)

    def raise_link(self, index: IfIndex, mtu: int) -> None:
        """Give a macvtap this MTU and bring it up."""
        with _translated(Step.MACVTAP, f"bring link {index} up"):
            self._raise(index, mtu)

    def _raise(self, link: str | IfIndex, mtu: int, *more: rtnetlink.Request) -> bytes | None:
        """Up, after which the kernel is asked `more`; its answer. The host's side of a tap has no IPv6 address."""
        raised = rtnetlink.forgo_ipv6(link), rtnetlink.raise_link(link, mtu)
        return self.request(*raised, *more, forgiven=errno.EAFNOSUPPORT)

    def request(self, *requests: rtnetlink.Request, forgiven: int = 0) -> bytes | None:
        """Send them as one piece, which the kernel carries out and answers within the call; the link that it shows.

        Raises the NetlinkError of the first that failed, but for `forgiven`: what a link or kernel without IPv6 says.
        """
        awaited = range(self._sequence + 1, self._sequence + 1 + len(requests))
        self._sequence += len(requests)
        self._socket.send(rtnetlink.pack(requests, awaited[0]))
        shown, failures = None, []
        answered: set[int] = set()
        while len(answered) < len(awaited):
            for kind, _, sequence, payload in messages(self._socket.recv(_DUMP_BYTES)):
                if sequence not in awaited:
                    continue  # of what was given up
                answered.add(sequence)
                if kind != NLMSG_ERROR:
                    shown = payload
                elif (code := parse_error(payload)) not in (0, forgiven):
                    failures.append(code)
        if failures:
            raise NetlinkError(failures[0])
        return shown

    def delete_link(self, index: IfIndex) -> None:
        """Delete a link; nothing when it is gone. Takes 15 to 20 ms (RCU)."""
        with _translated(Step.MACVTAP, f"delete link {index}"), _forgiven(errno.ENODEV):
            self.request(rtnetlink.delete_link(index))

    def set_mac(self, index: IfIndex, mac: str) -> None:
        """Change a link's MAC, also while it is up."""
        with _translated(Step.TAKEOVER, f"set the MAC of link {index} to {mac}"):
            self.request(rtnetlink.set_mac(index, mac))

    def remove_address(self, index: IfIndex, address: Address) -> None:
        """Remove an address, and with it its routes; nothing when it is gone."""
        gone = errno.ENODEV, errno.EADDRNOTAVAIL
        with _translated(Step.TAKEOVER, f"remove {address} from link {index}"), _forgiven(*gone):
            self.request(rtnetlink.remove_address(index, address))

    async def create_pair(self, name: str, peer: str) -> None:
        """Make a veth and its other end, both in this namespace."""
        with _translated(Step.VETH, f"create {name}"):
            async with self._pyroute() as pyroute:
                await pyroute.link("add", ifname=name, kind="veth", peer={"ifname": peer})

    async def add_address(self, index: IfIndex, address: Address, lifetime: Lifetime) -> None:
        """Add an address; nothing when it is there.

        One of IPv6 is not checked for duplicates: it was, before it was taken away.
        """
        flags = address.flags & _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if address.family == 6 else 0)
        optional = {"broadcast": address.broadcast, "flags": flags}
        with _translated(Step.TAKEOVER, f"add {address} to link {index}"), _forgiven(errno.EEXIST):
            async with self._pyroute() as pyroute:
                await pyroute.addr(
                    "add",
                    index=index,
                    family=_AF[address.family],
                    address=address.ip,
                    prefixlen=address.prefix,
                    scope=address.scope,
                    preferred_lft=lifetime.preferred_s,
                    valid_lft=lifetime.valid_s,
                    **{name: value for name, value in optional.items() if value},
                )

    async def add_route(self, index: IfIndex, route: Route, lifetime: Lifetime) -> None:
        """Add a route through this link; nothing when it is there."""
        optional: dict[str, Any] = {"gateway": route.gateway, "prefsrc": route.source, "priority": route.metric}
        if lifetime.valid_s != FOREVER_S:
            optional["expires"] = _U32.pack(lifetime.valid_s)  # RTA_EXPIRES, of which pyroute2 knows no type
        with _translated(Step.TAKEOVER, f"add route {route.destination or 'default'}"), _forgiven(errno.EEXIST):
            async with self._pyroute() as pyroute:
                await pyroute.route(
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

    @asynccontextmanager
    async def _pyroute(self) -> AsyncIterator[AsyncIPRoute]:
        """For what is seldom done and has many attributes. None is kept: they take 25 KiB, and there are hundreds."""
        pyroute = AsyncIPRoute(fileno=os.dup(self._spare), ext_ack=True)
        try:
            yield pyroute
        finally:
            pyroute.close()


def _name_order(interface: Interface) -> tuple[bool, int, str]:
    return not interface.name.startswith("eth"), len(interface.name), interface.name


@contextmanager
def _translated(step: Step, what: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise _translate(error, step, what) from error
    except OSError as error:
        raise Transient(f"cannot {what}: {error.strerror}", step=step) from error


def _translate(error: NetlinkError, step: Step, what: str) -> VtapdError:
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


@contextmanager
def _forgiven(*codes: int) -> Iterator[None]:
    """What the kernel says where there is nothing to do."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise
