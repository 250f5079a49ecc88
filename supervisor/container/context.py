"""What all workers share: what guests share, the records, and what was found at the daemon's start."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supervisor.container.early_attach import EarlyAttach
from supervisor.container.record import ContainerRecords
from supervisor.container.recovery import Leftovers
from supervisor.guest.context import GuestContext

if TYPE_CHECKING:
    from supervisor.edges.systemd.dbus import Systemd  # loaded only under systemd


@dataclass(kw_only=True)
class Context(GuestContext):
    """There is one in a daemon."""

    records: ContainerRecords
    leftovers: Leftovers
    early_attach: EarlyAttach = field(default_factory=EarlyAttach)
    systemd: "Systemd | None" = None
    """If systemd is the machine's init and its bus answered."""

    def leave_systemd(self) -> None:
        """Close the connection, if there is one."""
        if self.systemd is not None:
            self.systemd.close()
            self.systemd = None
