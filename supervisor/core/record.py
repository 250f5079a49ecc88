"""What vtapd records about a container, in a file that outlives the daemon.

All types are frozen dataclasses of plain values, so that they compare, hash, print and turn into JSON by themselves.
"""

from dataclasses import dataclass, field

from supervisor.core.container import ContainerId, Incarnation, Pid
from supervisor.core.links import DeviceNumber, IfIndex, Interface


@dataclass(frozen=True, slots=True)
class PrivateLink:
    """The private link between a guest and its container, on one interface that is taken over."""

    address: str
    """The container's address on it; empty if that is not known, after a record was lost."""
    own_clsact: bool
    """Vtapd gave the interface its hooks, or is about to; False if another program did."""


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
    only_mac: bool = False
    """Only the MAC of the interface is taken over: the container keeps its addresses, which `original` leaves out."""
    link: PrivateLink | None = None
    wake_filter: bool = False
    """The tap has, or is about to get, the filter that lets only those packets pass that wake a guest."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a guest can be reached over its network."""

    ip: str
    mac: str
    interface: str
    """The container's interface that the guest's card is on."""
    gateway: str | None = None


Identity = tuple[tuple[str, str], ...]
"""What a start of a guest consists of: the name of each part, for people, and a stamp of its content."""


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A snapshot of a guest. Its files are in the working directory of the guest's QEMU."""

    taken_at_s: float
    """In seconds since boot."""
    identity: Identity
    """The start that it belongs to."""
    folder: str
    """Which folder its files are in: device and inode, as text."""
    path: str = ""
    """Where the folder is on disk; empty if it is in memory."""
    state_bytes: int = 0
    memory_bytes: int = 0
    """What the guest had written of its memory then."""


@dataclass(frozen=True, slots=True)
class ShareServer:
    """The virtiofsd that serves one share of a guest."""

    number: int
    """N of vtapd.share.N."""
    pid: Pid
    start_ticks: int


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
    servers: tuple[ShareServer, ...] = ()
    oom_kills: int | None = None
    """How many processes of its cgroup the kernel had killed for lack of memory at its start; None if not known."""
    identity: Identity = ()
    """What its start consisted of; empty if no snapshot is taken of it."""
    folder: str = ""
    """Its working directory, if that is kept for a snapshot: device and inode, as text."""
    path: str = ""
    """Where that is on disk; empty if it is in memory."""
    program: str = ""
    """The stamp of the program's file at its start; empty if it is not known."""
    sockets: str = ""
    """What stands in the names of its sockets between the container's id and their kind."""
    restored: bool = False
    """It was not booted: it was restored from the snapshot, after a crash."""


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
class Sleep:
    """A guest that sleeps, is falling asleep, or is being woken."""

    mode: str
    """`suspend`: its state is kept; `stop`: it is not."""
    because: str
    """Why it fell asleep; once it is woken, by what."""
    ends: bool = False
    """What is to be kept of it is kept: its QEMU is ended, or has been."""
    process: ProcessRecord | None = None
    """The QEMU that it ran in; None until that has ended."""
    state_bytes: int = 0
    """How long the file with its state is."""
    disks: tuple[str, ...] = ()
    """A stamp of each disk that it had, which changes when something writes to the disk."""
    lost: str = ""
    """Why it cannot go on where it was; empty if it can, or if its state was not to be kept."""
    since_s: float = 0.0
    """When that was, in seconds since boot."""
    at: str = ""
    """The same as wall-clock time, ISO 8601."""
    woken_at_s: float | None = None
    """When something came that wakes it, in seconds since boot; None while it is to sleep."""


@dataclass(frozen=True, slots=True)
class GuestRecord:
    """What is recorded about a container's guest, so that it outlives the daemon."""

    process: ProcessRecord | None = None
    restarts: int = 0
    """The restarts after a crash, or another end after which the restart policy starts the guest again."""
    ordered_restarts: int = 0
    """The other restarts in this incarnation of the container: an operator stopped or started the guest."""
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
    snapshot: SnapshotRecord | None = None
    snapshot_note: str = ""
    """Why it has no snapshot, or no standby, for people; empty if that needs no word."""
    boot_note: str = ""
    """Why its last start did not restore its snapshot, for people; empty if that needs no word."""
    waiting: ProcessRecord | None = None
    """The QEMU that waits for the state of the one that runs, or for the snapshot's."""
    restore_counts: dict[str, int] = field(default_factory=dict, hash=False)
    """How many restores ended with each result."""
    terminal: str = ""
    """The settings of the container's terminal before the guest got it, in hexadecimal; empty if it has not got it."""
    asleep: Sleep | None = None
    """None for a guest that is awake."""
    sleep_failure: str = ""
    """Why it could not be put to sleep when that was tried last; empty if it could."""
    sleeps: int = 0
    """How often it fell asleep in this incarnation."""
    wakes: int = 0
    """How often it was woken."""

    @property
    def folders(self) -> frozenset[str]:
        """The folders on disk that have files of its QEMUs and of its snapshot."""
        found = (each.path for each in (self.process, self.waiting, self.snapshot) if each is not None)
        return frozenset(path for path in found if path)

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
