"""Try whether QEMU can build the machine that a container's labels ask for, before anything of it is changed."""

import anyio
import structlog

from supervisor.core.container import Container, User
from supervisor.core.guest.machine_trial import refusal, suspects
from supervisor.core.guest.qemu_argv import trial_arguments
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds.kind import Machine
from supervisor.edges.qemu.trial import complaint_about
from supervisor.edges.qemu.version import Identity, locate

_MOST_REMEMBERED = 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Trials:
    """The trials of one QEMU program as one user. What it accepted is not tried again until it is replaced."""

    def __init__(self, program: str, user: User) -> None:
        self._program = program
        self._user = user
        self._identity: Identity | None = None
        self._accepted: set[tuple[str, ...]] = set()
        self._trying = anyio.Lock()

    async def check(self, container: Container, spec: GuestSpec, accel: str, machine: Machine) -> None:
        """Raise Rejected that names the setting if QEMU refuses it, or Transient if it cannot be asked.

        A program that does not exist is not tried: its start reports that.
        """
        program, identity = locate(self._program)
        if identity is None:
            return
        async with self._trying:
            if identity != self._identity:
                self._identity = identity
                self._accepted.clear()
            complaint = await self._complaint(str(program), spec, accel, machine)
            if not complaint:
                return
            for suspect in suspects(spec, accel):
                if not await self._complaint(str(program), suspect.without, suspect.accel, machine):
                    raise refusal(suspect, complaint, container.labels)
        raise refusal(None, complaint, container.labels)

    async def _complaint(self, program: str, spec: GuestSpec, accel: str, machine: Machine) -> str:
        arguments = trial_arguments(program, spec, accel, machine)
        if tuple(arguments) in self._accepted:
            return ""
        complaint = await complaint_about(arguments, self._user)
        log.debug("machine_tried", machine=spec.machine or machine.type, cpus=spec.cpus, accel=accel, refused=complaint)
        if not complaint:
            if len(self._accepted) >= _MOST_REMEMBERED:
                self._accepted.clear()
            self._accepted.add(tuple(arguments))
        return complaint
