"""Keep one worker for each container, and mark it whenever something may have changed.

Docker's events, the resync and the list after a broken stream all end in the same: a mark.
"""

import math
import time
from collections import deque
from pathlib import Path

import anyio
import anyio.abc
import structlog

from supervisor.config import IN_MEMORY
from supervisor.container.context import Context
from supervisor.container.revocation import revoke_contested
from supervisor.container.worker import Worker
from supervisor.core.backoff import Backoff
from supervisor.core.container import ContainerId, short_id
from supervisor.core.formats.docker_event import Event
from supervisor.core.report.lookup import find_container
from supervisor.core.report.status import ContainerStatus
from supervisor.edges.kernel import netns_symlinks
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.errors import Permanent, Step, Transient

_RECONNECT = Backoff(first_s=0.1, last_s=5.0)
_LOOK_BACK_S = 1.0
"""How long before the list the stream begins: events may come twice, none may be missed."""

_REMEMBERED = 256
"""How many events are remembered, to recognise those that come twice."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Reconciler:
    """All containers of one Docker daemon."""

    def __init__(self, context: Context) -> None:
        self.workers: dict[ContainerId, Worker] = {}
        self.ended = context.ended
        self._context = context
        self._tasks: anyio.abc.TaskGroup
        self._listed: dict[ContainerId, int] = {}
        """Docker's last list: what it says of each container, as a hash."""
        self.connected = False
        """Whether Docker's event stream is open."""
        self.connections = 0
        """How often it was opened. Another version of Docker needs another stream."""
        self._reloaded = anyio.Event()
        self._seen: deque[tuple[ContainerId, str, int]] = deque(maxlen=_REMEMBERED)

    async def run(self, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run for ever. Reports itself started once every container that was there has its worker."""
        async with anyio.create_task_group() as self._tasks:
            since_s = time.time() - _LOOK_BACK_S
            recorded = await self._take_stock()
            for container_id in dict.fromkeys((*recorded, *self._listed)):
                self.mark(container_id)
            known = {short_id(container_id) for container_id in self.workers}
            netns_symlinks.sweep(str(self._context.config.run_dir), known)
            self._context.records.sweep(self.workers)
            self._context.state_files.sweep(self.workers)
            if self._context.config.guest.snapshots != IN_MEMORY:
                BootFolder.sweep(Path(self._context.config.guest.snapshots), self.workers)
            self.ended.load()
            self._tasks.start_soon(self._follow_docker, since_s)
            self._tasks.start_soon(self._resync)
            task_status.started()

    async def _take_stock(self) -> list[ContainerId]:
        """Find out what earlier daemons did, before the first tap is made. Return the containers with a record."""
        records = self._context.records
        recorded = records.load_all()
        await revoke_contested(self._context)
        self._listed = await self._context.docker.list_running()
        self._context.leftovers.expect(each for each in self._listed if records.of(each).data is None)
        return recorded

    def mark(self, container_id: ContainerId, event: Event | None = None) -> None:
        """Mark a container, and have Docker asked about it. If it has just started, it may be attached before that."""
        worker = self.workers.get(container_id)
        if worker is not None:
            worker.mark(event, inspect=True)
            return
        worker = self.workers[container_id] = Worker(self._context, container_id, event)
        self._tasks.start_soon(self._work, worker)

    def mark_all(self) -> None:
        """Mark every container that has a worker, without asking Docker."""
        for worker in self.workers.values():
            worker.mark()

    def reload(self) -> None:
        """The configuration has changed: have everything decided again."""
        for worker in self.workers.values():
            worker.reload()
        self._reloaded.set()

    def find(self, asked: str) -> Worker:
        """Find a container that runs, as `find_id` does. Raises Permanent if it has ended."""
        container_id = self.find_id(asked)
        worker = self.workers.get(container_id)
        if worker is None:
            ended = f"container {self.ended.names[container_id]} has ended"
            raise Permanent(ended, step=Step.NAME, remedy="start it again: docker start")
        return worker

    def find_id(self, asked: str) -> ContainerId:
        """Find a container by id, name, or the beginning of its id. Raises Permanent if there is none, or several."""
        running = {each.id: _name_of(each) for each in self.workers.values()}
        return find_container(asked, running, self.ended.names)

    def name_of(self, container_id: ContainerId) -> str:
        """Return the name of a container that `find_id` has found, as long as it is known."""
        worker = self.workers.get(container_id)
        return worker.name if worker is not None else self.ended.names.get(container_id, "")

    def statuses(self) -> list[ContainerStatus]:
        """Return the status of every running container that has been described and that Docker still knows, by name."""
        known = [each for each in self.workers.values() if each.container.description.is_known]
        running = (each.status() for each in known if self.ended.of(each.id) is None)
        return sorted(running, key=lambda status: status.name)

    def all_statuses(self) -> list[ContainerStatus]:
        """Return the statuses also of containers that have ended, by name."""
        return sorted((*self.statuses(), *self.ended.statuses()), key=lambda status: status.name)

    async def _work(self, worker: Worker) -> None:
        await worker.run()
        del self.workers[worker.id]
        self._context.records.forget(worker.id)
        if worker.is_marked():
            self.mark(worker.id)

    async def _relist(self) -> None:
        self._listed = await self._context.docker.list_running()
        for container_id in {*self._listed, *self.workers}:
            self.mark(container_id)

    async def _resync(self) -> None:
        while True:
            self._reloaded = anyio.Event()
            with anyio.move_on_after(self._context.config.attach.resync):
                await self._reloaded.wait()
                continue  # the interval may be another one now
            await self._resync_all()

    async def _resync_all(self) -> None:
        """Look at everything. Ask Docker only about containers for which its list has changed."""
        before = self._listed
        try:
            self._listed = await self._context.docker.list_running()
            await self.ended.forget_removed()
        except (Transient, Permanent) as error:
            log.debug("list_unknown", error=str(error))
            for worker in self.workers.values():
                worker.resync(inspect=False)
            return
        for container_id in {*self._listed, *self.workers}:
            if container_id in self.workers:
                changed = self._listed.get(container_id) != before.get(container_id)
                self.workers[container_id].resync(inspect=changed)
            else:
                self.mark(container_id)

    async def _follow_docker(self, listed_since_s: float | None) -> None:
        """Follow Docker for ever. Everything that runs was listed after `listed_since_s`."""
        failures = 0
        while True:
            lasted_s = await self._follow_once(listed_since_s)
            failures, listed_since_s = 1 if lasted_s > _RECONNECT.last_s else failures + 1, None
            await anyio.sleep(_RECONNECT.delay_s(failures))

    async def _follow_once(self, listed_since_s: float | None) -> float:
        """Follow Docker until the stream breaks. Return for how many seconds; less than 0 if it never began.

        Events since `listed_since_s` are replayed. Without it events were missed, so everything is listed first.
        """
        since_s, began_s = listed_since_s or time.time() - _LOOK_BACK_S, math.inf
        try:
            if listed_since_s is None:
                await self._relist()
            await self.ended.forget_removed()
            self._note_connected(True)
            began_s = time.monotonic()
            await self._context.docker.follow(since_s, self._take_event)
        except (Transient, Permanent) as error:
            self._note_connected(False, str(error))
        return time.monotonic() - began_s

    def _take_event(self, event: Event) -> None:
        self._context.counters.docker_events.labels(event.action).inc()
        key = (event.container, event.action, event.time_ns)
        if key in self._seen:
            self.mark(event.container)
            return
        self._seen.append(key)
        if event.action == "connect" and event.container not in self.workers:
            self._context.early_attach.note_connect(event)  # Docker describes the container only after its start
            return
        self.mark(event.container, event)

    def _note_connected(self, connected: bool, error: str = "") -> None:
        if connected and not self.connected:
            self.connections += 1
            log.info("docker_connected", host=self._context.docker.host)
        elif self.connected and not connected:
            log.warning("docker_stream_lost", error=error)
        self.connected = connected
        self._context.counters.docker_connected.set(connected)


def _name_of(worker: Worker) -> str:
    """Return its name, or its short id if Docker has removed it: another container may have the name by now."""
    return worker.name if worker.container.description.is_known else short_id(worker.id)
