"""What the kernel shows of a container's network: interfaces, addresses, routes and taps.

All types are frozen dataclasses of plain values, so that they compare, hash, print and turn into JSON by themselves.
"""

from dataclasses import dataclass, field
from typing import NewType

IfIndex = NewType("IfIndex", int)
"""A link's number, unique only within its network namespace."""


@dataclass(frozen=True, slots=True)
class DeviceNumber:
    """A character device's number, the only thing that identifies a tap on this host."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"


@dataclass(frozen=True, slots=True)
class Address:
    """An interface's address as netlink has it: `family` is 4 or 6, `scope` an rt_scope_t number."""

    family: int
    ip: str
    prefix: int
    broadcast: str | None = None
    scope: int = 0
    flags: int = field(default=0, compare=False)
    """IFA_F_ bits of linux/if_addr.h, as they were when it was read."""
    valid_until_s: float | None = field(default=None, compare=False)
    """When Linux removes it, in seconds since boot; None if never."""
    preferred_until_s: float | None = field(default=None, compare=False)
    """When it becomes deprecated, in seconds since boot; None if never."""
    peer: str | None = None
    """The other end of a point-to-point link, whose prefix length `prefix` then is."""
    raw: bytes = field(default=b"", compare=False, repr=False)
    """The kernel's own message about it, with all attributes; empty if an earlier version recorded it."""

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One of the next hops of a multipath route."""

    index: IfIndex
    gateway: str | None
    weight: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route through an interface; numbers are those of linux/rtnetlink.h, None if netlink showed none."""

    family: int
    destination: str
    """An address without prefix; empty for the default route."""
    prefix: int
    gateway: str | None = None
    source: str | None = None
    metric: int | None = None
    table: int = 254
    protocol: int = 3
    scope: int = 0
    type: int = 1
    flags: int = 0
    valid_until_s: float | None = field(default=None, compare=False)
    """When Linux removes it, in seconds since boot; None if never."""
    tos: int = 0
    via: str | None = None
    """The gateway, if it is of the other version of IP."""
    hops: tuple[Hop, ...] = ()
    """Its next hops, if it has several."""
    nexthop_id: int | None = None
    """The nexthop object that it uses (`ip nexthop`)."""
    raw: bytes = field(default=b"", compare=False, repr=False)
    """The kernel's own message about it, with all attributes; empty if an earlier version recorded it."""

    @property
    def key(self) -> tuple[int, str, int, int, int, int]:
        """What two routes have in common if the kernel uses the one that was added first."""
        return self.family, self.destination, self.prefix, self.table, self.tos, self.metric or 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry in the neighbour tables that the kernel did not learn: permanent, without ARP, or a proxy."""

    family: int
    ip: str
    mac: str
    state: int
    """NUD_ bits of linux/neighbour.h."""
    protocol: int = field(default=0, compare=False)
    """Who made it, as NDA_PROTOCOL says."""
    raw: bytes = field(default=b"", compare=False, repr=False)
    """The kernel's own message about it."""


@dataclass(frozen=True, slots=True)
class GuestWay:
    """How the container reaches an address of its guest: by a route and a neighbour entry of vtapd's own."""

    ip: str
    source: str | None = None
    """The source address that the route sets; None without a route."""
    mac: str | None = None
    """The MAC of the neighbour entry; None without one."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is on the egress hooks of an interface and its tap."""

    clsact: bool = False
    """The interface has the queueing discipline that hooks belong to, made by vtapd or by another program."""
    interface: str = ""
    """The name of vtapd's filter on the interface's egress hook; empty without one."""
    guard: str = ""
    """The name of the one on its ingress hook; empty without one."""
    tap_clsact: bool = False
    """The tap has that queueing discipline."""
    tap: str = ""
    """The name of vtapd's filter on the tap; empty without one."""


NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True)
class MacvlanMode:
    """Which of the other links on the same parent a macvlan or macvtap can reach."""

    number: int
    """enum macvlan_mode of linux/if_link.h."""
    senders: tuple[str, ...] = ()
    """The MACs that a macvlan in source mode receives from."""
    nodst: bool = False
    """In source mode: what they send is delivered to no other link."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a namespace, of any kind."""

    index: IfIndex
    name: str
    mac: str
    mtu: int
    up: bool
    ethernet: bool
    kind: str
    """Such as veth or macvtap; empty for a loopback."""
    parent: int | None
    """The ifindex of the link that it was created on, or of a veth's peer."""
    parent_netns: int | None = None
    """The number of the parent's namespace, if that is another one (IFLA_LINK_NETNSID)."""
    mode: MacvlanMode | None = None
    """The mode of a macvlan or macvtap."""
    master: int | None = None
    """The ifindex of the bridge, or the like, that it is a port of."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One of a container's own interfaces, such as eth0."""

    name: str
    index: IfIndex
    mac: str
    mtu: int
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    reached: tuple[str, ...] = ()
    """The gateways to which it has a route of vtapd's own, while it is taken over."""
    guests: tuple[GuestWay, ...] = ()
    """The addresses of its guest that the container reaches over their private link."""

    def gateway(self, family: int = 4) -> str | None:
        """Return the default route's gateway, if it has one."""
        defaults = [r for r in self.routes if r.family == family and r.prefix == 0 and r.gateway]
        best = min(defaults, key=lambda r: r.metric or 0, default=None)
        return best.gateway if best else None


@dataclass(frozen=True, slots=True)
class Tap:
    """A macvtap as the kernel shows it."""

    name: str
    index: IfIndex
    mac: str
    mtu: int
    up: bool
    device: DeviceNumber
