"""The steps of which every plan is made. What each does is an edge's business; here they are values."""

from dataclasses import dataclass

from supervisor.core.model import DeviceNumber, Interface, Record, Tap


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """Note this, durably, before going on."""

    record: Record


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """Nothing is left to undo."""


@dataclass(frozen=True, slots=True)
class LinkNetns:
    """Make or correct the symlink under /var/run/netns."""


@dataclass(frozen=True, slots=True)
class UnlinkNetns:
    """Remove it."""


@dataclass(frozen=True, slots=True)
class CreateTap:
    """Make the macvtap of this name on the interface. It is down, so it gets no packet yet."""

    interface: Interface
    name: str


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
    """Deny this device to every other container that has it on record, from a tap that is gone, and note it there."""

    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class AllowDevice:
    """Open the device for the container."""

    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class DenyDevice:
    """Close it again."""

    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class MakeNode:
    """Make /dev/tap<slot> in the container."""

    slot: int
    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Remove /dev/tap<slot>, if it still has this number."""

    slot: int
    device: DeviceNumber


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Give the interface's addresses to the tap's guest, from wherever an earlier try stopped."""

    original: Interface
    tap: Tap


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Give the interface its MAC, addresses and routes back, from wherever an earlier try stopped."""

    original: Interface
    tap: Tap | None


@dataclass(frozen=True, slots=True)
class Uplink:
    """What one of a guest's network cards is on: the interface as Docker made it, and its tap."""

    original: Interface
    tap: Tap
    slot: int


@dataclass(frozen=True, slots=True)
class StartGuest:
    """Start QEMU on these taps, the first interface's first."""

    uplinks: tuple[Uplink, ...]
    others: tuple[Interface, ...] = ()
    """The interfaces that it has no card on, which stay with the container."""


@dataclass(frozen=True, slots=True)
class PlugNic:
    """Give a running guest one more card."""

    uplink: Uplink


@dataclass(frozen=True, slots=True)
class UnplugNic:
    """Take from a running guest the card whose tap is gone; it has another one."""

    slot: int


@dataclass(frozen=True, slots=True)
class StopGuest:
    """End QEMU, gracefully where its kind can."""

    again: bool = False
    """Its network went away under it: it is to be started once more, and this was no crash."""


@dataclass(frozen=True, slots=True)
class MarkReady:
    """Make /dev/vtapd-ready in the container, for its health check to see."""


@dataclass(frozen=True, slots=True)
class UnmarkReady:
    """Remove it."""


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
    | StartGuest
    | PlugNic
    | UnplugNic
    | StopGuest
    | MarkReady
    | UnmarkReady
)
