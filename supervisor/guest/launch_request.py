"""What a QEMU is to be started for, and how: the inputs of every start, as values."""

from dataclasses import dataclass

from supervisor.core.attach.actions import StartGuest
from supervisor.core.container import Container, ContainerHandles
from supervisor.core.guest.qemu_inputs import COLD_BOOT, Card, GuestState
from supervisor.core.record import Identity
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.qemu_process import SocketPaths


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start of QEMU depends on that the container knows. The container's handles stay the caller's."""

    container: Container
    handles: ContainerHandles
    step: StartGuest
    resolver: str | None
    """The address on which vtapd answers the guest's DNS queries; None if it does not."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a guest. The container's handles and the cards' taps stay the caller's."""

    container: Container
    handles: ContainerHandles
    plan: GuestPlan
    step: StartGuest
    cards: tuple[Card, ...]
    paths: SocketPaths
    resolver: str | None
    """The address on which vtapd answers its DNS queries; None if it does not."""
    state: GuestState = COLD_BOOT
    folder: BootFolder | None = None
    """QEMU's working directory, which stays the caller's. A QEMU with a copy of another one's memory finds there what
    that one booted from. None: it gets one of its own."""
    identity: Identity | None = None
    """The start that this one must be like; None if it may be like any."""
