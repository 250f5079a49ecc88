"""What vtapd must know about a kind of guest. Each kind is one file in this folder, with a GuestKind."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from supervisor.core.guest.spec import Environment
from supervisor.core.kinds import quoting
from supervisor.core.kinds.bzimage import command_line_bytes
from supervisor.core.kinds.elf import Note
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.kinds.shares import SharedFolder


class Stop(Enum):
    """How a guest is stopped gracefully."""

    POWERDOWN = "QMP system_powerdown: the ACPI power button"
    QUIT = "SIGTERM to QEMU, which closes its disks: the kind has no graceful stop"


@dataclass(frozen=True, slots=True)
class Image:
    """The parts of a bootable image by which kinds recognise it."""

    head: bytes
    """Its first HEAD_BYTES."""
    markers: frozenset[bytes]
    """The kinds' markers that occur anywhere in it."""
    entry: Entry
    """How QEMU starts it."""
    notes: tuple[Note, ...] = ()
    """The notes of an ELF file, wherever in it they are."""
    end: int = 0
    """The address that it needs memory up to, at the least; 0 if it does not say."""

    @property
    def room_bytes(self) -> int:
        """How long a command line may be, without the closing zero, given how QEMU starts the image.

        A longer one is cut off, or crashes the guest before it can print anything (QEMU:
        pc-bios/optionrom/pvh_main.c for PVH).
        """
        if self.entry is Entry.LINUX:
            return command_line_bytes(self.head) or LINUX_ROOM_BYTES
        return _PVH_ROOM_BYTES if self.entry is Entry.PVH else _ARGUMENT_BYTES

    def has(self, *markers: bytes) -> bool:
        """Return whether any of these markers occurs in it."""
        return not self.markers.isdisjoint(markers)


HEAD_BYTES = 32768
LINUX_ROOM_BYTES = 2047
"""The limit of a Linux kernel that does not state one (arch/x86/include/asm/setup.h: COMMAND_LINE_SIZE)."""
_PVH_ROOM_BYTES = 4095
_ARGUMENT_BYTES = 131071
"""The longest argument that a program can be started with (man 2 execve: MAX_ARG_STRLEN)."""
KERNEL = "kernel"
"""The name in QEMU's working directory under which it finds the kernel. QEMU puts it in front of a multiboot kernel's
command line (hw/i386/multiboot.c)."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A disk that the guest has to mount."""

    position: int
    """How many disks come before it."""
    where: str
    label: str
    """The label that asks for it, and its value."""
    value: str
    file_system: str | None
    """The disk's file system by its content: `ext` or `rofs`, None for any other."""


@dataclass(frozen=True, slots=True)
class BootRequest:
    """What a guest has to get at its start, before its kind formats it."""

    args: str = ""
    """`vtapd.args`: for the program."""
    kernel_args: str = ""
    """`vtapd.kernel-args`: for the guest's own system."""
    network: GuestNetwork | None = None
    """None if the guest configures its network itself, or if nothing is known of it yet."""
    env: Environment = field(default_factory=Environment)
    mounts: tuple[Mount, ...] = ()
    shares: tuple[SharedFolder, ...] = ()
    room_bytes: int | None = None
    """How long the command line may be; None if the kind has no limit."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a guest gets at its start."""

    command_line: str = ""
    """QEMU's -append."""
    modules: tuple[bytes, ...] = ()
    """Multiboot modules that come before the user's initrd."""
    network: GuestNetwork | None = None
    """The part of the network that the guest gets; None for the whole."""
    notes: tuple[str, ...] = ()
    """For people: one sentence for each part of the request that the guest does not get."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that QEMU emulates."""

    type: str = "pc"
    nic: str = "virtio-net-pci"
    """Never with disable-legacy: rumprun and Unikraft have drivers only for a legacy (transitional) card."""
    devices: tuple[str, ...] = ("pvpanic",)
    boots_disk: bool = False
    """Whether the image is a whole disk that the firmware boots, not a kernel for -kernel."""
    firmware_on_serial: bool = False
    """Whether text that the guest prints through the firmware (BIOS interrupt 0x10) is on the serial port too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a guest exits: one of EXIT_REASONS, and a code."""

    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class ConsolePattern:
    """A line that shows that the guest exits. After a `final` one it does nothing more, but QEMU may run on."""

    regex: re.Pattern[bytes]
    verdict: Callable[[re.Match[bytes]], Verdict] | None = None
    """None if the line adds nothing to the lines before it."""
    final: bool = False
    last_words_s: float = 0.0
    """How long a guest may print more after a final line, such as the first line of a backtrace."""


def exit_code(match: re.Match[bytes]) -> Verdict:
    """Return the verdict of a line whose first group is the program's exit code."""
    return Verdict("guest-exit", int(match[1]))


def panic(_match: re.Match[bytes]) -> Verdict:
    """Return the verdict of a line that shows a crash."""
    return Verdict("guest-panic")


@dataclass(frozen=True, slots=True)
class KindDoc:
    """Phrases about a kind for vtapd-guests(7), in Markdown, without a period. The other fields say the rest."""

    recognised: str = ""
    network: str = ""
    environment: str = "none"
    kernel_args: str = "refused"
    share_mount: str = "the guest's own programs do it"
    ends: str = ""


MANY_QUEUES = 8
"""More queues bring no speed, and each costs a descriptor and four interrupts."""
MANY_CARDS = 16
"""As many as the PCI bus of QEMU's pc has room for, in addition to the other devices."""


@dataclass(frozen=True, slots=True)
class GuestKind:
    """One form of a kind of guest. A kind with several forms has several of these, with the same name."""

    name: str
    recognise: Callable[[Image], str | None]
    """Return the signs of this kind that the image has, as text, or None if it is not of this kind."""
    boot: Callable[[BootRequest], Boot]
    """Format the request. Raises Rejected that names the label whose value the format cannot carry."""
    stop: Stop
    machine: Machine = Machine()
    most_cards: int = 1
    """How many cards it can have. Interfaces without a card stay with the container."""
    ip_versions: tuple[int, ...] = (4,)
    """The IP versions whose addresses it can get. An interface without such an address stays with the container.
    Empty for a kind that gets no addresses: it configures every interface itself.
    """
    format_words: Callable[[Sequence[str]], str] = quoting.bare
    """Write the container's command as `vtapd.args`. Raises ValueError that says what is allowed."""
    takes_cards: bool = False
    """Whether network cards can be added while it runs, as to a system with PCI hot plug."""
    most_queues: int = 1
    """How many queues of a card it uses, one on each processor."""
    most_bytes: int | None = None
    """How long a command line or configuration the guest itself accepts; None for no limit."""
    uses_screen: bool = False
    """Whether with a VGA card its console is on the screen only."""
    shares: tuple[str, ...] = ()
    """The protocols by which it can share a folder, the preferred one first."""
    takes_dhcp: bool = False
    """Whether it can be configured to use DHCP. A kind that cannot uses DHCP by itself, or has no addresses."""
    markers: tuple[bytes, ...] = ()
    console: tuple[ConsolePattern, ...] = ()
    verdict_of_status: Callable[[int], Verdict | None] | None = None
    """Return the verdict of QEMU's exit status, if the guest sets it by an exit device."""
    doc: KindDoc = KindDoc()

    def room_bytes(self, image: Image) -> int:
        """Return how long the command line or configuration may be, in bytes without a closing zero.

        A bzImage states the limit of its kernel.
        """
        if image.entry is Entry.LINUX or self.most_bytes is None:
            return image.room_bytes
        return min(image.room_bytes, self.most_bytes)

    def queues(self, cpus: int) -> int:
        """Return how many queues each card has, for a guest with this many processors."""
        return min(cpus, self.most_queues)


def debug_exit_code(status: int) -> int | None:
    """Return the value that a guest wrote to isa-debug-exit (hw/misc/debugexit.c): QEMU exits with (value << 1) | 1."""
    return status >> 1 if status > 0 and status & 1 else None
