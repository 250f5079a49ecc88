"""What stands between a QEMU and everything else: which file system it lives in, and whom it runs as."""

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import structlog

from supervisor.core.model import Pid, User
from supervisor.edges import threads
from supervisor.edges.kernel import netns, process
from supervisor.edges.qemu import spawn
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.edges.qemu.sandbox import Sandbox
from supervisor.errors import ContainerGone, Permanent, Step, VtapdError

_PROOF_S = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a QEMU is started."""

    program: str
    start: Callable[[threading.Thread], None] = threading.Thread.start
    """Starts a thread that sees the files which that QEMU is to see."""


Identity = tuple[int, int, int]
"""Of a file: what changes when a package brings another one of that name."""


class Confinement:
    """One a daemon."""

    def __init__(self, program: str, sandbox: str, base: Path, user: User, uids: range) -> None:
        self._program = program
        self._mode = sandbox
        self._base = base
        self._user = user
        self._uids = uids
        self._turn = 0
        self._holders: dict[int, tuple[Pid, int]] = {}
        """Pid and start of the guest that runs under a uid."""
        self._identity: Identity | None = None
        self._sandbox: Sandbox | None = None
        self._building = anyio.Lock()

    async def prepare(self) -> None:
        """Build before the first guest waits for it."""
        with suppress(VtapdError):  # the first guest tries again, and tells of it
            await self.place()

    async def change(self, program: str, sandbox: str, user: User, uids: range) -> None:
        """For guests that start from now on.

        Raises a VtapdError, and changes nothing, where QEMU must be walled in and cannot be.
        """
        before = self._program, self._mode, self._user, self._uids
        self._program, self._mode, self._user, self._uids = program, sandbox, user, uids
        if before[:2] == (program, sandbox):
            return
        self._identity = None
        if sandbox == "required":
            try:
                await self.place()
            except VtapdError:
                self._program, self._mode, self._user, self._uids = before
                self._identity = None
                raise

    async def place(self) -> Place:
        """Its own file system, built anew where QEMU was installed anew; or the host's, where none can be had.

        Raises Permanent where the configuration says that it must have one.
        """
        program, identity = _locate(self._program)
        if identity is None or self._mode == "off":
            return Place(str(program))
        async with self._building:
            if identity != self._identity or (self._mode == "required" and self._sandbox is None):
                await self._build(program)
                self._identity = identity
        return Place(str(program), self._sandbox.start) if self._sandbox else Place(str(program))

    async def _build(self, program: Path) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None
        try:
            self._sandbox = await self._proven(program)
            log.info("sandbox_built", program=str(program))
        except Permanent as error:
            if self._mode == "required":
                raise
            log.warning("sandbox_unavailable", error=str(error), until="QEMU is installed anew or vtapd starts again")

    async def _proven(self, program: Path) -> Sandbox:
        """One in which QEMU was seen to find its libraries."""
        sandbox = await threads.run_in_thread(partial(Sandbox, program, self._base))
        try:
            complaint = await self._try(program, sandbox)
        except Permanent as error:  # its interpreter is not there, say
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
        """What is wrong, in words."""
        folder = BootFolder()
        try:
            words = (str(program), "--version")
            ask = partial(spawn.spawn, str(program), words, (), folder.descriptor, self._user, {})
            child = process.watch(*await netns.run_inside(Pid(os.getpid()), {}, ask, sandbox.start))
        finally:
            folder.close()
        try:
            with anyio.move_on_after(_PROOF_S):
                await anyio.wait_readable(child.pidfd)
            child.kill()
            await anyio.wait_readable(child.pidfd)
            return "" if child.reap() == 0 else child.read_stderr() or "it fails without a word"
        finally:
            child.close()

    def next_user(self) -> User:
        """A uid that no living guest has; the user's own where no range is configured."""
        for _ in self._uids:
            uid = self._uids[self._turn % len(self._uids)]
            self._turn += 1
            if not self._is_held(uid):
                return replace(self._user, uid=uid)
        return self._user

    def limits(self, user: User, cpus: int) -> dict[int, int]:
        """What a guest under this user may use of the machine."""
        return spawn.limits_of(cpus, alone=user.uid != self._user.uid)

    def note(self, pid: Pid) -> None:
        """A guest runs: under which uid, /proc says."""
        uid = process.observe_user(pid)
        with suppress(ContainerGone):
            if uid is not None:
                self._holders[uid] = (pid, process.start_ticks(pid))

    def _is_held(self, uid: int) -> bool:
        if uid not in self._holders:
            return False
        pid, ticks = self._holders[uid]
        with suppress(ContainerGone):
            if process.start_ticks(pid) == ticks:
                return True
        del self._holders[uid]
        return False


def _locate(program: str) -> tuple[Path, Identity | None]:
    """Where a program is, with all symlinks resolved; without an identity where there is none."""
    found = shutil.which(program)
    if found is None:
        return Path(program), None
    path = Path(found).resolve()
    status = path.stat()
    return path, (status.st_dev, status.st_ino, status.st_mtime_ns)
