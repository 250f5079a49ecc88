"""One container's worker: looks when something may have changed, and again when it failed. Serial inside.

Events only mark it as worth a look, so one that is lost, doubled or late costs nothing. A start tells more, which saves
the first look a question to Docker.
"""

import time
from collections.abc import Callable

import anyio
import anyio.abc
import structlog

from supervisor.container.context import Context
from supervisor.container.executor import forget
from supervisor.container.live_container import ContainerRun
from supervisor.core.attach.actions import DeleteRecord, UnlinkNetns
from supervisor.core.attach.plan import next_action
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.backoff import Backoff
from supervisor.core.formats.docker_event import Event
from supervisor.core.guest.pending import Pending
from supervisor.core.model import Container, ContainerId, Incarnation, Record, short_id
from supervisor.core.report.status import ContainerStatus
from supervisor.edges.kernel import netns, process
from supervisor.errors import ContainerGone, Permanent, Rejected, Step, Transient, VtapdError
from supervisor.guest.console_hub import ConsoleHub
from supervisor.guest.qemu_process import SocketPaths
from supervisor.observability.log_setup import NameInLog

_RETRY = Backoff(first_s=0.1, last_s=30.0)
_LEISURE_S, _LONGEST_S = 0.5, 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Worker:
    """`run` it in a task group; `mark` it from anywhere in the loop."""

    def __init__(self, context: Context, container_id: ContainerId, container: Container | None = None) -> None:
        self.id = container_id
        self.container = container
        """As Docker described it last, or as its start told; None before that, and once Docker knows it no more."""
        self.current: ContainerRun | None = None
        """While it runs."""
        self.ledger = context.ledgers.of(container_id)
        self.ledger.on_revoked = self.mark
        self.trouble: VtapdError | None = None
        """What went wrong last. A Permanent one holds until the container changes."""
        self._context = context
        self._name_in_log = NameInLog(self.name)
        self._inspect = True
        self._assumes = container is not None
        """It is to be looked at with what its start told, once; then Docker is asked."""
        self._started_ns: int | None = None
        """The start that is to be measured, until it has been."""
        self._last_start_ns = 0
        self._failures = 0
        self._unconfirmed = False
        """Since it was attached it was not looked at again."""
        self._marked = anyio.Event()
        self._idle = anyio.Event()
        self._looked = anyio.Event()
        """Set, and exchanged, after each look."""
        self._tasks: anyio.abc.TaskGroup

    @property
    def name(self) -> str:
        """The container's name, or its short id before Docker told it."""
        return self.container.name if self.container else short_id(self.id)

    @property
    def attached(self) -> bool:
        """Whether it has all that it should have."""
        return self.current is not None and self.current.steps.attached

    @property
    def console(self) -> ConsoleHub | None:
        """The console of its guest; None if it has no guest."""
        run = self.current
        return run.keeper.console_hub if run is not None and run.keeper.plan is not None else None

    def status(self) -> ContainerStatus:
        """Return what is known of the container now."""
        if self.current is None:
            return ContainerStatus(id=self.id, name=self.name, error=self.trouble)
        return self.current.status(self.trouble)

    def pending(self) -> tuple[Pending, ...] | None:
        """Return what the next start of its guest would change; None if none runs, or that is not known."""
        return self.current.pending() if self.current is not None else None

    async def draw_screen(self, descriptor: int) -> None:
        """Write what is on its guest's screen, as PPM, to a file that is open for writing alone.

        Raises Transient if no guest runs, or if QEMU does not draw it.
        """
        session = self.current.keeper.session if self.current is not None else None
        if session is None:
            raise Transient(f"container {self.name}: no guest runs any more", step=Step.SCREEN)
        await session.draw(descriptor)

    def mark(self, event: Event | None = None, *, inspect: bool = False) -> None:
        """Something may have changed: look again, soon. `inspect` asks Docker again, too."""
        self._inspect = self._inspect or inspect or event is not None
        if event is not None and event.action == "start" and event.time_ns > self._last_start_ns:
            self._started_ns = self._last_start_ns = event.time_ns
        if event is not None and event.action == "kill" and self.current is not None:
            self.current.note_kill(event)
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._marked.set()

    def reconsider(self) -> None:
        """The configuration says something new: decide again, also of what was refused before."""
        if self.current is not None:
            self.current.reconsider(self.current.container)
        self.trouble = None
        self.mark()

    def check(self, *, inspect: bool) -> None:
        """At leisure: look, and ask the guest's QEMU again; `inspect` asks Docker, too."""
        self.mark(inspect=inspect)
        if self.current is not None and self.current.keeper.session is not None:
            self.current.keeper.session.ask()

    def is_marked(self) -> bool:
        """Whether it was marked since its last look began."""
        return self._marked.is_set()

    def change(self, change: Callable[[Record], Record]) -> None:
        """An operator wants something else for this run of the container, from now on.

        Raises Transient where it does not run, or the disk does not take it.
        """
        if self.current is None:
            raise Transient(f"container {self.name} does not run", step=Step.ORDER, remedy="start it: docker start")
        incarnation = self.current.incarnation
        self.ledger.write(change(self.ledger.of(incarnation) or Record(self.id, self.name, incarnation)))
        self.current.reconsider(self.current.container)
        self.trouble = None
        self.mark()

    async def wait_converged(self, timeout_s: float) -> bool:
        """Wait until the container has converged or failed. Returns False on timeout."""
        idle = self._idle  # a later mark replaces it
        with anyio.move_on_after(timeout_s):
            await idle.wait()
        return idle.is_set()

    async def wait_for(self, reached: Callable[[ContainerStatus], bool], timeout_s: float) -> bool:
        """Wait until the status is as asked. `reached` is called after each look that ends from now on.

        Returns False on timeout.
        """
        with anyio.move_on_after(timeout_s):
            while True:
                looked = self._looked  # which another one replaces
                await looked.wait()
                if reached(self.status()):
                    return True
        return False

    async def run(self) -> None:
        """Until the container does not run and nothing of it is left. Cancelled, it leaves everything as it is."""
        structlog.contextvars.bind_contextvars(container=self._name_in_log)
        try:
            async with anyio.create_task_group() as self._tasks:
                while True:
                    self._marked = anyio.Event()
                    due_s = await self._look()
                    self._note_looked()
                    if self._marked.is_set():
                        continue
                    if not self._unconfirmed and (not self._failures or self.trouble is not None):
                        self._idle.set()  # something that only looked gone is no answer yet
                    if self.current is None and self.ledger.record is None and not self._failures:
                        break
                    await self._rest(due_s)
        finally:
            if self.current is not None:
                self.current.close()
            self._note_looked()

    async def _rest(self, due_s: float | None) -> None:
        """Until there is something to look at; once after each attach there is."""
        if not self._unconfirmed:
            with anyio.move_on_after(due_s):
                await self._marked.wait()
            return
        with anyio.move_on_after(_LONGEST_S if due_s is None else min(due_s, _LONGEST_S)):
            while self._context.arrivals.are_coming() and not self._marked.is_set():  # they are attached before
                with anyio.move_on_after(_LEISURE_S):
                    await self._marked.wait()
        self._unconfirmed = False
        self._inspect = self._inspect or (self.container is not None and self.container.assumed)

    def _note_looked(self) -> None:
        self._looked.set()
        self._looked = anyio.Event()

    async def _look(self) -> float | None:
        """One pass; returns in how many seconds the next is due by itself, or None."""
        try:
            unanswered = await self._converge()
        except (Transient, Permanent) as error:
            error.concern(f"container {self.name}")
            return self._retry(error) if isinstance(error, Transient) else self._give_up(error)
        except OSError as error:
            # A machine without descriptors, memory or disk says so anywhere; one container must not end the daemon.
            said = f"container {self.name}: {error.strerror or error}"
            return self._retry(
                Transient(said, step=Step.SYSTEM, remedy="see what the machine is short of: ulimit -n, df")
            )
        due_s = self.current.due_s() if self.current is not None else None
        if unanswered is not None:
            delay_s = self._retry(unanswered)
            return delay_s if due_s is None else min(delay_s, due_s)
        self._failures = 0
        if isinstance(self.trouble, Transient):
            self.trouble = None
        return due_s

    def _retry(self, error: Transient) -> float:
        self._failures += 1
        self._inspect = True
        delay_s = _RETRY.delay_s(self._failures)
        if isinstance(error, ContainerGone):
            log.debug("container_ended_meanwhile", step=error.step, error=str(error))
        else:
            self.trouble = error
            self._context.counters.attach_failures.labels(error.step).inc()
            log.warning("attach_retry", step=error.step, error=str(error), delay_s=delay_s)
        return delay_s

    def _give_up(self, error: Permanent) -> float | None:
        """Undo what was done, at once; nothing is tried again before the container changes."""
        if isinstance(self.trouble, Permanent):
            log.error("undo_failed", step=error.step, error=str(error))
            return None
        self.trouble = error
        if isinstance(error, Rejected):
            log.error("container_rejected", step=error.step, error=str(error))
        else:
            self._context.counters.attach_failures.labels(error.step).inc()
            log.error("attach_failed", step=error.step, error=str(error))
        return 0.0

    async def _converge(self) -> Transient | None:
        """Returns what Docker's silence was about, where a container is looked after as Docker last described it."""
        self.ledger.load()
        self.ledger.settle()
        if await self._attached_unasked():
            return None
        unanswered = None
        if self._inspect:
            self._inspect = False
            try:
                await self._ask_docker()
            except Transient as error:
                if self.current is None:
                    raise
                error.concern(f"container {self.name}")
                unanswered = error
        await self._keep_up()
        return unanswered

    async def _attached_unasked(self) -> bool:
        """At the first look: whether what its start told was enough; if not, Docker is asked as ever."""
        if not self._assumes:
            return False
        self._assumes = self._inspect = False
        try:
            await self._keep_up()
        except (Transient, Permanent, OSError) as error:
            log.debug("early_attach_failed", error=str(error))
        self._inspect = self._inspect or not self.attached
        return self.attached

    async def _keep_up(self) -> None:
        """With the container as it is known."""
        running = self.container if self.container is not None and self.container.running else None
        incarnation = process.observe_incarnation(running.pid) if running is not None else None
        if incarnation != (self.current.incarnation if self.current else None):
            await self._turn_over(incarnation)
        if self.current is None:
            self._context.leftovers.note_recovered(self.id)  # nothing of it is left that could open a device
            self._forget()
        else:
            await self.current.converge(wanted=not isinstance(self.trouble, Permanent))

    async def _ask_docker(self) -> None:
        container = await self._context.docker.inspect(self.id)
        if container != self.container:
            self.container = container
            if container is not None:  # what follows its removal is still told under its name
                self._name_in_log.name = container.name
            if self.current is not None and container is not None:
                self.current.reconsider(container)
            if isinstance(self.trouble, Permanent):
                self.trouble = None

    async def _turn_over(self, incarnation: Incarnation | None) -> None:
        """Another run of the container, or none: let go of the last one."""
        if self.current is not None:
            await self.current.end()
            self.current = None
            log.info("container_ended")
            if incarnation is None and self.container is not None and self.container.running:
                self.mark(inspect=True)  # Docker has not said so, or not been heard
        self.trouble = None
        if incarnation is not None and self.container is not None:
            self.current = ContainerRun(
                self._context, self._tasks, self.ledger, self.container, incarnation, self.mark, self._note_attached
            )

    def _note_attached(self, first: bool) -> None:
        if self._started_ns is not None:
            seconds = (time.time_ns() - self._started_ns) / 1e9
            self._started_ns = None
            self._context.counters.attach_seconds.observe(max(0.0, seconds))
            log.info("container_attached", after_s=round(seconds, 4))
        if first:
            self._unconfirmed = True  # whether the steps took effect; and at the routes

    def _forget(self) -> None:
        """What outlives a container's run: its symlink and its record."""
        seen = Seen(None, netns.observe_link(short_id(self.id)))
        paths = SocketPaths(self._context.config.run_dir, self.id)
        while action := next_action(self.id, self.name, Desired(attached=False), seen, self.ledger.record):
            assert isinstance(action, UnlinkNetns | DeleteRecord), "nothing else is left of a container that ended"
            seen = forget(action, seen, self.ledger, paths)
