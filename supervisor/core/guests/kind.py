"""What vtapd must know of a kind of guest. Each kind is one file beside this one that fills in a GuestKind."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from supervisor.core.guests.network import GuestNetwork
from supervisor.core.guests.refusal import Env


class Stop(Enum):
    """How a guest is asked to end by itself."""

    POWERDOWN = "QMP system_powerdown: the ACPI power button"
    QUIT = "SIGTERM to QEMU, which closes its disks: the kind has no graceful stop"


@dataclass(frozen=True, slots=True)
class Image:
    """The part of a kernel image that tells its kind."""

    head: bytes
    """Its first HEAD_BYTES."""
    markers: frozenset[bytes]
    """Those of the kinds' markers that occur anywhere in it."""

    def has(self, *markers: bytes) -> bool:
        """Whether any of these occurs in it."""
        return not self.markers.isdisjoint(markers)


HEAD_BYTES = 32768


@dataclass(frozen=True, slots=True)
class Boot:
    """What a guest is given at its start."""

    command_line: str = ""
    """QEMU's -append."""
    modules: tuple[bytes, ...] = ()
    """Multiboot modules that come before the user's initrd."""
    notes: tuple[str, ...] = ()
    """For people: what of its network and the like the guest could not be told."""


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
    """A line that tells of an end. `final`: after it the guest does nothing more, though its QEMU may live on."""

    regex: re.Pattern[bytes]
    verdict: Callable[[re.Match[bytes]], Verdict] | None = None
    """None where the line adds nothing to what lines before it told."""
    final: bool = False
    last_words_s: float = 0.0
    """How long a guest is left to speak after a final line, such as the head of a backtrace."""


def exit_code(match: re.Match[bytes]) -> Verdict:
    """For lines whose first group is the program's exit code."""
    return Verdict("guest-exit", int(match[1]))


def panic(_match: re.Match[bytes]) -> Verdict:
    """For lines that tell of a crash."""
    return Verdict("guest-panic")


MANY_QUEUES = 8
"""Beyond which further ones bring nothing, and cost a descriptor and four interrupts each."""
MANY_CARDS = 16
"""As many as anybody wants, and as the PCI bus of QEMU's pc has room for beside other devices."""


@dataclass(frozen=True, slots=True)
class GuestKind:
    """One kind of guest; kinds of several forms are several of these under one name."""

    name: str
    recognise: Callable[[Image], str | None]
    """By what an image is of this kind, in words; None where it is not."""
    boot: Callable[[str, GuestNetwork | None, Env], Boot]
    """From `vtapd.args`, the network and the environment; Rejected names the label that the format cannot carry."""
    stop: Stop
    machine: Machine = Machine()
    most_cards: int = 1
    """On how many interfaces it can be told of its addresses; further ones stay with the container."""
    takes_cards: bool = False
    """Whether it takes network cards while it runs, as a system with PCI hot plug does."""
    most_queues: int = 1
    """How many queues of a card it serves, one on each processor."""
    says_dhcp: bool = False
    """Whether it can be told to ask for its addresses; one that cannot asks by itself, or has none."""
    markers: tuple[bytes, ...] = ()
    console: tuple[ConsolePattern, ...] = ()
    verdict_of_status: Callable[[int], Verdict | None] | None = None
    """What QEMU's own exit status tells, where the guest sets it by an exit device."""

    def queues(self, cpus: int) -> int:
        """Of each card, for a guest with so many processors."""
        return min(cpus, self.most_queues)


def debug_exit_code(status: int) -> int | None:
    """The value that a guest wrote to isa-debug-exit (hw/misc/debugexit.c): QEMU exits with (value << 1) | 1."""
    return status >> 1 if status > 0 and status & 1 else None
