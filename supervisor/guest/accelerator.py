"""Choose KVM or TCG for a guest; `auto` is decided once, by a test whether KVM works."""

import anyio
import structlog

from supervisor.core.model import User
from supervisor.edges.qemu.kvm_probe import kvm_works

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Accelerator:
    """What one QEMU program can use when it runs as one user."""

    def __init__(self, program: str, user: User) -> None:
        self._program = program
        self._user = user
        self._auto: str | None = None
        self._probing = anyio.Lock()

    async def choose(self, asked: str) -> str:
        """Return kvm or tcg. The first call with `auto` takes up to kvm_probe.DEADLINE_S."""
        if asked != "auto":
            return asked
        async with self._probing:
            if self._auto is None:
                self._auto = "kvm" if await kvm_works(self._program, self._user) else "tcg"
                log.info("accelerator_chosen", accel=self._auto, user=self._user.name)
        return self._auto
