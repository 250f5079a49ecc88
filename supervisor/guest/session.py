"""Follow one running QEMU, started or adopted: watch it, stop it, report its exit.

It decides nothing about restarts. When QEMU has exited it leaves the evidence and wakes the container's worker.
"""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import structlog

from supervisor.core.container import ContainerHandles, Pid
from supervisor.core.guest.exit_report import ExitReport
from supervisor.core.guest.qemu_command import accelerator_of
from supervisor.core.guest.qemu_inputs import Card
from supervisor.core.kinds.kind import GuestKind, Stop
from supervisor.core.record import ProcessRecord
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel.process import Process
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.console_feed import ConsoleFeed
from supervisor.guest.exit_evidence import ExitObserver
from supervisor.guest.health import Health
from supervisor.guest.mac_watch import MacWatch
from supervisor.guest.nics import Nics
from supervisor.guest.qemu_cgroup import complete_cgroup
from supervisor.guest.qemu_process import RunningQemu
from supervisor.guest.qmp_monitor import QmpMonitor
from supervisor.guest.screen import GuestScreen
from supervisor.guest.share_watch import ReportOf, watch_servers
from supervisor.lazy_event import LazyEvent

if TYPE_CHECKING:
    from supervisor.core.guest.restart import Evidence

_LAST_OUTPUT_S = 10.0
_KILLED_S = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class GuestSession:
    """One QEMU until it has exited. Owns it. `run` it in the worker's task group."""

    def __init__(
        self,
        handles: ContainerHandles,
        kind: GuestKind,
        qemu: RunningQemu,
        monitor: QmpMonitor,
        console: ConsoleFeed,
        health: Health | None,
        read_report: Callable[[], Awaitable[ExitReport]],
        report_of_server: ReportOf,
        on_change: Callable[[], None],
        *,
        waits: bool = False,
    ) -> None:
        """`read_report` returns the report of QEMU's exit, once it has exited, `report_of_server` that of a virtiofsd.

        `on_change` is called when QEMU answers, when the guest is ready, when it stops answering its health check or
        answers again, and when QEMU has exited. `waits`: QEMU has no guest until `serve` is called.
        """
        self.record = qemu.record
        self.running_at_s: float | None = None
        """When QMP answered, in seconds since boot."""
        self.ended_at_s: float | None = None
        self.evidence: Evidence | None = None
        """Set once it has exited."""
        self._cgroup = handles.cgroup
        self._stop_by = kind.stop
        self._qemu, self._process = qemu, qemu.process
        self._monitor = monitor
        self._console = console
        self._health = health
        self._read_report = read_report
        self._report_of_server = report_of_server
        self._on_change = on_change
        self._nics = Nics(monitor, kind.machine)
        self._macs = MacWatch(monitor, qemu.record.command, on_change)
        self._may_have_missed = waits or qemu.folder is None
        """Whether the guest may have done something before this daemon heard of it: it is adopted, or was saved."""
        self._exit = ExitObserver(handles, qemu.record.oom_kills)
        self._asked: str | None = None
        """Why this daemon ended it, if it did: `stopped`, `hang` or `asleep`."""
        self._ended = LazyEvent()
        self._serves = LazyEvent()
        """Set once there is a guest in this QEMU."""
        if not waits:
            self._serves.set()

    @property
    def pid(self) -> Pid:
        return self._process.pid

    @property
    def process(self) -> Process:
        """Its QEMU, which stays the session's."""
        return self._process

    @property
    def has_ended(self) -> bool:
        """Whether QEMU has exited."""
        return self._ended.is_set() or self._process.has_ended()

    async def wait_answering(self) -> None:
        """Wait until QEMU answers, or never will."""
        await self._monitor.answered.wait()

    def go_on_from(self, before: "GuestSession") -> None:
        """Take over what the guest printed in the QEMU that it comes from. Call `serve` once that has ended."""
        self._console.go_on_from(before._console)

    def serve(self, record: ProcessRecord) -> None:
        """Note that a guest runs in this QEMU from now on: one that was saved."""
        self.record = record
        self.running_at_s = boottime_s()
        self._qemu.forget_files()
        self._serves.set()
        self._on_change()

    @property
    def complaint(self) -> str:
        """What a QEMU that has exited said on its standard error; empty if it said nothing."""
        return self.evidence.complaint if self.evidence is not None else ""

    async def retire(self) -> None:
        """Kill a QEMU that has no guest any more. Return once all its output is read, or after a deadline."""
        self.kill()
        with anyio.move_on_after(_KILLED_S):
            await self._ended.wait()
            return
        log.warning("qemu_lingers", pid=self.pid, until="it ends, though it is killed")

    @property
    def answers(self) -> bool | None:
        """Whether the guest answers `vtapd.alive`, if its labels have that; None before its first answer."""
        return self._health is None or self._health.answers

    @property
    def changed_macs(self) -> Mapping[int, str]:
        """The MACs that the guest has set itself, by slot."""
        return self._macs.changed

    async def run(self) -> None:
        """Return when QEMU has exited. If this is cancelled, QEMU runs on and a later daemon adopts it."""
        accel = accelerator_of(self.record.command)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch_qmp)
                tasks.start_soon(self._watch_health)
                tasks.start_soon(self._follow_console)
                tasks.start_soon(complete_cgroup, self._cgroup, self._process, accel, self._monitor.answered)
                tasks.start_soon(self._watch_macs, tasks)
                tasks.start_soon(watch_servers, self._qemu.servers, self._report_of_server, self._note_share)
                await anyio.wait_readable(self._process.pidfd)
                self.ended_at_s = boottime_s()
                report = await self._read_report()
                with anyio.move_on_after(_LAST_OUTPUT_S):
                    # Both return by themselves, since QEMU has exited; a busy machine may take its time.
                    async with anyio.create_task_group() as last:
                        last.start_soon(self._monitor.finish)
                        if self._serves.is_set():
                            last.start_soon(self._console.ended.wait)
                tasks.cancel_scope.cancel()
            scanner = self._console.scanner
            ran = self.running_at_s is not None or self._console.has_printed
            for server in self._qemu.servers:
                server.kill()
            self.evidence = await self._exit.gather(report, self._asked, self._monitor, scanner, ran=ran)
        finally:
            self._qemu.close()
        self._ended.set()
        self._on_change()

    async def execute(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        """Run a QMP command, after the descriptors that it names were sent. Raises Transient."""
        return await self._monitor.execute(command, arguments, descriptors)

    @property
    def version(self) -> tuple[int, int]:
        """QEMU's major and minor version; (0, 0) before it has answered."""
        return self._monitor.version

    async def add_descriptor(self, descriptor: int) -> int:
        """Send QEMU a duplicate that it can open as a file, /dev/fdset/N. Return N. Raises Transient."""
        return await self._monitor.add_descriptor(descriptor)

    @property
    def migration_ended(self) -> LazyEvent:
        """Set when QEMU reports the end of a migration. After that, there is a new one."""
        return self._monitor.migration_ended

    async def stop(self, timeout_s: float, because: str = "stopped", *, paused: bool = False) -> None:
        """Stop it gracefully if its kind can, and kill it at the deadline. Return when it has exited.

        A guest that is paused cannot end by itself.
        """
        self.note_asked(because)
        if self._ended.is_set():
            return
        with anyio.move_on_after(timeout_s):
            if self._stop_by is Stop.POWERDOWN and not paused:
                await self._monitor.powerdown()
            else:
                self._process.kill(signal.SIGTERM)  # QEMU closes its disks
            await self._ended.wait()
            return
        await self._kill()

    def note_asked(self, because: str) -> None:
        """Note why its exit, which is about to come, was asked for. The first reason holds."""
        self._asked = self._asked or because

    def kill(self) -> None:
        """Kill it at once, unless it has exited. A stop that waits for it returns then."""
        self.note_asked("stopped")
        if not self._ended.is_set():  # after that, its pidfd is closed
            self._process.kill()

    async def wait_ended(self, timeout_s: float) -> None:
        """Wait for an exit that is certain, such as that of a container that has gone."""
        with anyio.move_on_after(timeout_s):
            await self._ended.wait()
            return
        await self._kill()

    async def _kill(self) -> None:
        self._process.kill()
        with anyio.move_on_after(_KILLED_S):
            await self._ended.wait()
            return
        remedy = "if the container is paused: docker unpause"
        raise Transient(f"QEMU (pid {self.pid}) does not end though killed", step=Step.STOP, remedy=remedy)

    @property
    def screen(self) -> GuestScreen:
        """Its VGA card and its keyboard, if it has them."""
        return GuestScreen(self._monitor)

    async def plug(self, card: Card) -> None:
        """Add a card with one queue. Raises Transient if the machine refuses it."""
        await self._nics.plug(card)
        self.record = replace(self.record, slots=(*self.record.slots, card.slot))

    async def unplug(self, slot: int) -> None:
        """Remove the card of this slot."""
        self.record = replace(self.record, slots=tuple(each for each in self.record.slots if each != slot))
        await self._nics.unplug(slot)

    def ask(self) -> None:
        """Check soon whether QEMU still answers. If it does not, it is ended with reason `hang`."""
        self._exit.note_alive(self.pid)
        self._monitor.ask()

    async def _watch_qmp(self) -> None:
        await self._monitor.run(self._note_running)
        if self.ended_at_s is None:
            self._end_hanging("its QEMU does not answer on QMP")

    async def _watch_health(self) -> None:
        if self._health is None:
            return
        await self._monitor.answered.wait()
        await self._serves.wait()
        try:
            while True:
                is_ready = self.record.ready_at_s is not None
                unanswered = await self._health.run(self._note_ready, self._on_change, is_ready=is_ready)
                if unanswered is None or not self._console.log.has_delayed_guest:
                    break
        except Permanent as error:
            log.error("health_probe_failed", error=str(error))  # a fault of this daemon, not of the guest
            return
        if unanswered is not None and self.ended_at_s is None:
            self._end_hanging(f"it does not answer: {unanswered}")

    def _end_hanging(self, because: str) -> None:
        log.warning("guest_hangs", pid=self.pid, because=because)
        self._asked = self._asked or "hang"
        self._process.kill()

    def _note_ready(self) -> None:
        self.record = replace(self.record, ready_at_s=boottime_s())
        self._on_change()

    def _note_share(self, note: str) -> None:
        self.record = replace(self.record, notes=(*self.record.notes, note))
        self._on_change()

    def _note_running(self) -> None:
        if not self._serves.is_set():
            return
        self.running_at_s = boottime_s()
        self._qemu.forget_files()
        self._on_change()

    async def _watch_macs(self, tasks: anyio.abc.TaskGroup) -> None:
        await self._serves.wait()
        self._macs.start(tasks, ask_first=self._may_have_missed)

    async def _follow_console(self) -> None:
        await self._serves.wait()
        await self._console.run()
