"""What vtapd must know of a kind of guest. Each kind is one file beside this one that fills in a GuestKind."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from supervisor.core.model import Address, Interface
from supervisor.errors import Rejected


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


HEAD_BYTES = 32768


@dataclass(frozen=True, slots=True)
class GuestNetwork:
    """What the guest's first interface is to be."""

    mac: str
    mtu: int
    address: Address
    gateway: str | None
    hostname: str

    @property
    def netmask(self) -> str:
        """255.255.0.0 for /16."""
        return str(ipaddress.ip_network(f"0.0.0.0/{self.address.prefix}").netmask)


@dataclass(frozen=True, slots=True)
class Boot:
    """What a kernel is given: its command line (QEMU's -append) and modules that come before the user's initrd."""

    command_line: str = ""
    modules: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a line on the console says about how the guest ends: a reason of the contract, and a code."""

    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class ConsolePattern:
    """A line that tells of an end. `final`: after it the guest does nothing more, though its QEMU may live on."""

    regex: re.Pattern[bytes]
    verdict: Callable[[re.Match[bytes]], Verdict] | None = None
    """None where the line adds nothing to what lines before it told."""
    final: bool = False


@dataclass(frozen=True, slots=True)
class GuestKind:
    """One kind of guest."""

    name: str
    recognise: Callable[[Image], bool]
    boot: Callable[[str, GuestNetwork | None], Boot]
    """From the user's `vtapd.args` and the network; ValueError names what the format cannot carry."""
    stop: Stop
    takes_cards: bool = False
    """Whether it takes network cards while it runs, as a system with PCI hot plug does."""
    markers: tuple[bytes, ...] = ()
    console: tuple[ConsolePattern, ...] = ()


def network_of(original: Interface, hostname: str) -> GuestNetwork:
    """What a guest is told when it takes over this interface. Raises Rejected without an IPv4 address."""
    address = original.address(4)
    if address is None:
        raise Rejected(
            f"interface {original.name} has no IPv4 address that a guest could take over",
            step="takeover",
            remedy="put the container on a network with IPv4",
        )
    return GuestNetwork(original.mac, original.mtu, address, original.gateway(4), hostname)
