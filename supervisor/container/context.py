"""What all workers share: the configuration, the edges that are one a daemon, and what was found out at start."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import structlog

from supervisor.config import Config
from supervisor.container.early_attach import Arrivals
from supervisor.container.record import Ledgers
from supervisor.container.recovery import Leftovers
from supervisor.core.model import User
from supervisor.edges.docker import Docker
from supervisor.edges.qemu.kvm_probe import kvm_works
from supervisor.guest.confinement import Confinement
from supervisor.observability.metrics import Counters

if TYPE_CHECKING:
    from supervisor.edges.systemd.dbus import Systemd  # loaded only where there is one

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass
class Context:
    """One of these a daemon."""

    config: Config
    docker: Docker
    ledgers: Ledgers
    user: User
    counters: Counters
    leftovers: Leftovers
    confinement: Confinement
    arrivals: Arrivals = field(default_factory=Arrivals)
    systemd: "Systemd | None" = None
    """Where systemd is the machine's init and its bus answered."""
    chance: Callable[[], float] = random.random
    """Spreads restart delays; in [0, 1)."""
    _accelerator: str | None = None
    _probing: anyio.Lock = field(default_factory=anyio.Lock)

    def leave_systemd(self) -> None:
        """Hang up, if there is a connection."""
        if self.systemd is not None:
            self.systemd.close()
            self.systemd = None

    def forget_accelerator(self) -> None:
        """QEMU, or whom guests run as, is another one: find out again when it is asked for."""
        self._accelerator = None

    async def accelerator(self, asked: str) -> str:
        """kvm or tcg for what was asked. `auto` proves KVM once, which takes at most kvm.DEADLINE_S."""
        if asked != "auto":
            return asked
        async with self._probing:
            if self._accelerator is None:
                works = await kvm_works(self.config.guest.qemu, self.user)
                self._accelerator = "kvm" if works else "tcg"
                log.info("accelerator_chosen", accel=self._accelerator, user=self.user.name)
        return self._accelerator
