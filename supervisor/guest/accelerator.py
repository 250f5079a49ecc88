"""Choose KVM or TCG for a guest; `auto` is decided by a test whether KVM works."""

import anyio
import structlog

from supervisor.core.container import User
from supervisor.edges.qemu.kvm_probe import kvm_works, observe_device
from supervisor.edges.qemu.version import Identity, locate

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Accelerator:
    """What one QEMU program can use when it runs as one user."""

    def __init__(self, program: str, user: User) -> None:
        self._program = program
        self._user = user
        self._auto: str | None = None
        self._tested: tuple[Identity | None, Identity | None] | None = None
        """The program and the device that `auto` was decided for."""
        self._probing = anyio.Lock()

    @property
    def kvm_works(self) -> bool | None:
        """Whether KVM worked when it was tested last; None if no guest needed the test."""
        return None if self._auto is None else self._auto == "kvm"

    async def choose(self, asked: str) -> str:
        """Return kvm or tcg. The first call with `auto` takes up to kvm_probe.DEADLINE_S.

        It is tested again after QEMU was replaced, or /dev/kvm has appeared, gone or got other rights.
        """
        if asked != "auto":
            return asked
        async with self._probing:
            found = locate(self._program)[1], observe_device()
            if self._auto is None or found != self._tested:
                self._tested = found
                self._auto = "kvm" if await kvm_works(self._program, self._user) else "tcg"
                log.info("accelerator_chosen", accel=self._auto, user=self._user.name)
        return self._auto
