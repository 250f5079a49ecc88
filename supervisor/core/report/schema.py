"""The JSON that commands print with --json and that the control socket answers.

`make docs` copies the sentence below each key into vtapd-api(7). No key is ever missing.
"""

from typing import TypedDict


class ExitShape(TypedDict):
    """One end of a guest."""

    reason: str
    """One of the exit reasons in vtapd-guests(7)."""
    code: int | None
    """The exit code of the guest or of QEMU, or the number of the signal."""
    detail: str
    """The line of the console or of QEMU that reported the end."""
    at: str
    """The time, ISO 8601 in UTC."""
    uptime_s: float
    """How long the guest had run, in seconds."""
    delay_s: float | None
    """The delay before the next start, in seconds. `null`: there is no next start."""


class Summary(TypedDict):
    """`vtapd ps --json` prints a list of these, with `-a` also for containers that have ended. An operation, such as
    `vtapd stop --json`, prints one for each NAME, as the container is then."""

    id: str
    """The container's id."""
    name: str
    """The container's name."""
    state: str
    """One of the states of vtapd(8), STATES."""
    address: str | None
    """The guest's address with its prefix, or the container's if it has no guest."""
    guest: str | None
    """The guest's kind."""
    uptime_s: float | None
    """How long the QEMU that runs now has run, in seconds."""
    restarts: int
    """The number of restarts after a crash, or after another end for which `vtapd.restart` asks for a restart, in this
    run of the container."""
    last_exit: ExitShape | None
    """The guest's last end."""
    reason: str | None
    """Why the container is in this state."""
    ended_at: str | None
    """When the container ended, ISO 8601 in UTC. `null`: it runs."""
    qemu_replaced: bool
    """Whether the program of its guest's QEMU was replaced since the guest's start, see `vtapd refresh`."""


class Usage(TypedDict):
    """`GET /usage` answers a list of these. The container's cgroup counts its processes and its QEMU together. A
    counter is `null` if the kernel does not count it, or if the container does not run."""

    id: str
    """The container's id."""
    name: str
    """The container's name."""
    state: str
    """The state, as in Summary."""
    guest: str | None
    """The guest's kind."""
    ready: bool | None
    """Whether the guest meets its `vtapd.ready`. `null`: it has none."""
    restarts: int | None
    """As in Summary. `null`: it has no guest."""
    restores: int | None
    """How many of these restarts restored the guest's snapshot. `null`: it has no guest."""
    backoff_s: float | None
    """The time until the guest is started again, in seconds. `null`: not in state `backoff`."""
    uptime_s: float | None
    """As in Summary."""
    at_s: float
    """When this was read, in seconds since the machine's boot."""
    cpu_s: float | None
    """The processor time used, in seconds."""
    memory_bytes: int | None
    """The memory used, without files that the kernel can drop at once."""
    memory_limit_bytes: int | None
    """The container's memory limit. `null`: there is none."""
    receive_bytes: int | None
    """What its interfaces received, the guest's traffic included."""
    transmit_bytes: int | None
    """What its interfaces transmitted, the guest's traffic included."""
    read_bytes: int | None
    """What was read from block devices."""
    written_bytes: int | None
    """What was written to block devices."""
    processes: int | None
    """The number of processes and threads."""


class Load(Usage):
    """`vtapd top --json` prints a list of these: the keys of Usage, and what they grew by between two readings. A rate
    is `null` if a counter is, or if it went back because the container was started again."""

    cpu_percent: float | None
    """Processor time; 100 is one processor."""
    receive_bytes_per_s: float | None
    """What its interfaces received, in bytes per second."""
    transmit_bytes_per_s: float | None
    """What its interfaces transmitted, in bytes per second."""
    read_bytes_per_s: float | None
    """What was read from block devices, in bytes per second."""
    written_bytes_per_s: float | None
    """What was written to block devices, in bytes per second."""


class TapShape(TypedDict):
    """The macvtap on an interface."""

    name: str
    """Its name in the container's network namespace."""
    mac: str
    """Its MAC address."""
    device: str
    """Its device number, `MAJOR:MINOR`."""
    node: str | None
    """The path of its device node in the container."""
    rule: bool
    """Whether the container's device cgroup allows it."""


class InterfaceShape(TypedDict):
    """One network interface of a container."""

    name: str
    """Its name in the container."""
    state: str
    """`attached`: it has its tap, rule and node. `attaching`: not yet, or a step failed and is tried again. `failed`:
    an operator must act. `detaching`: a part of what was done to it could not be undone yet. `detached`: nothing is
    done to it."""
    reason: str | None
    """What failed on it, or why the guest that runs has no network card on it."""
    mac: str
    """Its MAC address."""
    mtu: int
    """Its MTU, in bytes."""
    addresses: list[str]
    """Its addresses, each with its prefix."""
    gateway: str | None
    """The IPv4 gateway."""
    taken_over: bool
    """Whether the guest has its MAC and addresses now. They are shown as the container had them."""
    in_guest: bool
    """Whether the running guest has a network card on it."""
    tap: TapShape | None
    """Its macvtap."""


class PendingShape(TypedDict):
    """A setting that the guest's next start will change."""

    what: str
    """The label or the configuration key."""
    running: str
    """The value that the running guest was started with."""
    next: str
    """The value that its next start will use."""


class SnapshotShape(TypedDict):
    """The snapshot from which a crash restores a guest."""

    bytes: int
    """How much memory it takes."""
    age_s: float
    """How long ago it was taken, in seconds."""
    standby_pid: int | None
    """The QEMU that waits to restore it; `null` if none does."""


class GuestShape(TypedDict):
    """The guest of a container."""

    kind: str
    """Its kind, see vtapd-guests(7)."""
    kind_because: str
    """Why it is of this kind."""
    notes: list[str]
    """What could not be passed to the guest, and other remarks on it."""
    kernel: str
    """As `vtapd.kernel` has it."""
    initrd: str | None
    """As `vtapd.initrd` has it."""
    args: str
    """As `vtapd.args` has it."""
    kernel_args: str
    """As `vtapd.kernel-args` has it."""
    screen: bool
    """Whether the guest has a VGA card."""
    memory_mib: int
    """Its memory, in MiB."""
    cpus: int
    """The number of its virtual processors."""
    accel: str
    """`kvm` or `tcg`. Before the first start: what the labels or the configuration ask for."""
    restart: str
    """As `vtapd.restart` has it."""
    on_exit: str
    """As `vtapd.on-exit` has it."""
    stop_timeout_s: float
    """How long a graceful stop may take, in seconds."""
    ready: str
    """As `vtapd.ready` has it."""
    alive: str
    """As `vtapd.alive` has it."""
    snapshot_asked: str
    """As `vtapd.snapshot` has it."""
    snapshot: SnapshotShape | None
    """Its snapshot, once that is taken."""
    qemu_replaced: bool
    """Whether the program of the QEMU that runs was replaced since: `vtapd refresh` moves the guest."""
    restores: dict[str, int]
    """How many restores ended with each result: `restored`, `failed` or `outdated`."""
    idle: str
    """As `vtapd.idle` has it."""
    asleep_since: str | None
    """When it fell asleep, ISO 8601 in UTC. `null`: it is awake."""
    state: str
    """The same as the container's state."""
    pid: int | None
    """The process id of QEMU."""
    console_dropped_bytes: int
    """Console output that is missing in the container's log, because the log was not read."""
    started_at_boottime_s: float | None
    """When QEMU was started, in seconds since the machine's boot."""
    restarts: int
    """As in Summary: restarts after crashes."""
    ordered_restarts: int
    """The number of other restarts in this run of the container: an operator stopped or started the guest."""
    last_exit: ExitShape | None
    """The guest's last end."""
    history: list[ExitShape]
    """The last 20 ends, oldest first."""
    pending: list[PendingShape] | None
    """The settings that the next start will change. `null`: not known yet."""
    command: list[str]
    """The command line of the QEMU that runs."""


class Details(TypedDict):
    """`vtapd inspect --json` prints one of these for each NAME."""

    id: str
    """The container's id."""
    name: str
    """The container's name."""
    state: str
    """The state, as in Summary."""
    reason: str | None
    """Why the container is in this state."""
    pid: int | None
    """The process id of the container's first process."""
    netns: str | None
    """The path of the symlink to its network namespace."""
    cgroup: str | None
    """The path of its cgroup, within the cgroup hierarchy."""
    device_rule_note: str | None
    """Why its device rules had to be built again, if they had."""
    interfaces: list[InterfaceShape]
    """Its interfaces that have an address. If the container has ended: as they were then."""
    guest: GuestShape | None
    """Its guest."""
    ended_at: str | None
    """When the container ended, ISO 8601 in UTC. `null`: it runs."""
    last_output: list[str] | None
    """The last lines in the log of a container that has ended, at most 20. `null`: it runs, or Docker cannot read its
    log."""


class ConsoleShape(TypedDict):
    """`vtapd logs NAME --json` prints one of these, and so does `vtapd console NAME --log --json`."""

    name: str
    """The container's name."""
    said: str
    """The end of what the guest printed, at most 64 KiB. Of what it printed before the daemon started, and of a
    container that has ended: at most 100 lines of the container's log."""
    writer: str | None
    """The user who may type at the moment."""


class ScreenShape(TypedDict):
    """`vtapd screen NAME -o FILE --json` prints one of these."""

    name: str
    """The container's name."""
    file: str
    """The path of the picture."""
    width: int
    """Its width, in pixels."""
    height: int
    """Its height, in pixels."""


class DaemonVersionShape(TypedDict):
    """The daemon that answers."""

    version: str
    """Its version."""
    pid: int
    """Its process id."""


class VersionShape(TypedDict):
    """`vtapd version --json` prints one of these."""

    version: str
    """The version of the command."""
    daemon: DaemonVersionShape
    """The daemon that runs."""


class PageDaemonShape(TypedDict):
    """The daemon and its machine, as the status page shows them."""

    host: str
    """The machine's name."""
    version: str
    """The daemon's version."""
    uptime_s: float
    """How long it has run, in seconds."""
    docker_connected: bool
    """Whether Docker's event stream is open."""
    docker: str | None
    """Docker's version."""
    qemu: str | None
    """QEMU's version. `null`: it cannot be started."""
    kvm: bool | None
    """Whether KVM works. `null`: not tested, because `[guest] accel` is not `auto`."""
    kernel: str
    """The release of the host's kernel."""


class PageContainerShape(Usage):
    """One container, as the status page shows it: the keys of Usage, and these. It has no command line, no value of a
    label and no environment, unless `[metrics] show` names what may have some of them."""

    reason: str | None
    """Why the container is in this state. Without `reasons` in `[metrics] show` an error is the step that failed."""
    notes: list[str]
    """Remarks on the guest. Without `reasons` in `[metrics] show` those that name variables are left out."""
    address: str | None
    """As in Summary."""
    last_exit: ExitShape | None
    """The guest's last end. Without `consoles` in `[metrics] show` its `detail` is empty."""
    console: bool
    """Whether `GET /containers/ID/console.txt` answers."""
    screen: bool
    """Whether `GET /containers/ID/screen.png` answers."""
    ended_at: str | None
    """When the container ended, ISO 8601 in UTC. `null`: it runs."""


class PageShape(TypedDict):
    """The status page reads one of these from `GET /status.json`, on the address of the metrics. With
    `/status.json?all` it has also the containers that have ended."""

    time: str
    """The time, ISO 8601 in UTC."""
    daemon: PageDaemonShape
    """The daemon and its machine."""
    containers: list[PageContainerShape]
    """The containers that run, by name; then, if they are asked for, those that have ended, the last one first."""
    ended: int
    """How many containers have ended that Docker still knows."""


class EventShape(TypedDict):
    """`vtapd events --json` prints one of these per line. Further keys depend on the event."""

    time: str | None
    """The time, ISO 8601 in UTC."""
    event: str
    """One of the events listed below."""
    container: str | None
    """The container's name, if the event is about one."""
    level: str
    """`info`; `warning`: the daemon tries again; `error`: an operator must act."""
