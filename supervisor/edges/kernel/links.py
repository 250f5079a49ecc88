"""The links of one network namespace: observed and changed by rtnetlink (man 7 rtnetlink)."""

import errno
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from supervisor.core.attach.actions import ClosePrivateLink, OpenPrivateLink, RemoveWakeFilter, SetWakeFilter
from supervisor.core.formats import rtnetlink_requests
from supervisor.core.formats.macvlan import IN_BRIDGE, PASSTHRU, name_of
from supervisor.core.formats.netlink import Request
from supervisor.core.formats.rtnetlink import Kind, parse_link
from supervisor.core.formats.rtnetlink_addresses import remove_address
from supervisor.core.links import Address, Hooks, IfIndex, Interface, Link, MacvlanMode, Route
from supervisor.edges.kernel import iproute, private_link, wake_filter
from supervisor.edges.kernel.iproute import BOTH, EACH
from supervisor.edges.kernel.netlink_socket import NetlinkSocket, translated
from supervisor.errors import ContainerGone, Permanent, Step, Transient

SIBLING = "vtapask"
"""A macvlan that health probes are sent from. It exists for the time of one probe."""
_HIGH_IFINDEX = range(1 << 20, 1 << 30)


class Network(NamedTuple):
    """What a namespace has."""

    interfaces: list[Interface]
    links: list[Link]
    other_ipv4: frozenset[str]
    """The IPv4 addresses that are on no such interface."""


class Links:
    """The links of one network namespace. Owns the rtnetlink socket that it was given.

    Every change waits for RTNL, the kernel's one lock for the network devices of the whole machine. So does `observe`.
    While many containers start, that takes tens of milliseconds.
    """

    def __init__(self, netlink: int) -> None:
        self._netlink = NetlinkSocket(netlink)

    def fileno(self) -> int:
        """Return the descriptor of its socket, which stays its own."""
        return self._netlink.fileno()

    def close(self) -> None:
        self._netlink.close()

    def observe(self, with_routes: bool, now_s: float) -> Network:
        """Return the Ethernet interfaces that are no macvtap, eth0 first, and all links.

        Lifetimes count from `now_s`, in seconds since boot. Links other than Ethernet, such as a VPN's tunnel, cannot
        have a macvtap: they are no interfaces here.
        """
        links = [parse_link(payload) for payload in self._netlink.dump(Kind.LINKS)]
        addresses = iproute.observe_addresses(self._netlink, BOTH, now_s)
        return self._network(links, addresses, BOTH if with_routes else (), now_s)

    def observe_new(self, with_routes: bool, show: Callable[[int, IfIndex], Link | None], now_s: float) -> Network:
        """Return the Ethernet interfaces that have addresses, without waiting for RTNL. There must be no macvtap yet.

        Their links are returned, too, as `show` has them: it returns a link by an ioctl on the socket that it is given.
        """
        addresses = iproute.observe_addresses(self._netlink, EACH, now_s)
        shown = [show(self.fileno(), index) for index in {index for index, _ in addresses}]
        links = [link for link in shown if link]
        return self._network(links, addresses, EACH if with_routes else (), now_s)

    def _network(
        self, links: list[Link], addresses: list[tuple[IfIndex, Address]], versions: Sequence[int], now_s: float
    ) -> Network:
        own = [link for link in links if link.ethernet and link.kind != "macvtap" and link.name != SIBLING]
        found = iproute.observe_interfaces(self._netlink, own, addresses, versions, now_s)
        indexes = {each.index for each in found}
        others = frozenset(each.ip for index, each in addresses if index not in indexes and each.family == 4)
        return Network(sorted(found, key=_name_order), links, others)

    def observe_hooks(self, index: IfIndex, tap: IfIndex | None) -> Hooks:
        """Return what is on the hooks of an interface and its tap."""
        return private_link.observe_hooks(self._netlink, index, tap)

    def observe_wake_filter(self, tap: IfIndex) -> str:
        """Return the name of vtapd's filter on the tap's ingress hook; empty without one."""
        return wake_filter.observe_wake_filter(self._netlink, tap)

    def set_wake_filter(self, step: SetWakeFilter) -> str:
        """Let only those packets reach a tap that wake its guest. Return the filter's name."""
        return wake_filter.set_wake_filter(self._netlink, step)

    def remove_wake_filter(self, step: RemoveWakeFilter) -> None:
        """Let all packets reach a tap again."""
        wake_filter.remove_wake_filter(self._netlink, step)

    def open_private_link(self, step: OpenPrivateLink) -> Hooks:
        """Make all parts of a private link that are missing, and return what is on the hooks afterwards."""
        return private_link.open_private_link(self._netlink, step)

    def close_private_link(self, step: ClosePrivateLink) -> None:
        """Remove all parts of a private link that are there."""
        private_link.close_private_link(self._netlink, step)

    def create_macvtap(self, name: str, parent: Interface, mac: str) -> None:
        """Create a macvtap with the parent's MTU. It is down, so it receives no packets yet.

        It has the mode of a parent that is a macvlan, else bridge mode. It lets all multicast through, for the guest's
        IPv6 neighbour discovery. Raises Permanent if the parent is a macvlan in passthru mode.
        """
        create = partial(rtnetlink_requests.create_macvlan, "macvtap", name, parent.index, parent.mtu, mac=mac)
        # In one piece with the question about the parent: each request may wait for RTNL.
        show = rtnetlink_requests.show_link(parent.index)
        with translated(Step.MACVTAP, f"create {name} on {parent.name}"):
            try:
                shown = self._netlink.request(show, create())
            except FileExistsError:
                # Before Linux 6.1 macvtap refuses an ifindex that a macvtap of another namespace has.
                index = random.choice(_HIGH_IFINDEX)  # noqa: S311  # any free number will do
                shown = self._netlink.request(show, create(index=index))
            except OSError as error:
                self._refuse_passthru(name, parent, error)
                raise
            mode = parse_link(shown).mode if shown else None
            if mode is not None and mode != IN_BRIDGE:
                self._set_mode(name, mode)

    def _set_mode(self, name: str, mode: MacvlanMode) -> None:
        """Set the mode of the macvtap that was just created, or delete it."""
        try:
            self._netlink.request(rtnetlink_requests.set_mode(name, mode))
        except OSError:
            self._netlink.request(rtnetlink_requests.delete_link(name), forgiven=(errno.ENODEV,))
            raise

    def _refuse_passthru(self, name: str, parent: Interface, error: OSError) -> None:
        """Raise Permanent if that is why the kernel refused a macvtap on this interface."""
        mode = self._mode_of(parent)
        if mode is not None and mode.number == PASSTHRU:
            said = f"cannot create {name} on {parent.name}: {parent.name} is a macvlan in passthru mode, which shares"
            remedy = "use a macvlan network in bridge, private or vepa mode, or set vtapd.enable=false"
            raise Permanent(f"{said} its parent with no other link", step=Step.MACVTAP, remedy=remedy) from error

    def _mode_of(self, interface: Interface) -> MacvlanMode | None:
        shown = self._netlink.request(rtnetlink_requests.show_link(interface.index))
        return parse_link(shown).mode if shown else None

    def create_sibling(self, parent: Interface, mac: str) -> Link:
        """Create a macvlan in bridge mode on this interface, up and without an address, or find the one there is.

        Raises Transient if the container has another link of that name: one without this MAC.
        """
        with translated(Step.HEALTH, f"create {SIBLING}"):
            mode = self._mode_of(parent) or IN_BRIDGE
            if mode != IN_BRIDGE:
                said = f"{parent.name} is a macvlan in {name_of(mode)} mode: no other link in its container reaches it"
                raise Transient(said, step=Step.HEALTH, remedy="probe it from the host, or set vtapd.ready=console:…")
            with suppress(FileExistsError):
                create = rtnetlink_requests.create_macvlan("macvlan", SIBLING, parent.index, parent.mtu, mac=mac)
                self._netlink.request(create)
            found = self._netlink.request(rtnetlink_requests.show_link(SIBLING))
            if found is not None and not _is_sibling(parse_link(found), mac):
                said = f"the container has a link {SIBLING} of its own"
                raise Transient(said, step=Step.HEALTH, remedy="rename or delete it")
            shown = self._raise(SIBLING, parent.mtu, rtnetlink_requests.show_link(SIBLING))
        if shown is None:
            raise ContainerGone(f"the link {SIBLING} was deleted as soon as it was created", step=Step.HEALTH)
        return parse_link(shown)

    def delete_sibling(self, mac: str) -> None:
        """Delete the macvlan of `create_sibling`, if it is there."""
        with translated(Step.HEALTH, f"find {SIBLING}"):
            shown = self._netlink.request(rtnetlink_requests.show_link(SIBLING), forgiven=(errno.ENODEV,))
        if shown is not None and _is_sibling(link := parse_link(shown), mac):
            self.delete_link(link.index)

    def raise_link(self, index: IfIndex, mtu: int) -> None:
        """Give a macvtap this MTU and bring it up."""
        with translated(Step.MACVTAP, f"bring link {index} up"):
            self._raise(index, mtu)

    def _raise(self, link: str | IfIndex, mtu: int, *more: Request) -> bytes | None:
        """Bring a link up without an IPv6 address, send `more` with it, and return the link that this shows."""
        raised = rtnetlink_requests.forgo_ipv6(link), rtnetlink_requests.raise_link(link, mtu)
        # EAFNOSUPPORT is what a kernel or a link without IPv6 answers.
        return self._netlink.request(*raised, *more, forgiven=(errno.EAFNOSUPPORT,))

    def reach(self, index: IfIndex, gateways: Iterable[str]) -> None:
        """Add a route to each of these gateways on a link without an address, if the kernel takes it."""
        for gateway in gateways:
            with suppress(OSError):  # no more is lost than that Docker cannot move its default route here
                iproute.reach(self._netlink, index, gateway)

    def remove_reached(self, index: IfIndex) -> None:
        """Remove the routes that `reach` has added."""
        self.remove_routes(index, iproute.observe_reached(self._netlink, index))

    def remove_routes(self, index: IfIndex, routes: Iterable[Route]) -> None:
        """Remove the link's routes that are there."""
        with translated(Step.TAKEOVER, f"remove the default route of link {index}", errno.ENODEV):
            iproute.remove_routes(self._netlink, index, routes)

    def restore_addresses(self, index: IfIndex, original: Interface, now_s: float) -> None:
        """Add the addresses that the link lacks. Lifetimes are counted from `now_s`, in seconds since boot."""
        iproute.restore_addresses(self._netlink, index, original, now_s)

    def restore_routes(self, index: IfIndex, original: Interface, later: Collection[Route], now_s: float) -> None:
        """Add the routes that are not there. `later`: those that need another interface, which is still taken over."""
        iproute.restore_routes(self._netlink, index, original, later, now_s)

    def restore_neighbours(self, index: IfIndex, original: Interface) -> None:
        """Add the entries that the kernel did not learn."""
        iproute.restore_neighbours(self._netlink, index, original)

    def delete_link(self, index: IfIndex) -> None:
        """Delete a link; do nothing if it is gone. Takes 15 to 20 ms (RCU)."""
        with translated(Step.MACVTAP, f"delete link {index}", errno.ENODEV):
            self._netlink.request(rtnetlink_requests.delete_link(index))

    def set_mac(self, index: IfIndex, mac: str) -> None:
        """Change a link's MAC, also while it is up."""
        with translated(Step.TAKEOVER, f"set the MAC of link {index} to {mac}"):
            self._netlink.request(rtnetlink_requests.set_mac(index, mac))

    def require_settable_mac(self, index: IfIndex, interface: Interface) -> None:
        """Raise the error that `set_mac` would raise on this interface, which has this MAC now. Nothing is changed.

        The kernel asks the driver only after it has found that it can set a MAC (net/core/dev.c, dev_set_mac_address).
        """
        try:
            self._netlink.request(rtnetlink_requests.set_mac(index, interface.mac))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                with translated(Step.TAKEOVER, f"set the MAC of {interface.name}"):
                    raise
            remedy = "set vtapd.address=A.B.C.D/P, dhcp or none, or use a bridge or macvlan network"
            raise Permanent(
                f"the MAC of {interface.name} cannot be changed, so no guest can have its address: {error.strerror}",
                step=Step.TAKEOVER,
                remedy=remedy,
            ) from error

    def remove_address(self, index: IfIndex, address: Address) -> None:
        """Remove an address, and its routes with it; do nothing if it is gone."""
        with translated(Step.TAKEOVER, f"remove {address} from link {index}", errno.ENODEV, errno.EADDRNOTAVAIL):
            self._netlink.request(remove_address(index, address))


def _is_sibling(link: Link, mac: str) -> bool:
    return (link.name, link.kind, link.mac) == (SIBLING, "macvlan", mac)


def _name_order(interface: Interface) -> tuple[bool, int, str]:
    return not interface.name.startswith("eth"), len(interface.name), interface.name
