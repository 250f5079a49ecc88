"""What a container's labels request (GuestSpec), and the defaults and limits for them (GuestPolicy)."""

from dataclasses import dataclass

from supervisor.core.guest.health_spec import Aliveness, Readiness
from supervisor.core.guest.idle_spec import Idle
from supervisor.core.links import Address

DISK, SHARE = "vtapd.disk.", "vtapd.share."
"""The label of disk N is this and N."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Docker's modes: no, on-failure, always, unless-stopped. `limit` is N of on-failure:N; None for no limit."""

    mode: str = "on-failure"
    limit: int | None = None

    def __str__(self) -> str:
        return self.mode if self.limit is None else f"{self.mode}:{self.limit}"


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """`vtapd.address`: which addresses the guest has."""

    mode: str = "takeover"
    """`takeover`: the container's; `static`: another one; `dhcp`, `none`: the guest configures itself."""
    address: Address | None = None
    gateway: str | None = None

    @property
    def takes_over(self) -> bool:
        return self.mode == "takeover"


@dataclass(frozen=True, slots=True)
class Disk:
    """`vtapd.disk.N`: a file of the container."""

    number: int
    path: str
    read_only: bool = False
    mount: str | None = None
    """Where the guest mounts it, if its kind has an option for that."""
    format: str = "raw"
    """`raw` or `qcow2`."""

    def __str__(self) -> str:
        """Return the value of its label."""
        mount = f",mount={self.mount}" if self.mount else ""
        return f"{self.path}{':ro' if self.read_only else ''}{mount}{',format=qcow2' if self.format == 'qcow2' else ''}"


@dataclass(frozen=True, slots=True)
class Share:
    """`vtapd.share.N`: a folder of the container that the guest shares."""

    number: int
    path: str
    read_only: bool = False
    tag: str = ""
    """The name by which the guest finds it."""
    mount: str | None = None
    """Where the guest mounts it, if its kind has an option for that."""
    by: str | None = None
    """`9p` or `virtiofs`; None for what the guest's kind prefers."""

    @property
    def label(self) -> str:
        return f"{SHARE}{self.number}"

    def __str__(self) -> str:
        """Return the value of its label."""
        options = (("tag", self.tag), ("mount", self.mount), ("by", self.by))
        words = [f"{name}={value}" for name, value in options if value]
        return ",".join([f"{self.path}{':ro' if self.read_only else ''}", *words])


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that a guest has to get."""

    variables: tuple[tuple[str, str], ...] = ()
    """Names and values, in Docker's order; a name may come twice."""
    chosen: tuple[str, ...] = ()
    """The names in `vtapd.env`: none of these may be left out. Empty: all that the kind can carry."""

    @property
    def label(self) -> str:
        """The value of the label that requested it."""
        return ",".join(self.chosen) or "true"


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """The guest that a container requests. Paths are absolute, in the container's file system."""

    kernel: str
    memory_mib: int
    kind: str = "auto"
    initrd: str | None = None
    disks: tuple[Disk, ...] = ()
    """By number."""
    shares: tuple[Share, ...] = ()
    """By number."""
    args: str = ""
    """For the guest's program."""
    kernel_args: str = ""
    """For the guest's own system."""
    screen: bool = False
    """Whether it gets a VGA card."""
    cpus: int = 1
    address: AddressPlan = AddressPlan()
    restart: RestartPolicy = RestartPolicy()
    on_exit: str = "stop"
    stop_timeout_s: float = 10.0
    accel: str = "auto"
    machine: str | None = None
    ready: Readiness | None = None
    """None: it is never more than running."""
    alive: Aliveness | None = None
    idle: Idle | None = None
    """None: it never falls asleep by itself."""
    env: Environment = Environment()
    snapshot: bool = False
    """Whether a crash restores the state at which the guest was ready."""
    standby: bool = False
    """Whether a QEMU waits for that."""

    @property
    def snapshot_label(self) -> str:
        """The value of `vtapd.snapshot`."""
        return ("ready,standby" if self.standby else "ready") if self.snapshot else "off"


@dataclass(frozen=True, slots=True)
class GuestPolicy:
    """The operator's configuration: defaults for labels that are not set, and limits for labels."""

    memory_mib: int = 64
    overhead_mib: int = 48
    """QEMU's own memory, which counts towards the container's limit in addition to the guest's."""
    accel: str = "auto"
    stop_timeout_s: float = 10.0
    max_memory_mib: int = 65536
    max_cpus: int = 64
    max_disks: int = 8
    max_shares: int = 8
    accels: tuple[str, ...] = ("kvm", "tcg")
    image_labels: tuple[str, ...] | None = None
    """Which labels an image may set, without their prefix and number; None for all."""


UNLIMITED = GuestPolicy(max_memory_mib=1 << 40, max_cpus=1 << 20, max_disks=100, max_shares=100)
"""For a guest that runs already: it keeps what it was allowed at its start."""
