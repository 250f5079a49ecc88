"""Decide which of a container's interfaces vtapd concerns itself with.

By default these are the interfaces that Docker made. Docker lists a MAC and addresses for each network of a container.
Neither is certain: processes in the container may change both, a bridge in it gets the MAC of its first port, and often
the address too. So the links that a container makes for itself are left out first: their other end, or what they are
made on, is in the container as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product

from supervisor.core.attach.state import SeenInterface
from supervisor.core.container import Endpoint
from supervisor.core.links import IfIndex, Interface, Link, Tap
from supervisor.core.record import TapRecord

_MADE_INSIDE = frozenset(
    ("bond", "bridge", "dummy", "ipvlan", "ipvtap", "macvlan", "team", "tun", "veth", "vlan", "vrf", "vxlan")
)
"""Kinds of links that a container makes for itself, if the kernel shows no other namespace for them."""
_FREE_MASTERS = ("vrf",)
"""Kinds of links whose ports can have a macvtap: they do not receive for their ports (include/net/l3mdev.h)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which interfaces count."""

    endpoints: tuple[Endpoint, ...] | None = None
    """The networks that Docker lists for the container; None if Docker has not described it yet."""
    all: bool = False
    """`[attach] interfaces` is "all": the container's own interfaces count, too."""
    addressless: bool = False
    """Docker's interfaces count without an address: the guest has its own."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An interface that Docker may have made, and all that it can be recognised by."""

    interface: Interface
    macs: frozenset[str]
    ips: frozenset[str]
    recorded: bool

    @property
    def may_be_dockers(self) -> bool:
        """Return whether Docker may have made it though it is like no endpoint."""
        return self.recorded or self.interface.name.startswith("eth")

    def likeness(self, endpoint: Endpoint) -> int:
        """Return how much this looks like the interface of a network: 0 if not at all."""
        return 2 * (endpoint.mac in self.macs) + any(ip in self.ips for ip, _, _ in endpoint.addresses)


def observed_interfaces(
    interfaces: Sequence[Interface],
    links: Mapping[IfIndex, Link],
    taps: Mapping[IfIndex, Tap],
    entries: Sequence[TapRecord],
    scope: Scope,
) -> tuple[SeenInterface, ...]:
    """Return the interfaces that count, and those that have a tap or are on record though they do not count.

    `links` are all of the namespace. `taps` are vtapd's, by the interface that each is on.
    """
    ours = _in_scope(interfaces, links, taps, entries, scope)
    return tuple(
        SeenInterface(
            each,
            taps.get(each.index),
            wanted=each.index in ours,
            obstacle=why_no_macvtap(links[each.index], links.values()),
        )
        for each in interfaces
        if each.index in ours or each.index in taps or _entry_of(each, entries)
    )


def _in_scope(
    interfaces: Sequence[Interface],
    links: Mapping[IfIndex, Link],
    taps: Mapping[IfIndex, Tap],
    entries: Sequence[TapRecord],
    scope: Scope,
) -> frozenset[IfIndex]:
    candidates = [
        _candidate(each, taps.get(each.index), _entry_of(each, entries))
        for each in interfaces
        if not _is_made_inside(links[each.index], sure=scope.endpoints is None)
    ]
    dockers = _dockers(candidates, scope.endpoints)
    count = {each.index for each in interfaces} if scope.all else dockers
    return frozenset(
        each.index
        for each in interfaces
        if each.index in count
        and (
            bool(each.addresses)
            or each.index in taps
            or _entry_of(each, entries) is not None
            or (each.index in dockers and (scope.addressless or links[each.index].master is not None))
        )
    )


def _entry_of(interface: Interface, entries: Sequence[TapRecord]) -> TapRecord | None:
    """Return the entry of an interface, also if it was renamed."""
    renamed = (entry for entry in entries if entry.parent == interface.index)
    named = (entry for entry in entries if entry.interface == interface.name)
    return next(chain(renamed, named), None)


def _candidate(interface: Interface, tap: Tap | None, entry: TapRecord | None) -> _Candidate:
    """Return an interface with what was taken from it for a guest."""
    original = entry.original if entry and entry.original else interface
    macs = {interface.mac, original.mac, *([tap.mac] if tap else [])}
    ips = {address.ip for address in (*interface.addresses, *original.addresses)}
    return _Candidate(interface, frozenset(macs), frozenset(ips), entry is not None)


def _dockers(candidates: Sequence[_Candidate], endpoints: Sequence[Endpoint] | None) -> frozenset[IfIndex]:
    """Return the interfaces that Docker made. Without its list, these are all that were not made inside.

    The interface that is most like an endpoint is its interface. A container may have changed both MAC and addresses:
    an endpoint that is like none has one that is left, which is on record or has Docker's kind of name. A Docker that
    lists no network at all, as while it restarts, is not believed about interfaces on record: it removes those itself.
    """
    if endpoints is None:
        return frozenset(each.interface.index for each in candidates)
    connected = [each for each in endpoints if each.has_interface]
    numbered = product(enumerate(connected), candidates)
    pairs = [(each.likeness(endpoint), number, each) for (number, endpoint), each in numbered]
    found: dict[int, IfIndex] = {}
    for likeness, number, each in sorted(pairs, key=lambda pair: -pair[0]):
        if likeness and number not in found and each.interface.index not in found.values():
            found[number] = each.interface.index
    left = [each for each in candidates if each.interface.index not in found.values() and each.may_be_dockers]
    left.sort(key=lambda each: not each.recorded)
    missing = len(connected) - len(found) if endpoints else sum(each.recorded for each in left)
    return frozenset((*found.values(), *(each.interface.index for each in left[:missing])))


def is_sure(interfaces: Sequence[Interface], scope: Scope) -> bool:
    """Return whether the interfaces that have an address are all that count, judged by their MACs alone."""
    if scope.all or scope.endpoints is None:
        return not scope.addressless
    connected = [each.mac for each in scope.endpoints if each.has_interface]
    return sorted(connected) == sorted(each.mac for each in interfaces)


def _is_made_inside(link: Link, *, sure: bool) -> bool:
    """Return whether the container made it itself. With `sure`, what it might have made counts, too."""
    return link.parent_netns is None and (bool(link.kind) if sure else link.kind in _MADE_INSIDE)


def why_no_macvtap(link: Link, links: Iterable[Link]) -> str:
    """Return why the kernel would refuse a macvtap on this link (EBUSY); empty if it would not.

    One program at a time may receive from a link (net/core/dev.c: netdev_rx_handler_register).
    """
    for other in links:
        if other.index == link.master and other.kind not in _FREE_MASTERS:
            return f"{link.name} is a port of a {other.kind or 'link'} ({other.name})"
        if other.kind in ("ipvlan", "ipvtap") and (other.parent, other.parent_netns) == (link.index, None):
            return f"{link.name} has an {other.kind} link on it ({other.name})"
    return ""
