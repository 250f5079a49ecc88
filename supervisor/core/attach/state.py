"""What should be and what is, for one container. With its record, these are the inputs of the plan."""

from dataclasses import dataclass, field

from supervisor.core.attach.actions import Attempt
from supervisor.core.container import Endpoint, Incarnation, Pid
from supervisor.core.devices.wake_program import Wakers
from supervisor.core.links import NO_HOOKS, DeviceNumber, Hooks, Interface, Tap

Resting = frozenset[Attempt]
"""What failed and is not to be tried yet."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be. Without `attached`, nothing is: the other fields do not matter."""

    attached: bool
    takeover: bool = False
    """The guest has the addresses of the interfaces."""
    mac: str = ""
    """Without `takeover`: the guest has the MAC of the interface whose MAC this is."""
    guest: bool = False
    """A QEMU should run."""
    wakers: Wakers | None = None
    """What wakes the guest, if it sleeps, is to fall asleep, or is being woken; None if it is awake."""
    cards: int = 1
    """The most network cards that the guest can have. The container keeps the addresses of further interfaces."""
    ip_versions: tuple[int, ...] = ()
    """A card needs an interface with a static address of one of these versions. Empty: it needs no address."""
    hotplug: bool = False
    """Cards can be added to a guest while it runs."""
    ready: bool = False
    """The guest that runs was found ready, or that sleeps was when it fell asleep."""
    refresh: bool = False
    """The guest is to be moved to another QEMU."""
    snapshot: bool = False
    """The guest's snapshot is to be taken, or a QEMU is to wait to restore it."""
    exit_status: int | None = None
    """That of a guest that is done; None as long as it runs, or may run again."""
    endpoints: tuple[Endpoint, ...] = ()
    """The networks that Docker has connected the container to; empty if that is not known."""
    link_address: str | None = None
    """The container's address on the private link to its guest; None: there is to be no such link."""
    resumes_at_s: float | None = None
    """When a guest that is stopped now starts again, in seconds since boot; None if it does not."""

    @property
    def asleep(self) -> bool:
        """Whether the guest is to sleep. One that is being woken is not."""
        return self.wakers is not None and not self.guest


@dataclass(frozen=True, slots=True)
class SeenInterface:
    """One of the container's interfaces, and its tap."""

    interface: Interface
    tap: Tap | None = None
    fresh: bool = False
    """The tap was created by the last action, and no other container had its number on record then."""
    wanted: bool = True
    """Vtapd concerns itself with it: Docker made it, or the configuration says so."""
    obstacle: str = ""
    """Why the kernel would refuse a tap on it; empty if it would not."""
    hooks: Hooks = NO_HOOKS
    wake_filter: str = ""
    """The name of vtapd's filter on the tap's ingress hook; empty without one, or if none is on record."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel and QEMU show of one container."""

    incarnation: Incarnation | None
    """The run of the container. None if it does not run: its namespaces, nodes, rules and processes are gone."""
    netns_link: Pid | None = None
    """The process whose namespace the symlink under /var/run/netns leads to; None without a symlink."""
    interfaces: tuple[SeenInterface, ...] = ()
    rules: frozenset[DeviceNumber] = frozenset()
    """Which of the numbers of recorded and of existing taps the container may open."""
    nodes: tuple[tuple[int, DeviceNumber], ...] = ()
    """The slots and numbers of the nodes /dev/tapN that are macvtap devices."""
    guest: bool = False
    """A QEMU runs."""
    nics: frozenset[int] = frozenset()
    """The slots whose taps the running guest has a network card on."""
    ready: bool = False
    """The container has /dev/vtapd-ready."""
    exit_status: int | None = None
    """The number in the container's /dev/vtapd-exit; None without that file."""
    at_s: float = field(default=0.0, compare=False)
    """When this was observed, in seconds since boot."""
    claimed: frozenset[DeviceNumber] = frozenset()
    """The numbers of this container's taps that another container also has on record, for a tap that is gone."""
    ungiven: frozenset[int] = frozenset()
    """The slots whose nodes do not belong to the container's user yet."""
    hidden_nodes: bool = False
    """The container can open no nodes. They are in a folder of the daemon's own, which opens them for the guest."""

    strays: tuple[tuple[int, Tap], ...] = ()
    """The taps on record whose interfaces are gone, with their slots. On a macvlan network a tap outlives those."""
    other_ipv4: frozenset[str] = frozenset()
    """The IPv4 addresses in the container's network namespace that are on other links, such as its loopback."""

    def stray(self, slot: int) -> Tap | None:
        """Return the tap of this slot, if its interface is gone."""
        return next((tap for number, tap in self.strays if number == slot), None)

    def of(self, interface: str) -> SeenInterface | None:
        """Return the interface of this name."""
        return next((s for s in self.interfaces if s.interface.name == interface), None)
