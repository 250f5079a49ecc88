"""What all workers share: what guests share, the records, and what was found at the daemon's start."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supervisor.container.early_attach import Arrivals
from supervisor.container.record import Ledgers
from supervisor.container.recovery import Leftovers
from supervisor.guest.context import GuestContext

if TYPE_CHECKING:
    from supervisor.edges.systemd.dbus import Systemd  # loaded only under systemd


@dataclass(kw_only=True)
class Context(GuestContext):
    """One of these a daemon."""

    ledgers: Ledgers
    leftovers: Leftovers
    arrivals: Arrivals = field(default_factory=Arrivals)
    systemd: "Systemd | None" = None
    """If systemd is the machine's init and its bus answered."""

    def leave_systemd(self) -> None:
        """Hang up, if there is a connection."""
        if self.systemd is not None:
            self.systemd.close()
            self.systemd = None
