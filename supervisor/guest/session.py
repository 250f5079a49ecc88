"""One running QEMU: started or adopted, listened to, stopped; and the evidence of how it ended.

Owns the process's pidfd, its QMP session and the reader of its console. It decides nothing about restarts: when it has
ended it says so, and the container's worker looks.
"""

import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import anyio
import anyio.abc
import structlog

from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.guest.qemu_argv import Card, accelerator_of, device_name, netdev_name
from supervisor.core.guest.restart import Evidence
from supervisor.core.kinds.kind import GuestKind, Stop
from supervisor.core.model import ContainerId, Pid, short_id
from supervisor.edges import threads
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroups
from supervisor.edges.kernel.process import observe_incarnation
from supervisor.edges.qemu import serial
from supervisor.errors import ContainerGone, Permanent, Step, Transient
from supervisor.guest.console_hub import Audience
from supervisor.guest.health import Health
from supervisor.guest.qemu_process import RunningQemu, SocketPaths
from supervisor.guest.qmp_monitor import Monitor

_LAST_WORDS_S = 10.0
_KILLED_S = 5.0
_INIT_ENDS_S = 0.05

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class GuestSession:
    """From the moment its QEMU runs until it has ended. `run` it in the worker's task group. Owns that QEMU."""

    def __init__(
        self,
        container_id: ContainerId,
        init: Pid,
        kind: GuestKind,
        qemu: RunningQemu,
        cgroup: Cgroup,
        paths: SocketPaths,
        hang_after_s: float,
        health: Health | None,
        audience: Audience,
        on_change: Callable[[], None],
        recall: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        """`recall` tells what a guest that is adopted has said so far."""
        self.kind = kind
        self.record = qemu.record
        self.running_at_s: float | None = None
        """When QMP answered, in seconds since boot."""
        self.ended_at_s: float | None = None
        self._container_id = container_id
        self._init = init
        self._qemu, self._process = qemu, qemu.process
        self._cgroup = cgroup
        self._paths = paths
        self._on_change = on_change
        self._health = health
        self._audience = audience
        self._recall = recall
        self._scanner = ConsoleScanner(kind.console)
        self._monitor = Monitor(short_id(container_id), paths.qmp, cgroup, hang_after_s, self._note_event)
        self._oom_kills = cgroups.observe_oom_kills(cgroup)
        self._shutdown: str | None = None
        self._panicked = False
        self._asked: str | None = None
        self._ended = anyio.Event()
        self.evidence: Evidence | None = None
        """Once it has ended."""

    async def run(self) -> None:
        """Until QEMU has ended. Cancelled, it leaves QEMU running for a later daemon."""
        try:
            async with anyio.create_task_group() as tasks:
                heard = anyio.Event()
                tasks.start_soon(self._converse)
                tasks.start_soon(self._watch_health)
                tasks.start_soon(self._listen, tasks, heard)
                if self._recall is not None:  # after it began to listen, so that nothing falls between
                    tasks.start_soon(self._catch_up, self._recall)
                tasks.start_soon(self._move_in)
                await anyio.wait_readable(self._process.pidfd)
                self.ended_at_s = boottime_s()
                status = self._process.reap()
                with anyio.move_on_after(_LAST_WORDS_S):
                    # Both come to an end by themselves, since QEMU has; a busy machine may take its time.
                    async with anyio.create_task_group() as last:
                        last.start_soon(self._monitor.last_words)
                        last.start_soon(heard.wait)
                tasks.cancel_scope.cancel()
            self.evidence = await self._gather(status)
        finally:
            self._qemu.close()
        self._ended.set()
        self._on_change()

    async def stop(self, timeout_s: float, reason: str = "stopped") -> None:
        """End it: gracefully where its kind can, by force at the deadline. Returns when it has ended."""
        self._asked = self._asked or reason
        if self._ended.is_set():
            return
        if self.kind.stop is Stop.POWERDOWN and reason == "stopped":
            with anyio.move_on_after(timeout_s):
                await self._monitor.powerdown()
                await self._ended.wait()
                return
        elif reason == "stopped":
            self._process.kill(signal.SIGTERM)  # QEMU closes its disks
            with anyio.move_on_after(timeout_s):
                await self._ended.wait()
                return
        await self._kill()

    async def draw(self, descriptor: int) -> None:
        """Have what is on its screen written, as PPM, to a file that is open for writing alone. Raises Transient."""
        await self._monitor.screendump(descriptor)

    async def plug(self, card: Card) -> None:
        """Give it one more card, of one queue. Raises Transient where its machine takes none, and then leaves none."""
        if not await self._has(card):
            await self._remove("netdev_del", card.netdev)  # which a daemon that was killed may have left
            add = {"type": "tap", "id": card.netdev, "fd": card.netdev}
            await self._monitor.execute("netdev_add", add, {card.netdev: card.queues[0]})
            device = {"driver": "virtio-net-pci", "id": card.device, "netdev": card.netdev, "romfile": ""}
            try:
                await self._monitor.execute("device_add", {**device, "mac": card.mac, "host_mtu": card.mtu})
            except Transient:
                await self._remove("netdev_del", card.netdev)
                raise
        self.record = replace(self.record, slots=(*self.record.slots, card.slot))

    async def unplug(self, slot: int) -> None:
        """Take a card's tap away at once, and ask the guest to let go of the card, which it may not do."""
        self.record = replace(self.record, slots=tuple(each for each in self.record.slots if each != slot))
        await self._remove("netdev_del", netdev_name(slot))
        await self._remove("device_del", device_name(slot))

    async def _has(self, card: Card) -> bool:
        """Whether QEMU has it, from a daemon that was killed before it could note that."""
        devices = await self._monitor.execute("qom-list", {"path": "/machine/peripheral"})
        return isinstance(devices, list) and any(each.get("name") == card.device for each in devices)

    async def _remove(self, command: str, name: str) -> None:
        """Nothing where there is none; what QEMU does not let go of is gone with its tap."""
        with contextlib.suppress(Transient):
            await self._monitor.execute(command, {"id": name})

    async def wait_ended(self, timeout_s: float) -> None:
        """Wait for an end that is certain, such as that of a container that has gone."""
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

    def ask(self) -> None:
        """Find out, soon, whether QEMU still answers; one that does not is ended, with reason `hang`."""
        self._monitor.ask()

    async def _converse(self) -> None:
        await self._monitor.run(self._note_running)
        if self.ended_at_s is None:
            log.warning("guest_hangs", pid=self.pid, because="its QEMU does not answer on QMP")
            self._asked = self._asked or "hang"
            self._process.kill()

    async def _watch_health(self) -> None:
        if self._health is None:
            return
        await self._monitor.answered.wait()
        try:
            silence = await self._health.run(self._note_ready, is_ready=self.record.ready_at_s is not None)
        except Permanent as error:
            log.error("health_probe_failed", error=str(error))  # our own fault is never the guest's
            return
        if silence is not None:
            log.warning("guest_hangs", pid=self.pid, because=f"it does not answer: {silence}")
            self._asked = self._asked or "hang"
            self._process.kill()

    def _note_ready(self) -> None:
        self.record = replace(self.record, ready_at_s=boottime_s())
        self._on_change()

    async def _move_in(self) -> None:
        """Into what of the container's cgroup it could not be in before it had opened its accelerator."""
        accel = accelerator_of(self.record.command)
        early, all_of_it = (self._cgroup.directories_of_qemu(accel, started=started) for started in (False, True))
        if early == all_of_it:
            return
        await self._monitor.answered.wait()
        try:
            await threads.run_in_thread(partial(cgroups.join_cgroup, all_of_it, self.pid))
        except ContainerGone:
            return  # it has ended, or will at once
        except (Transient, Permanent) as error:
            log.error("guest_not_confined", step=error.step, error=str(error))
            self._process.kill()

    def _note_running(self) -> None:
        self.running_at_s = boottime_s()
        self._qemu.forget_files()
        self._on_change()

    def _note_event(self, name: str, data: dict[str, object]) -> None:
        if name == "SHUTDOWN" and self._shutdown is None:
            self._shutdown = str(data.get("reason", ""))
        elif name == "GUEST_PANICKED":
            self._panicked = True

    async def _listen(self, tasks: anyio.abc.TaskGroup, heard: anyio.Event) -> None:
        if self._qemu.console is not None:
            async with serial.opened(self._qemu.console, self._process.pid, self._process.pidfd) as opened:
                with self._audience.connected(opened):
                    async for data in opened.said():
                        self._hear(data, tasks)
        self._scanner.close()
        heard.set()

    def _hear(self, data: bytes, tasks: anyio.abc.TaskGroup) -> None:
        self._audience.hear(data)
        if self._health is not None:
            self._health.hear(data)
        if self._scanner.feed(data):
            tasks.start_soon(self._end_halted)

    async def _end_halted(self) -> None:
        """After its last line: such a guest halts, and never ends QEMU itself."""
        await anyio.sleep(self._scanner.last_words_s)
        self._process.kill()

    async def _catch_up(self, recall: Callable[[], Awaitable[bytes]]) -> None:
        """Whether it said its last words while no daemon listened; such a guest says nothing more."""
        past = ConsoleScanner(self.kind.console)
        if past.feed(await recall()):
            self._scanner = past
            self._process.kill()

    async def _gather(self, status: int | None) -> Evidence:
        gone = observe_incarnation(self._init) is None
        oom = cgroups.observe_oom_kills(self._cgroup) > self._oom_kills
        verdict = self._scanner.verdict
        if status == -signal.SIGKILL and not (gone or oom or self._asked or self._scanner.ended):
            # Docker may be killing the whole cgroup, QEMU before the init.
            await anyio.sleep(_INIT_ENDS_S)
            gone = observe_incarnation(self._init) is None
        complaint = self._process.read_stderr() if status else ""
        return Evidence(
            status=status,
            shutdown=self._shutdown,
            panicked=self._panicked,
            verdict=verdict,
            asked=self._asked,
            oom=oom and status == -signal.SIGKILL,
            container_gone=gone,
            complaint=complaint,
            detail=self._scanner.last_line or complaint,
        )

    @property
    def pid(self) -> Pid:
        return self._process.pid
