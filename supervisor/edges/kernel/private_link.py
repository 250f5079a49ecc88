"""The private link between a guest and its container: its programs, its hooks, and the container's side of it.

`core.devices.link_program` says what the programs do.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from supervisor.core.attach.actions import ClosePrivateLink, OpenPrivateLink
from supervisor.core.attach.lifetimes import Lifetime
from supervisor.core.attach.private_link import LINK_PROTOCOL, expected_ways
from supervisor.core.devices.link_program import LinkEnds, build_guard_program, build_link_program, label_of
from supervisor.core.formats import rtnetlink_filters as filters
from supervisor.core.formats.netlink import Request
from supervisor.core.formats.rtnetlink_addresses import add_address, remove_address
from supervisor.core.formats.rtnetlink_filters import EGRESS, INGRESS
from supervisor.core.formats.rtnetlink_neighbours import remove_neighbour, set_permanent
from supervisor.core.formats.rtnetlink_routes import remove_route, replace_route
from supervisor.core.links import Address, GuestWay, Hooks, IfIndex, Route
from supervisor.edges.kernel.netlink_socket import NetlinkSocket
from supervisor.errors import ContainerGone, Permanent, Step, Transient, VtapdError
from supervisor.linux import bpf_calls

_PROG_TYPE_SCHED_CLS = 3  # linux/bpf.h
_LOOPBACK = IfIndex(1)  # include/net/net_namespace.h: LOOPBACK_IFINDEX
_SCOPE_LINK, _SCOPE_HOST = 253, 254  # linux/rtnetlink.h
_GONE = (errno.ENOENT, errno.EINVAL, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV)
"""What the kernel answers if what is to be removed is not there."""
_LACKING = (errno.EOPNOTSUPP, errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOSYS)


def observe_hooks(netlink: NetlinkSocket, index: IfIndex, tap: IfIndex | None) -> Hooks:
    """Return what is on the hooks of an interface and its tap."""
    hooked = set(map(filters.parse_clsact, netlink.dump_by(filters.show_qdiscs(), "qdiscs")))
    questions = [filters.show_filter(index, hook) for hook in (EGRESS, INGRESS)]
    if tap is not None:
        questions.append(filters.show_filter(tap, EGRESS))
    own, guard, of_tap = (*netlink.ask(*questions), None)[:3]
    has_tap_hooks = tap is not None and tap in hooked
    return Hooks(index in hooked, _name_of(own), _name_of(guard), has_tap_hooks, _name_of(of_tap))


def _name_of(payload: bytes | None) -> str:
    return "" if payload is None else filters.parse_filter_name(payload)


def open_private_link(netlink: NetlinkSocket, step: OpenPrivateLink) -> Hooks:
    """Make all parts of the link that are missing, and return what is on the hooks afterwards."""
    index, tap = step.interface.index, step.tap.index
    programs = (
        build_link_program(LinkEnds(step.address, index, step.interface.mac, tap)),
        build_guard_program(step.address),
    )
    label, guard = map(label_of, programs)
    # The tap's hooks come first: until there are filters, they show that the interface's are vtapd's.
    lacking = [link for link, has in ((tap, step.hooks.tap_clsact), (index, step.hooks.clsact)) if not has]
    with _translated(f"open a private link on {step.interface.name}"), ExitStack() as owned:
        # On a link with another program's qdisc `ingress`, this fails, and a filter would be on the wrong hook.
        for link in lacking:
            netlink.request(filters.add_clsact(link))
        loaded = [bpf_calls.load_bpf(_PROG_TYPE_SCHED_CLS, program) for program in programs]
        for descriptor in loaded:
            owned.callback(os.close, descriptor)
        netlink.request(
            *(filters.set_filter(link, EGRESS, loaded[0], label) for link in (index, tap)),
            filters.set_filter(index, INGRESS, loaded[1], guard),
            *add_address(_LOOPBACK, _own_address(step.address), Lifetime()),
            *_connect(index, expected_ways(step.original, step.address)),
            forgiven=(errno.EEXIST,),
        )
    return Hooks(clsact=True, interface=label, guard=guard, tap_clsact=True, tap=label)


def close_private_link(netlink: NetlinkSocket, step: ClosePrivateLink) -> None:
    """Remove all parts of the link that are there."""
    hooks = []
    if step.tap is not None:
        hooks += _clear_hooks(netlink, step.tap.index, EGRESS, own_clsact=True)
    if step.interface is not None:
        hooks += _clear_hooks(netlink, step.interface.index, EGRESS, INGRESS, own_clsact=step.own_clsact)
    with _translated("close a private link"):
        netlink.request(*hooks, *_disconnect(step), forgiven=_GONE)


def _clear_hooks(netlink: NetlinkSocket, index: IfIndex, *used: int, own_clsact: bool) -> list[Request]:
    """Return what removes a link's hooks, or only vtapd's filters if another program uses or made the hooks."""
    found = [each for hook in filters.show_filters(index) for each in netlink.dump_by(hook, "filters")]
    if own_clsact and all(map(filters.is_own, found)):
        return [filters.remove_clsact(index)]
    return [filters.remove_filter(index, hook) for hook in used]


def _disconnect(step: ClosePrivateLink) -> Iterator[Request]:
    if step.interface is not None:
        index = step.interface.index
        for way in step.interface.guests:
            if way.source is not None:
                yield remove_route(index, index, _route(way))
            if way.mac is not None:
                yield remove_neighbour(index, way.ip)
    if step.address is not None:
        yield remove_address(_LOOPBACK, _own_address(step.address))


def _connect(index: IfIndex, ways: Iterable[GuestWay]) -> Iterator[Request]:
    for way in ways:
        yield replace_route(index, index, _route(way), Lifetime())
        yield set_permanent(index, way.ip, way.mac or "", LINK_PROTOCOL)


def _route(way: GuestWay) -> Route:
    return Route(4, way.ip, 32, source=way.source, protocol=LINK_PROTOCOL, scope=_SCOPE_LINK)


def _own_address(ip: str) -> Address:
    """Return the container's address. With this scope Linux uses it as a source only where a route says so."""
    return Address(4, ip, 32, scope=_SCOPE_HOST)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, f"cannot {what}: {error.strerror or error}") from error


def _translate(error: OSError, said: str) -> VtapdError:
    if error.errno == errno.ENODEV:
        return ContainerGone(said, step=Step.LINK)
    if error.errno == errno.EEXIST:
        remedy = "the program that has the qdisc `ingress` on it should use clsact"
        return Permanent(said, step=Step.LINK, remedy=remedy)
    if error.errno in _LACKING:
        remedy = "the kernel needs BPF, NET_CLS_BPF and NET_SCH_INGRESS: modprobe cls_bpf sch_ingress; see vtapd check"
        return Permanent(said, step=Step.LINK, remedy=remedy)
    return Transient(said, step=Step.LINK)
