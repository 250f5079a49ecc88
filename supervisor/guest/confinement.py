"""Isolate QEMU from the host's files: build the filesystem sandbox, and prove that QEMU runs in it."""

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import structlog

from supervisor.core.container import User
from supervisor.edges import threads
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.edges.qemu.reaper_socket import SpawnOrder
from supervisor.edges.qemu.sandbox import Sandbox
from supervisor.edges.qemu.version import Identity, locate
from supervisor.errors import Permanent, Step, VtapdError
from supervisor.guest.reaper import Reaper

_PROOF_S = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LaunchEnvironment:
    """The program to start as QEMU, and the file system that it gets."""

    program: str
    namespaces: tuple[tuple[int, int], ...] = ()
    """Descriptors of the namespaces to enter, each with its CLONE_ flag."""


class Confinement:
    """The sandbox for one configuration of QEMU. Another configuration gets a new object, and then this is closed."""

    def __init__(self, program: str, mode: str, base: Path, user: User, reaper: Reaper) -> None:
        """`mode` is [guest] sandbox. `base` is a folder that the sandbox covers; `user` is for the proof."""
        self._program = program
        self._mode = mode
        self._base = base
        self._user = user
        self._reaper = reaper
        self._identity: Identity | None = None
        self._sandbox: Sandbox | None = None
        self._building = anyio.Lock()
        self._closed = False

    async def prepare(self) -> None:
        """Build the sandbox before the first guest needs it. Errors are left for that guest to report."""
        with suppress(VtapdError, OSError), ExitStack() as owned:
            if not self._closed:
                await self.launch_environment(owned)

    async def launch_environment(self, owned: ExitStack) -> LaunchEnvironment:
        """Return where to start QEMU: in its sandbox, or among the host's files if there can be no sandbox.

        `owned` closes the descriptors in it. A program that was replaced gets a new sandbox. Raises Permanent if the
        configuration requires a sandbox that cannot be.
        """
        program, identity = locate(self._program)
        if identity is None or self._mode == "off":
            return LaunchEnvironment(str(program))
        async with self._building:
            if identity != self._identity or (self._mode == "required" and self._sandbox is None):
                await self._build(program)
                self._identity = identity
            sandbox = self._sandbox
            namespaces = sandbox.namespaces(owned) if sandbox else ()
        return LaunchEnvironment(str(program), tuple(namespaces))

    async def close(self) -> None:
        """Close the sandbox, after one that is being built is complete. A QEMU that runs in it keeps it."""
        async with self._building:
            self._closed = True
            self._discard()

    def _discard(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = self._identity = None

    async def _build(self, program: Path) -> None:
        self._discard()
        try:
            self._sandbox = await self._proven(program)
            log.info("sandbox_built", program=str(program))
        except Permanent as error:
            if self._mode == "required":
                raise
            log.warning("sandbox_unavailable", error=str(error), until="QEMU is installed again or vtapd starts again")

    async def _proven(self, program: Path) -> Sandbox:
        """Return a new sandbox in which QEMU was seen to run."""
        sandbox = await threads.run_in_thread(partial(Sandbox, program, self._base))
        try:
            complaint = await self._try(program, sandbox)
        except Permanent as error:  # the program's interpreter is missing in the sandbox, for example
            complaint = error.message
        except BaseException:
            sandbox.close()
            raise
        if complaint:
            sandbox.close()
            raise Permanent(
                f"QEMU does not run in a file system of its own: {complaint}",
                step=Step.SANDBOX,
                remedy="install QEMU under /usr, /usr/local or /opt as its packages do",
            )
        return sandbox

    async def _try(self, program: Path, sandbox: Sandbox) -> str:
        """Run `qemu --version` in the sandbox. Return why that failed, or an empty string."""
        with ExitStack() as owned:
            folder = BootFolder()
            owned.callback(folder.close)
            namespaces = sandbox.namespaces(owned)
            arguments = (str(program), "--version")
            order = SpawnOrder(str(program), arguments, self._user, folder.descriptor, namespaces=namespaces)
            child = await self._reaper.spawn(order)
        try:
            with anyio.move_on_after(_PROOF_S):
                await anyio.wait_readable(child.pidfd)
            child.kill()
            with anyio.move_on_after(_PROOF_S) as ends:
                await anyio.wait_readable(child.pidfd)
            if ends.cancelled_caught:
                return f"it cannot be killed within {_PROOF_S:g} s"
            report = await self._reaper.report_of(child)
            return "" if report.status == 0 else report.complaint or "it fails without a message"
        finally:
            child.close()
