"""The types of the domain: what Docker says about a container, what the kernel shows, and what vtapd records.

All are frozen dataclasses of plain values, so that they compare, hash, print and turn into JSON by themselves.
"""

from dataclasses import dataclass, field
from typing import NewType

from supervisor.core.formats.proc_cgroup import Cgroup

ContainerId = NewType("ContainerId", str)
"""Docker's full id, 64 hexadecimal digits."""
IfIndex = NewType("IfIndex", int)
"""A link's number, unique only within its network namespace."""
Pid = NewType("Pid", int)
"""A process as the daemon's own pid namespace numbers it."""


def short_id(container_id: ContainerId) -> str:
    """Return the twelve digits that `docker ps` shows. They name everything that vtapd creates on the host."""
    return container_id[:12]


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
    raw: bytes = field(default=b"", compare=False, repr=False)
    """The kernel's own message about it."""


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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One network that a container is connected to, as Docker made it."""

    network: str
    mac: str
    addresses: tuple[tuple[str, int, str], ...] = ()
    """IP, prefix length and gateway (may be empty): at most one of IPv4 and one of IPv6."""
    priority: int = 0
    """Of several networks, the one with the highest has the default gateway (`gw-priority`, since Docker 28)."""

    @property
    def has_interface(self) -> bool:
        """Whether it is a network with an interface, neither the host's nor none."""
        return self.network not in ("host", "none")


@dataclass(frozen=True, slots=True)
class Container:
    """What Docker says about one container."""

    id: ContainerId
    name: str
    pid: Pid
    """The container's init process; 0 if it does not run."""
    started_ns: int
    """When this run of the container began, since the epoch, by Docker's clock."""
    running: bool
    paused: bool
    network_mode: str
    hostname: str = ""
    domainname: str = ""
    """`--domainname`."""
    extra_hosts: tuple[str, ...] = ()
    """`--add-host`, each as NAME:ADDRESS."""
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    memory_limit_bytes: int = 0
    """0 if there is no limit."""
    pids_limit: int = 0
    """`--pids-limit`; 0 or less if there is none. The cgroup has the limit that counts."""
    stop_signal: int = 15
    stop_timeout_s: float = 10.0
    """`--stop-timeout`: how long after this signal Docker kills it; negative if it does not."""
    privileged: bool = False
    device_rules: tuple[str, ...] = ()
    """`--device-cgroup-rule`, as given to Docker."""
    devices: tuple[tuple[str, str], ...] = ()
    """`--device`: a path on the host, and the letters of the permissions."""
    endpoints: tuple[Endpoint, ...] = ()
    dns: tuple[str, ...] = ()
    """`--dns`."""
    dns_search: tuple[str, ...] = ()
    """`--dns-search`."""
    words: tuple[str, ...] = ()
    """The command, if the entrypoint is vtapd-init: arguments of the guest's program."""
    env: tuple[tuple[str, str], ...] = ()
    """The image's variables and those of `docker run -e`, in Docker's order."""
    image_labels: frozenset[str] = frozenset()
    """Names of labels that have the image's own value: perhaps only the image set them."""


@dataclass(frozen=True, slots=True)
class User:
    """The user that guests run as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """All groups of the user. The group `kvm` may open /dev/kvm."""


@dataclass(frozen=True, slots=True)
class FileOwner:
    """Whose the files are that a process creates, as the host numbers users."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One run of a container. A container that was restarted keeps its id and gets another incarnation."""

    pid: Pid
    start_ticks: int
    """When its init started, in clock ticks since boot: field 22 of /proc/<pid>/stat."""


@dataclass(frozen=True, slots=True)
class ContainerHandles:
    """What a guest needs to reach its container. The attachment owns the descriptors."""

    pid: Pid
    """The container's init."""
    root: int
    """The container's root directory."""
    nodes: int
    """The folder with the nodes of its taps."""
    cgroup: Cgroup


@dataclass(frozen=True, slots=True)
class TapRecord:
    """What vtapd made, or is about to make, for one interface of a container."""

    slot: int
    """N of /dev/tapN."""
    interface: str
    tap: str
    """The macvtap's name."""
    device: DeviceNumber | None = None
    """None until the macvtap exists and its number was read."""
    original: Interface | None = None
    """The interface as it was before the takeover; None if it is not taken over."""
    index: IfIndex | None = None
    """The macvtap's ifindex. None until the macvtap was seen, and in records of version 0.1."""
    parent: IfIndex | None = None
    """The ifindex of the interface that the macvtap was made on; None as above."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a guest can be reached over its network."""

    ip: str
    mac: str
    interface: str
    """The container's interface that the guest's card is on."""
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A guest's QEMU. With the container's id on its command line, this identifies one process for ever."""

    pid: Pid
    start_ticks: int
    spawned_at_s: float
    """Seconds since boot (CLOCK_BOOTTIME), which no clock adjustment moves."""
    kind: str = "raw"
    command: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    """N of each /dev/tapN that it has a network card on."""
    whereabouts: Whereabouts | None = None
    """None if it is not known."""
    ready_at_s: float | None = None
    """When it was found ready, in seconds since boot."""
    because: str = ""
    """Why its kind was chosen, for people."""
    notes: tuple[str, ...] = ()
    """What it could not be given, for people."""
    terms: tuple[tuple[str, str], ...] = ()
    """The settings at its start, which may differ by now, by label or configuration key; empty if not known."""
    oom_kills: int | None = None
    """How many processes of its cgroup the kernel had killed for lack of memory at its start; None if not known."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How one run of a guest ended."""

    reason: str
    code: int | None = None
    """The guest's or QEMU's exit code, or the signal's number, as the reason says."""
    detail: str = ""
    at: str = ""
    """Wall-clock time, ISO 8601."""
    uptime_s: float = 0.0
    delay_s: float | None = None
    """The delay before the next start; None if there was no next start."""
    never_ran: bool = False
    """QEMU ended before the guest's first instruction."""


@dataclass(frozen=True, slots=True)
class GuestRecord:
    """What is recorded about a container's guest, so that it outlives the daemon."""

    process: ProcessRecord | None = None
    restarts: int = 0
    """All restarts in this incarnation of the container."""
    crashes: int = 0
    """Crashes since the guest was last healthy: the position on the restart curve."""
    not_before_s: float = 0.0
    """When the next start is due, in seconds since boot."""
    done: str | None = None
    """`exited` or `failed` once the guest will not be started again."""
    failure: str = ""
    """Why no start can succeed, for people; empty if one may."""
    failed_starts: int = 0
    """How often in a row no QEMU could be started. Its delays follow the restart curve."""
    exits: tuple[Exit, ...] = ()
    """The last few exits, the oldest first."""
    exit_counts: dict[str, int] = field(default_factory=dict, hash=False)
    console_dropped_bytes: int = 0
    """Console output that the container's log did not take in time."""

    @property
    def exit_count(self) -> int:
        """How often it has ended in this incarnation."""
        return sum(self.exit_counts.values())


@dataclass(frozen=True, slots=True)
class Record:
    """What vtapd records about one incarnation of a container, always before it changes anything."""

    id: ContainerId
    name: str
    incarnation: Incarnation
    taps: tuple[TapRecord, ...] = ()
    guest: GuestRecord = GuestRecord()
    detached: bool = False
    """An operator detached this incarnation: it is not attached again."""
    held: bool = False
    """An operator stopped the guest: it is not started before an operator starts it."""
    version: int = 1

    def tap_of(self, interface: str) -> TapRecord | None:
        """Return the entry of an interface, if there is one."""
        return next((t for t in self.taps if t.interface == interface), None)
