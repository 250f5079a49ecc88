"""What all guests share: the configuration, the edges that they use, and which accelerator works."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import structlog

from supervisor.config import Config
from supervisor.core.model import User
from supervisor.edges.docker import Docker
from supervisor.edges.qemu.kvm_probe import kvm_works
from supervisor.guest.confinement import Confinement
from supervisor.observability.metrics import Counters

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(kw_only=True)
class GuestContext:
    """The part of the daemon's context that a guest may know."""

    config: Config
    docker: Docker
    user: User
    counters: Counters
    confinement: Confinement
    chance: Callable[[], float] = random.random
    """Spreads restart delays; in [0, 1)."""
    _accelerator: str | None = None
    _probing: anyio.Lock = field(default_factory=anyio.Lock)

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
