"""The actions that every plan consists of, as values. `container.executor` has them carried out."""

from dataclasses import dataclass

from supervisor.core.devices.wake_program import Wakers
from supervisor.core.links import DeviceNumber, Hooks, Interface, Route, Tap
from supervisor.core.record import Record


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """Write this record to disk before the next action."""

    record: Record


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """Delete the record: nothing is left to undo."""


@dataclass(frozen=True, slots=True)
class LinkNetns:
    """Create or correct the symlink under /var/run/netns."""


@dataclass(frozen=True, slots=True)
class UnlinkNetns:
    """Remove it."""


@dataclass(frozen=True, slots=True)
class CreateTap:
    """Create the macvtap of this name on the interface. It is down, so it gets no packets yet."""

    interface: Interface
    name: str
    mac: str


@dataclass(frozen=True, slots=True)
class RaiseTap:
    """Bring the macvtap up with its interface's MTU."""

    tap: Tap
    mtu: int


@dataclass(frozen=True, slots=True)
class DeleteTap:
    """Delete the macvtap."""

    tap: Tap


@dataclass(frozen=True, slots=True)
class RevokeDevice:
    """Deny this device to every other container that has it on record for a tap that is gone, and record that."""

    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class AllowDevice:
    """Add the device rule: the container may open the device."""

    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class DenyDevice:
    """Remove the device rule."""

    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class MakeNode:
    """Create /dev/tap<slot> in the container, or give it to the container's user."""

    slot: int
    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Remove /dev/tap<slot>, if it still has this number."""

    slot: int
    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Take the interface's MAC, addresses and routes for the guest. An interrupted try is continued."""

    original: Interface
    tap: Tap
    reach: tuple[str, ...] = ()
    """The gateways that keep a route of vtapd's own, by which Docker finds the interface."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Give the interface its MAC, addresses and routes back. An interrupted try is continued."""

    original: Interface
    tap: Tap | None
    later: tuple[Route, ...] = ()
    """Its routes that also need another interface, which is still taken over or gone: the kernel may refuse them."""


@dataclass(frozen=True, slots=True)
class OpenPrivateLink:
    """Connect the guest on this tap and the container by a private link, or complete it.

    The container has the address on it, and the guest has the addresses of the original.
    """

    original: Interface
    interface: Interface
    tap: Tap
    hooks: Hooks
    """What is on their hooks now."""
    address: str


@dataclass(frozen=True, slots=True)
class ClosePrivateLink:
    """Remove what is there of the private link on this interface and tap."""

    interface: Interface | None
    """None if it is gone, and what was on it."""
    tap: Tap | None
    address: str | None
    """The container's address on it; None if it stays for the link on another interface."""
    own_clsact: bool
    """The interface got its hooks from vtapd. They go, unless another program uses them."""


@dataclass(frozen=True, slots=True)
class SetWakeFilter:
    """Let only those packets reach the tap that wake its guest."""

    tap: Tap
    wakers: Wakers


@dataclass(frozen=True, slots=True)
class RemoveWakeFilter:
    """Let all packets reach the tap again."""

    tap: Tap
    linked: bool
    """A private link uses the tap's hooks, too: they stay."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """What a network card of a guest is connected to: the interface as Docker made it, and its tap."""

    original: Interface
    tap: Tap
    slot: int


@dataclass(frozen=True, slots=True)
class StartGuest:
    """Start QEMU with a network card on each of these taps, in this order."""

    uplinks: tuple[Uplink, ...]
    others: tuple[Interface, ...] = ()
    """The interfaces that the guest is given no card on though nothing failed on them; the container keeps them."""


@dataclass(frozen=True, slots=True)
class KeepSnapshot:
    """Take the snapshot of a guest that is ready, or have a QEMU wait to restore it, with cards on these taps."""

    uplinks: tuple[Uplink, ...]


@dataclass(frozen=True, slots=True)
class RefreshGuest:
    """Move the guest that runs to another QEMU, with cards on these taps."""

    uplinks: tuple[Uplink, ...]


@dataclass(frozen=True, slots=True)
class PlugNic:
    """Add a network card to the running guest."""

    uplink: Uplink


@dataclass(frozen=True, slots=True)
class UnplugNic:
    """Remove a card from the running guest, which has another card."""

    slot: int


@dataclass(frozen=True, slots=True)
class StopGuest:
    """Stop the guest, gracefully if its kind can."""

    again: bool = False
    """It is started again, and this does not count as a crash: it lost its network, or its container was signalled."""
    not_before_s: float = 0.0
    """The earliest time of that start, in seconds since boot."""


@dataclass(frozen=True, slots=True)
class SleepGuest:
    """Keep what is to be kept of the guest, and end its QEMU."""


@dataclass(frozen=True, slots=True)
class ResumeGuest:
    """Let the guest go on that was about to fall asleep: its QEMU still runs."""


@dataclass(frozen=True, slots=True)
class MarkReady:
    """Create /dev/vtapd-ready in the container, for its health check."""


@dataclass(frozen=True, slots=True)
class UnmarkReady:
    """Remove /dev/vtapd-ready."""


@dataclass(frozen=True, slots=True)
class MarkExit:
    """Write /dev/vtapd-exit in the container, for its init."""

    status: int


@dataclass(frozen=True, slots=True)
class UnmarkExit:
    """Remove /dev/vtapd-exit."""


Action = (
    WriteRecord
    | DeleteRecord
    | LinkNetns
    | UnlinkNetns
    | CreateTap
    | RaiseTap
    | DeleteTap
    | RevokeDevice
    | AllowDevice
    | DenyDevice
    | MakeNode
    | RemoveNode
    | TakeOver
    | GiveBack
    | OpenPrivateLink
    | ClosePrivateLink
    | StartGuest
    | KeepSnapshot
    | RefreshGuest
    | PlugNic
    | UnplugNic
    | StopGuest
    | SetWakeFilter
    | RemoveWakeFilter
    | SleepGuest
    | ResumeGuest
    | MarkReady
    | MarkExit
    | UnmarkExit
    | UnmarkReady
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A kind of action on one interface. If it fails, this rests for a while, and everything else goes on."""

    kind: type[Action]
    interface: str | None = None
    """None: it concerns the container as a whole."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An action, and the interface that it is for."""

    action: Action
    interface: str | None = None

    @property
    def attempt(self) -> Attempt:
        """What fails if this action fails."""
        return Attempt(type(self.action), self.interface)
