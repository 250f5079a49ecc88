"""The reaper, as the daemon uses it: it is the parent of all guests' QEMUs, and outlives the daemon.

There is one for each run-time folder. One that is missing, ended, hung or of another version is replaced; the guests
live on. Those of a reaper that ended are adopted by the machine's init, and the exit status of such a guest is known
only from Linux 6.15 on.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import anyio
import structlog

from supervisor.core.container import FileOwner, Pid
from supervisor.core.guest.exit_report import ExitReport, parse_exit_report
from supervisor.edges import threads, unix_sockets
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu import reaper_process, reaper_socket
from supervisor.edges.qemu.reaper_socket import SpawnOrder
from supervisor.errors import Step, Transient, VtapdError
from supervisor.reaper.messages import SOCKET_NAME

T = TypeVar("T")

_RETRY_S = 1.0
_INIT_REAPS_S = 3.0
_OLDER = "reaper-*.sock"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ReaperLost(Transient):
    """The reaper ended while it started QEMU, which may run without a record."""


class Reaper:
    """`keep` it in a task group, and `close` it."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / SOCKET_NAME
        self._presence: socket.socket | None = None
        """As long as it is open, the reaper knows that there is a daemon."""
        self._started: Pid | None = None
        """The reaper, if it is a child of this process."""
        self._changing = anyio.Lock()

    def close(self) -> None:
        """Leave the reaper alone: it ends when its last guest has."""
        if self._presence is not None:
            self._presence.close()
            self._presence = None

    async def keep(self, on_found: Callable[[Pid], Awaitable[None]]) -> None:
        """See to it that there is a reaper, for ever. `on_found` is called with each one's pid."""
        while True:
            try:
                await self._ensure()
                watch = reaper_socket.connect(self._path)
            except (VtapdError, OSError) as error:
                log.warning("reaper_unavailable", error=str(error))
                watch = None
            if watch is None:
                await anyio.sleep(_RETRY_S)
                continue
            with watch:
                await on_found(reaper_process.peer(watch))
                await anyio.wait_readable(watch)
            log.warning("reaper_lost", guests="run on; the exit status of those that run now may stay unknown")

    async def spawn(self, order: SpawnOrder) -> Process:
        """Start QEMU as a child of the reaper. Raises Permanent, Transient, or ReaperLost."""
        await self._ensure()
        spawned = None
        with self._connected(self._path) as connection:
            if connection is not None:
                ask = partial(reaper_socket.spawn, connection, order)
                spawned = await self._or_kill(connection, ask, waits_for_others=True)
        if spawned is None:
            raise ReaperLost("the reaper ended while it started QEMU", step=Step.SPAWN)
        return Process(spawned.pid, spawned.pidfd, spawned.start_ticks)

    async def user_namespace(self, inside: FileOwner, outside: FileOwner) -> int:
        """Return a namespace in which the host's user `outside` has the number `inside`. The caller owns it.

        Raises Permanent or Transient.
        """
        await self._ensure()
        namespace = None
        with self._connected(self._path) as connection:
            if connection is not None:
                ask = partial(reaper_socket.user_namespace, connection, inside, outside)
                namespace = await self._or_kill(connection, ask)
        if namespace is None:
            raise Transient("the reaper ended while it made a user namespace", step=Step.SHARE)
        return namespace

    async def report_of(self, process: Process, saved: Path | None = None) -> ExitReport:
        """Return the report of a QEMU whose pidfd is readable; what is not known is None in it."""
        try:
            report = await self.find_report(process.pid, process.start_ticks, saved)
            if report is not None:
                return report
            # It is no child of a reaper. The machine's init has adopted it, and will reap it soon.
            return ExitReport(await threads.run_in_thread(partial(process.await_status, _INIT_REAPS_S)))
        except (VtapdError, OSError) as error:  # the machine is short of descriptors or threads
            log.warning("exit_unknown", pid=process.pid, error=str(error))
            return ExitReport()

    async def find_report(self, pid: Pid, start_ticks: int, saved: Path | None = None) -> ExitReport | None:
        """Return the report of a QEMU that has exited; None if no reaper knows of it. `saved`: where it was saved."""
        for path in chain((self._path,), self._path.parent.glob(_OLDER)):
            with self._connected(path) as connection:
                if connection is None:
                    continue
                ask = partial(reaper_socket.exit_packet, connection, pid, start_ticks)
                report = parse_exit_report(await self._or_kill(connection, ask) or b"", pid, start_ticks)
                if report is not None:
                    return report
        return None if saved is None else _read_saved(saved, pid, start_ticks)

    async def _ensure(self) -> None:
        """Have a reaper that listens, understands this version, and knows that there is a daemon. Raises Transient."""
        async with self._changing:
            if self._presence is not None and reaper_socket.is_open(self._presence) and self._path.is_socket():
                return
            self.close()
            if self._started is not None:
                await reaper_process.collect(self._started)
                self._started = None
            self._presence = await self._greeted() or await self._start()

    async def _greeted(self) -> socket.socket | None:
        """Return a connection to a reaper that runs already, if it is of this version. The caller owns it."""
        connection = reaper_socket.connect(self._path)
        if connection is None:
            return None
        same = await self._or_kill(connection, partial(reaper_socket.hello, connection))
        if same:
            return connection
        connection.close()
        if same is False:  # it goes on with its guests, and is asked for their exits under another name
            self._path.rename(self._path.with_name(f"reaper-{os.getpid()}-{os.urandom(4).hex()}.sock"))
        return None

    async def _start(self) -> socket.socket:
        with unix_sockets.listen(self._path, kind=socket.SOCK_SEQPACKET) as listener:
            self._started = reaper_process.start(listener)
        log.info("reaper_started", pid=self._started)
        connection = await self._greeted()
        if connection is None:
            raise Transient("the reaper does not start", step=Step.SPAWN)
        return connection

    async def _or_kill(
        self, connection: socket.socket, ask: Callable[[], Awaitable[T]], *, waits_for_others: bool = False
    ) -> T | None:
        """Return what the reaper answers. One that does not answer is killed: containers cannot end without it.

        If it `waits_for_others`, and answers a greeting meanwhile, it does not hang. Then this raises Transient; the
        reaper kills what it has begun for a connection that is closed.
        """
        try:
            return await ask()
        except TimeoutError:
            if waits_for_others and await self._answers():
                remedy = "see why it takes so long to read the program: is the disk busy?"
                raise Transient("the program of QEMU does not start", step=Step.SPAWN, remedy=remedy) from None
            log.error("reaper_hangs", until="it is killed, and another one is started")
            await reaper_process.kill(connection)
            return None

    async def _answers(self) -> bool:
        with self._connected(self._path) as connection:
            try:
                return connection is not None and await reaper_socket.hello(connection) is not None
            except TimeoutError:
                return False

    @contextmanager
    def _connected(self, path: Path) -> Iterator[socket.socket | None]:
        connection = reaper_socket.connect(path)
        if connection is None:
            if path != self._path:
                path.unlink(missing_ok=True)
            yield None
            return
        with connection:
            yield connection


def _read_saved(path: Path, pid: Pid, start_ticks: int) -> ExitReport | None:
    try:
        return parse_exit_report(path.read_bytes(), pid, start_ticks)
    except OSError:
        return None
