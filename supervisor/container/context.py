"""What all workers share: what guests share, the records, and what was found at the daemon's start."""

from dataclasses import dataclass, field

from supervisor.container.early_attach import EarlyAttach
from supervisor.container.ended import EndedContainers
from supervisor.container.record import ContainerRecords
from supervisor.container.recovery import Leftovers
from supervisor.container.systemd_link import SystemdLink
from supervisor.guest.context import GuestContext


@dataclass(kw_only=True)
class Context(GuestContext):
    """There is one in a daemon."""

    records: ContainerRecords
    ended: EndedContainers
    leftovers: Leftovers
    early_attach: EarlyAttach = field(default_factory=EarlyAttach)
    systemd: SystemdLink = field(default_factory=SystemdLink)
