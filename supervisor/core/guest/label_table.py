"""LABELS: each label of a container that vtapd reads, once.

The parser of labels, the refusal of unknown ones, `[limits] image_labels` and the page vtapd-labels(7) all use this
table. A new label is an entry here, a field in `spec`, and a test.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from supervisor.core.attach.selection import PREFIX
from supervisor.core.guest import label_parsers as parsers
from supervisor.core.guest.health_spec import Aliveness, Readiness, parse_alive, parse_ready
from supervisor.core.guest.idle_spec import Idle, parse_idle
from supervisor.core.guest.spec import DISK, SHARE, AddressPlan, RestartPolicy
from supervisor.core.kinds import KINDS
from supervisor.core.units import parse_duration, parse_size

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)  # no slots: Label[T_co](…) fails with them before Python 3.12
class Label(Generic[T_co]):
    """One label, or a numbered family of labels."""

    name: str
    """Without the prefix `vtapd.` and without the number."""
    values: str
    """The form of a value, for people, in Markdown."""
    parse: Callable[[str], T_co]
    """Raises ValueError, which says what is allowed."""
    default: T_co
    """The value if the label is not set. None: the configuration or another label decides."""
    shown_default: str
    """The same, for people, in Markdown."""
    doc: str
    """A paragraph in Markdown."""
    image_may_set: bool = True
    """False for labels that reach outside the container: onto its network, to the host's KVM, onto a command line that
    all processes of the host can read. An image may not set these unless `[limits] image_labels` allows it."""
    is_numbered: bool = False

    @property
    def key(self) -> str:
        """The label as people write it."""
        return f"{PREFIX}{self.name}{'.N' if self.is_numbered else ''}"


KERNEL = Label[str | None](
    "kernel", "*path*", parsers.parse_path, None, "none",
    "The image to boot: an absolute path in the container's file system. A container with this label gets a guest.",
)  # fmt: skip
GUEST = Label(
    "guest", f"`auto` | {' | '.join(f'`{kind}`' for kind in KINDS)}", parsers.one_of("auto", *KINDS), "auto", "`auto`",
    "The kind of the guest, see vtapd-guests(7). `auto` finds it by reading the image. If no kind recognises the image,"
    " or more than one does, the kind is `raw`.",
)  # fmt: skip
INITRD = Label[str | None](
    "initrd", "*path*", parsers.parse_path, None, "none",
    "The initial RAM disk: an absolute path in the container's file system.",
)  # fmt: skip
DISKS = Label[parsers.DiskFile | None](
    "disk", "*path*[`:ro`][`,mount=`*where*][`,format=raw` | `,format=qcow2`]", parsers.parse_disk, None, "none",
    "A disk of the guest: a file in the container's file system. *N* is 0 to 99; the guest has its disks in this order."
    " `[limits] disks` says how many it may have."
    " `:ro` makes the disk read-only. `mount=` makes the guest mount it, if its kind can do so."
    " An image may not set `format=qcow2`.",
    is_numbered=True,
)  # fmt: skip
SHARES = Label[parsers.Folder | None](
    "share", "*path*[`:ro`][`,tag=`*name*][`,mount=`*where*][`,by=virtiofs` | `,by=9p`]", parsers.parse_share, None,
    "none",
    "A folder of the container that the guest shares, such as a volume: each sees at once what the other one writes."
    " *N* is 0 to 99; `[limits] shares` says how many there may be. The guest finds it by its tag, which is `share`*N*"
    " if the label has none. `:ro` makes it read-only. `mount=` makes the guest mount it, if its kind can do so."
    " `by=` chooses the protocol among those of the guest's kind, see vtapd-guests(7)."
    " What the container's root owns, the guest reads and writes, and what the guest creates belongs to the container's"
    " root. Of files of other users it has the rights that all users have. What is mounted inside the folder, such as"
    " a volume, is not in the share; give it a share of its own. The path `/` is the container's root folder.",
    is_numbered=True,
)  # fmt: skip
ARGS = Label(
    "args", "*text*", parsers.parse_text, "", "empty",
    "The command line of the guest's program.",
)  # fmt: skip
KERNEL_ARGS = Label(
    "kernel-args", "*text*", parsers.parse_text, "", "empty",
    "Options for the guest's own system, in addition to those of its program (`vtapd.args`). Their form depends on"
    " the kind, see vtapd-guests(7).",
)  # fmt: skip
ENV = Label[bool | tuple[str, ...]](
    "env", "`true` | `false` | *NAME*[`,`*NAME*]…", parsers.parse_names, False, "`false`",
    "With `true` the guest gets the container's environment (`docker run -e`). A variable that the guest's kind cannot"
    " carry is left out, and `vtapd inspect` lists it under `notes`. A kind that takes no environment (`mirage`,"
    " `nanos`, `raw`, Unikraft before 0.16) is refused with this label. With names the guest gets these variables;"
    " it is refused if its kind cannot carry one of them. All kinds except `rumprun` have the variables on QEMU's"
    " command line, which other users of the host can read.",
    image_may_set=False,
)  # fmt: skip
SCREEN = Label(
    "screen", "`true` | `false`", parsers.parse_flag, False, "`false`",
    "With `true` the guest has a VGA card, and `vtapd screen` shows its screen. A `rumprun` guest then writes its"
    " console to the screen: `docker logs` stays empty, and only `vtapd.alive` notices that the guest ended.",
)  # fmt: skip
MEMORY = Label[int | None](
    "memory", "*size*, such as `64M` or `1G`", parse_size, None, "see below",
    "The guest's memory. Without this label it is the container's memory limit, less the share of QEMU itself"
    " (`[guest] overhead`). If the container has no limit, it is `[guest] memory`. The label and the share of QEMU must"
    " fit into the container's limit.",
)  # fmt: skip
CPUS = Label(
    "cpus", "*count*", parsers.parse_count, 1, "`1`",
    "The number of virtual processors. A `linux` guest gets as many queues on each network card, up to 8.",
)  # fmt: skip
ADDRESS = Label(
    "address", "`takeover` | *A.B.C.D*`/`*P*[`,`*gateway*] | `dhcp` | `none`", parsers.parse_address, AddressPlan(),
    "`takeover`",
    "The addresses of the guest. With `takeover` the guest has the container's MAC addresses, IP addresses, routes and"
    " MTUs, and published ports reach the guest. With an address of its own the guest has this address, and the"
    " container keeps its own. With `dhcp` or `none` the guest configures its network itself.",
    image_may_set=False,
)  # fmt: skip
RESTART = Label(
    "restart", "`no` | `on-failure`[`:`*N*] | `always` | `unless-stopped`", parsers.parse_restart, RestartPolicy(),
    "`on-failure`",
    "Whether the guest is started again after it ended. `no`: never. `on-failure`: after a crash, with `:N` at most N"
    " times in a row. `always` and `unless-stopped`: also after a clean exit. None of them starts a guest again that an"
    " operator stopped. A crash is any end except a clean exit and a stop that an operator ordered.",
)  # fmt: skip
ON_EXIT = Label(
    "on-exit", "`stop` | `keep`", parsers.one_of("stop", "keep"), "stop", "`stop`",
    "What happens to the container after its guest ended and will not be started again. `stop` stops the container."
    " `keep` gives its network back and leaves it running.",
)  # fmt: skip
READY = Label[Readiness | None](
    "ready", "`none` | `tcp:`*port* | `http:`*port*`/`*path* | `ping` | `console:`*regex*", parse_ready, None, "`none`",
    "When the guest counts as ready: it accepts a TCP connection, it answers a GET with status 200 to 399, it"
    " answers an ICMP echo, or a line of its console"
    " matches the regular expression (RE2 syntax). With `none` the guest never gets further than `running`."
    " With `vtapd.address=dhcp` or `none` vtapd does not know where to ask: only `console` is possible then.",
)  # fmt: skip
ALIVE = Label[Aliveness | None](
    "alive", "`tcp:`*port* | `http:`*port*`/`*path* | `ping`, then [`,every=`*duration*][`,fails=`*N*]",
    parse_alive, None, "no check",
    "A check that goes on while the guest runs, every 5 seconds by default. If the guest misses 3 answers in a row"
    " (`fails`), it is ended with the reason `hang`. From its first missed answer until it answers again it is not"
    " ready. The check begins when the guest is ready. Without `vtapd.ready` a guest may take `[guest] hang_after` for"
    " its first answer. Not possible with `vtapd.address=dhcp` or `none`.",
)  # fmt: skip
SNAPSHOT = Label[tuple[bool, bool]](
    "snapshot", "`off` | `ready`[`,standby`]", parsers.parse_snapshot, (False, False), "`off`",
    "With `ready` a crash does not boot the guest again, but restores the state in which it was when it was ready."
    " `standby` has another QEMU wait for that, which takes its memory and no processor time. `vtapd.ready` must be"
    " set, and no disk may be written to; it is not possible with `vtapd.share.N`. The guest's memory counts twice"
    " towards the container's limit, and the share of QEMU twice, or three times with `standby`. See vtapd-guests(7).",
)  # fmt: skip
IDLE = Label[Idle | None](
    "idle", "`off` | *duration*[`,suspend` | `,stop`]", parse_idle, None, "`off`",
    "The guest falls asleep after so long without packets, such as `5m`, and the first packet for it wakes it. With"
    " `suspend`, the default, its state is kept on disk, and it goes on where it was, with its connections. With `stop`"
    " it is stopped, and boots when it is woken. See SLEEP in vtapd-guests(7). Not possible with"
    " `vtapd.address=dhcp` or `none`; with `vtapd.share.N` only `,stop` is.",
)  # fmt: skip
STOP_TIMEOUT = Label[float | None](
    "stop-timeout", "*duration*, such as `10s` or `1m`", parse_duration, None, "`[guest] stop_timeout`",
    "How long the guest may take to shut down before it is killed.",
)  # fmt: skip
ACCEL = Label[str | None](
    "accel", "`auto` | `kvm` | `tcg`", str, None, "`[guest] accel`",  # label_checks compares it with the policy
    "The accelerator. `tcg` is emulation. `auto` is `kvm` if a test proved that KVM works, else `tcg`."
    " `[limits] accels` says which ones are allowed.",
    image_may_set=False,
)  # fmt: skip
MACHINE = Label[str | None](
    "machine", "*name*, such as `pc` or `q35`", parsers.parse_machine, None, "the one that the kind needs",
    "QEMU's machine type, which must have a PCI bus. One that this QEMU does not have is refused.",
)  # fmt: skip
ENABLE = Label(
    "enable", "`true` | `false`", parsers.parse_flag, True, "`[attach] containers` decides",
    "With `false` vtapd leaves the container alone: no tap and no guest. With `true` the container gets a tap also if"
    ' the configuration has `[attach] containers = "labelled"`.',
)  # fmt: skip

LABELS: tuple[Label[object], ...] = (
    KERNEL, GUEST, INITRD, DISKS, SHARES, ARGS, KERNEL_ARGS, MACHINE, SCREEN, MEMORY, CPUS, RESTART, ON_EXIT,
    STOP_TIMEOUT, READY, ALIVE, SNAPSHOT, IDLE, ENABLE, ADDRESS, ACCEL, ENV,
)  # fmt: skip

OF_IMAGES = tuple(label.name for label in LABELS if label.image_may_set)
"""The labels that an image may set by default."""

_NUMBERED = re.compile(rf"({re.escape(DISK)}|{re.escape(SHARE)})(0|[1-9][0-9]?)")
_PLAIN = frozenset(label.key for label in LABELS if not label.is_numbered)


def number_of(label: str, family: str) -> int | None:
    """Return N of a label such as `vtapd.disk.N` of the family `vtapd.disk.`, or None for any other label."""
    match = _NUMBERED.fullmatch(label)
    return int(match[2]) if match and match[1] == family else None


def is_known(label: str) -> bool:
    """Return whether a label that begins with `vtapd.` is one of the table's."""
    return label in _PLAIN or _NUMBERED.fullmatch(label) is not None
