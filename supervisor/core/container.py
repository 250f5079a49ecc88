"""What Docker says about a container, and one run of it.

All types are frozen dataclasses of plain values, so that they compare, hash, print and turn into JSON by themselves.
"""

from dataclasses import dataclass, field
from typing import NewType

from supervisor.core.formats.proc_cgroup import Cgroup

ContainerId = NewType("ContainerId", str)
"""Docker's full id, 64 hexadecimal digits."""


Pid = NewType("Pid", int)
"""A process as the daemon's own pid namespace numbers it."""


def short_id(container_id: ContainerId) -> str:
    """Return the twelve digits that `docker ps` shows. They name everything that vtapd creates on the host."""
    return container_id[:12]


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
    ended_at: str = ""
    """When its last run ended, by Docker's clock, ISO 8601 in UTC; empty if it runs."""
    hostname: str = ""
    domainname: str = ""
    """`--domainname`."""
    extra_hosts: tuple[str, ...] = ()
    """`--add-host`, each as NAME:ADDRESS."""
    mac_address: str = ""
    """`--mac-address`; empty if Docker does not say, which it does up to version 1.43 of its API."""
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
    resolv_conf: str = ""
    """The file on the host that Docker writes and mounts as the container's /etc/resolv.conf; empty if unknown."""
    has_vtapd_init: bool = False
    """Whether its entrypoint is vtapd-init, which leaves its standard input to the guest."""
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
