"""The type of a guest kind: what vtapd must know of it. Each kind is one file in this folder that makes a GuestKind."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from supervisor.core.guest.spec import Environment
from supervisor.core.kinds.bzimage import command_line_bytes
from supervisor.core.kinds.elf import Note
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.network import GuestNetwork


class Stop(Enum):
    """How a guest is asked to end by itself."""

    POWERDOWN = "QMP system_powerdown: the ACPI power button"
    QUIT = "SIGTERM to QEMU, which closes its disks: the kind has no graceful stop"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that QEMU boots, with what its kind is recognised by."""

    head: bytes
    """Its first HEAD_BYTES."""
    markers: frozenset[bytes]
    """Those of the kinds' markers that occur anywhere in it."""
    entry: Entry
    """How QEMU starts it."""
    notes: tuple[Note, ...] = ()
    """The notes of an ELF file, wherever in it they are."""

    @property
    def room_bytes(self) -> int:
        """How long a command line may be for the way in which QEMU starts it, without the closing zero.

        A longer one is cut off or kills the guest before it can say so (QEMU: pc-bios/optionrom/pvh_main.c for PVH).
        """
        if self.entry is Entry.LINUX:
            return command_line_bytes(self.head) or LINUX_ROOM_BYTES
        return _PVH_ROOM_BYTES if self.entry is Entry.PVH else _ARGUMENT_BYTES

    def has(self, *markers: bytes) -> bool:
        """Whether any of these occurs in it."""
        return not self.markers.isdisjoint(markers)


HEAD_BYTES = 32768
LINUX_ROOM_BYTES = 2047
"""What a Linux kernel takes that does not say it (arch/x86/include/asm/setup.h: COMMAND_LINE_SIZE)."""
_PVH_ROOM_BYTES = 4095
_ARGUMENT_BYTES = 131071
"""No program can be started with a longer argument (man 2 execve: MAX_ARG_STRLEN)."""
KERNEL = "kernel"
"""The name in QEMU's working directory under which it finds the kernel. QEMU puts it in front of a multiboot kernel's
command line (hw/i386/multiboot.c)."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A disk that the guest is to mount."""

    position: int
    """How many disks come before it."""
    where: str
    label: str
    """The label that asks for it, and its value."""
    value: str
    file_system: str | None
    """What the disk's content says: `ext` or `rofs`, None for anything else."""


@dataclass(frozen=True, slots=True)
class BootRequest:
    """What a guest is to be given at its start, before its kind puts that into words."""

    args: str = ""
    """`vtapd.args`: for the program."""
    kernel_args: str = ""
    """`vtapd.kernel-args`: for the guest's own system."""
    network: GuestNetwork | None = None
    """None where the guest cares for its network itself, or nothing is known of it yet."""
    env: Environment = field(default_factory=Environment)
    mounts: tuple[Mount, ...] = ()
    room_bytes: int | None = None
    """How long the command line may be; None where the kind knows no limit."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a guest is given at its start."""

    command_line: str = ""
    """QEMU's -append."""
    modules: tuple[bytes, ...] = ()
    """Multiboot modules that come before the user's initrd."""
    network: GuestNetwork | None = None
    """What of the network the guest is given, if that is not all of it."""
    notes: tuple[str, ...] = ()
    """For people: what of its network and the like is not passed to the guest, a sentence each."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that QEMU is to be."""

    type: str = "pc"
    nic: str = "virtio-net-pci"
    """Never with disable-legacy: rumprun and Unikraft drive nothing but a legacy (transitional) card."""
    devices: tuple[str, ...] = ("pvpanic",)
    boots_disk: bool = False
    """The image is a whole disk that the firmware boots, and no kernel for -kernel."""
    firmware_on_serial: bool = False
    """Whether text that the guest prints by means of the firmware (BIOS interrupt 0x10) goes to the serial port too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a guest ends: a reason of the contract, and a code."""

    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class ConsolePattern:
    """A console line that reports an end. `final`: after it the guest does nothing more, even if QEMU runs on."""

    regex: re.Pattern[bytes]
    verdict: Callable[[re.Match[bytes]], Verdict] | None = None
    """None if the line adds nothing to the lines before it."""
    final: bool = False
    last_words_s: float = 0.0
    """How long a guest may still print after a final line, such as the head of a backtrace."""


def exit_code(match: re.Match[bytes]) -> Verdict:
    """Return the verdict of a line whose first group is the program's exit code."""
    return Verdict("guest-exit", int(match[1]))


def panic(_match: re.Match[bytes]) -> Verdict:
    """Return the verdict of a line that reports a crash."""
    return Verdict("guest-panic")


@dataclass(frozen=True, slots=True)
class KindDoc:
    """What vtapd-guests(7) says of a kind beyond what its other fields say: phrases in Markdown, without a period."""

    recognised: str = ""
    network: str = ""
    environment: str = "none"
    kernel_args: str = "refused"
    ends: str = ""


MANY_QUEUES = 8
"""More queues bring no speed, and each costs a descriptor and four interrupts."""
MANY_CARDS = 16
"""More than containers have in practice; the PCI bus of QEMU's pc has room for them and for the other devices."""


@dataclass(frozen=True, slots=True)
class GuestKind:
    """One kind of guest; kinds of several forms are several of these under one name."""

    name: str
    recognise: Callable[[Image], str | None]
    """By what an image is of this kind, in words; None where it is not."""
    boot: Callable[[BootRequest], Boot]
    """Raises Rejected, naming the label, for what the kind's format cannot carry."""
    stop: Stop
    machine: Machine = Machine()
    most_cards: int = 1
    """On how many interfaces it can be given an address; further ones stay with the container."""
    ip_versions: tuple[int, ...] = (4,)
    """The versions of IP of which it can be given an address. An interface without such an address stays with the
    container. Empty for a kind that is given none: it configures every interface itself.
    """
    takes_cards: bool = False
    """Whether it takes network cards while it runs, as a system with PCI hot plug does."""
    most_queues: int = 1
    """How many queues of a card it serves, one on each processor."""
    most_bytes: int | None = None
    """How long a command line or configuration the guest itself takes, None if it knows no limit of its own."""
    uses_screen: bool = False
    """If there is a VGA card its console is on the screen alone."""
    says_dhcp: bool = False
    """Whether a boot option makes it use DHCP. A kind without such an option uses DHCP by itself, or not at all."""
    markers: tuple[bytes, ...] = ()
    console: tuple[ConsolePattern, ...] = ()
    verdict_of_status: Callable[[int], Verdict | None] | None = None
    """Return the verdict of QEMU's exit status, if the guest sets it by an exit device."""
    doc: KindDoc = KindDoc()

    def room_bytes(self, image: Image) -> int:
        """Return how long the command line or configuration may be, in bytes without a closing zero.

        A bzImage says itself what its kernel takes.
        """
        if image.entry is Entry.LINUX or self.most_bytes is None:
            return image.room_bytes
        return min(image.room_bytes, self.most_bytes)

    def queues(self, cpus: int) -> int:
        """Of each card, for a guest with so many processors."""
        return min(cpus, self.most_queues)


def debug_exit_code(status: int) -> int | None:
    """The value that a guest wrote to isa-debug-exit (hw/misc/debugexit.c): QEMU exits with (value << 1) | 1."""
    return status >> 1 if status > 0 and status & 1 else None
