"""One container over all its runs: what is known of it, its record, its current run, and the last error.

A pass makes everything as it should be. After the last run it undoes what outlives a container.
"""

from collections.abc import Callable

import anyio.abc
import structlog

from supervisor.container.attach_timer import AttachTimer
from supervisor.container.context import Context
from supervisor.container.description import Description, Knowledge
from supervisor.container.live_container import LiveContainer
from supervisor.container.removal import forget
from supervisor.container.unseen_end import unseen_end
from supervisor.core.attach.actions import DeleteRecord, UnlinkNetns
from supervisor.core.attach.plan import next_step
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.container import ContainerId, Incarnation, short_id
from supervisor.core.formats.docker_event import Event
from supervisor.core.record import Record
from supervisor.core.report.ended import ended_container
from supervisor.core.report.status import ContainerStatus
from supervisor.edges.clock import boottime_s, utc_of
from supervisor.edges.kernel import netns_symlinks, process
from supervisor.errors import Permanent, Step, Transient, VtapdError
from supervisor.guest.console_hub import CloseReason
from supervisor.observability.log_setup import NameInLog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class TrackedContainer:
    """`converge` it whenever something may have changed. `mark` is called when it needs another pass."""

    def __init__(
        self, context: Context, container_id: ContainerId, event: Event | None, mark: Callable[[], None]
    ) -> None:
        """`event`: the one by which it became known, if any."""
        self.id = container_id
        self.live: LiveContainer | None = None
        """The current run; None while it does not run."""
        self.record = context.records.of(container_id)
        self.record.on_revoked = mark
        self.error: VtapdError | None = None
        """What failed last. A Permanent one holds until the container changes."""
        self.unconfirmed = False
        """It was attached, and no pass since then has confirmed that."""
        self._context = context
        self._mark = mark
        start = context.early_attach.describe(event, context.config.attach.containers) if event is not None else None
        self.description = Description(context.docker.inspect, container_id, start)
        self.name_in_log = NameInLog(self.description.name)
        self._timer = AttachTimer()
        if event is not None:
            self.note_event(event)

    @property
    def name(self) -> str:
        """The container's name, or its short id as long as the name is not known."""
        return self.description.name

    @property
    def is_gone(self) -> bool:
        """Whether it does not run, and nothing of it is left."""
        return self.live is None and self.record.data is None

    @property
    def has_brief_trouble(self) -> bool:
        """Whether a step has failed on an interface that may succeed in a moment."""
        return self.live is not None and self.live.executor.troubles.is_brief

    def status(self) -> ContainerStatus:
        """Return what is known of it now."""
        if self.live is None:
            return ContainerStatus(id=self.id, name=self.name, error=self.error)
        return self.live.status(self.error)

    def observe_status(self) -> ContainerStatus:
        """Return what is known of it, and what the kernel shows at this moment."""
        return self.live.observe_status(self.error) if self.live is not None else self.status()

    def note_event(self, event: Event) -> None:
        """Note what only the event itself says: the time of a start, and a signal."""
        if event.action == "start":
            self._timer.note_start(event.time_ns)
        if event.action == "kill" and self.live is not None:
            self.live.intent.on_kill_event(event)
        if event.action == "oom" and self.live is not None:
            self.live.check_guest()  # while it is fresh: it may be another process that was killed

    def decide_again(self) -> None:
        """The configuration or an operator says something new. What was rejected before is tried again."""
        if self.live is not None:
            self.live.outdate()
        self.error = None

    def change_record(self, change: Callable[[Record], Record]) -> None:
        """Write what an operator wants for this run. Raises Transient if there is no run, or the disk refuses it."""
        if self.live is None:
            raise Transient(f"container {self.name} does not run", step=Step.ORDER, remedy="start it: docker start")
        incarnation = self.live.incarnation
        self.record.write(change(self.record.of(incarnation) or Record(self.id, self.name, incarnation)))
        self.decide_again()

    def confirm(self) -> None:
        """There is time to confirm the attachment: ask Docker if it was not asked before."""
        self.unconfirmed = False
        self.description.confirm()

    def close(self) -> None:
        """Close all descriptors; everything in the container stays as it is."""
        if self.live is not None:
            self.live.close()

    async def converge(self, tasks: anyio.abc.TaskGroup) -> Transient | None:
        """Take actions until everything is as it should be.

        Returns the error if Docker did not answer, so that the last description was used.
        """
        self.record.load()
        self.record.flush()
        if self.description.knowledge is Knowledge.FROM_EVENT and await self._attach_early(tasks):
            return None
        unanswered = None
        if self.description.is_due:
            try:
                await self._ask_docker()
            except Transient as error:
                if self.live is None:
                    raise
                error.concern(f"container {self.name}")
                unanswered = error
        await self._keep_up(tasks)
        return unanswered

    async def _attach_early(self, tasks: anyio.abc.TaskGroup) -> bool:
        """Do everything by the event of its start alone. Returns False if Docker has to be asked first."""
        try:
            await self._keep_up(tasks)
        except (Transient, Permanent, OSError) as error:
            log.debug("early_attach_failed", error=str(error))
        else:
            if self.live is not None and self.live.executor.attached:
                return True
        self.description.expire()
        return False

    async def _ask_docker(self) -> None:
        if not await self.description.refresh():
            return
        self.name_in_log.name = self.name
        if self.live is not None:
            self.live.outdate()
        has_ended = self.live is not None and self.description.running is None  # its last error is its last state
        if isinstance(self.error, Permanent) and not has_ended:
            self.error = None

    async def _keep_up(self, tasks: anyio.abc.TaskGroup) -> None:
        """Make everything as it should be, by what is known of the container."""
        running = self.description.running
        incarnation = process.observe_incarnation(running.pid) if running is not None else None
        if incarnation != (self.live.incarnation if self.live else None):
            await self._turn_over(incarnation, tasks)
        if self.live is None:
            self._context.leftovers.note_recovered(self.id)  # nothing of it is left that could open a device
            await self._keep_unseen_end()
            self._forget()
            self._update_ended()
        else:
            await self.live.converge(wanted=not isinstance(self.error, Permanent))

    async def _turn_over(self, incarnation: Incarnation | None, tasks: anyio.abc.TaskGroup) -> None:
        """Let go of the last run; take on the next one, if there is one."""
        if self.live is not None:
            await self.live.end()
            if incarnation is None:
                self._keep_ended(self.live.status(self.error), self.live.incarnation, utc_of(boottime_s()))
            self.live.close(CloseReason.CONTAINER_ENDED)
            self.live = None
            log.info("container_ended")
            if incarnation is None and self.description.running is not None:
                self.description.expire()  # Docker has not reported the end yet, or the event was lost
                self._mark()
        self.error = None
        if incarnation is not None:
            self._context.ended.forget(self.id)
            self.live = LiveContainer(
                self._context, tasks, self.record, self.description, incarnation, self._mark, self._note_attached
            )

    def _note_attached(self, first: bool) -> None:
        if (seconds := self._timer.stop()) is not None:
            self._context.counters.attach_seconds.observe(seconds)
            log.info("container_attached", after_s=round(seconds, 4))
        if first:
            self.unconfirmed = True  # the next pass sees whether the steps took effect

    def _keep_ended(self, status: ContainerStatus, incarnation: Incarnation, at: str) -> None:
        ended = ended_container(status, incarnation, at)
        if ended is not None and not self.description.removed:
            self._context.ended.keep(ended)

    async def _keep_unseen_end(self) -> None:
        """Keep a run that ended while no daemon ran, by its record."""
        record, container, known = self.record.data, self.description.container, self._context.ended.of(self.id)
        if record is None or container is None or self.description.removed:
            return
        if known is None or known.incarnation != record.incarnation:
            status = await unseen_end(self._context, container, record)
            self._keep_ended(status, record.incarnation, container.ended_at)

    def _update_ended(self) -> None:
        """Note what Docker says of a container that does not run: its name, or that it is removed."""
        if self.description.removed:
            self._context.ended.forget(self.id)
        elif self.description.container is not None:
            self._context.ended.note_name(self.id, self.name)

    def _forget(self) -> None:
        """Undo what outlives a container's run: its symlink and its record."""
        seen = Seen(None, netns_symlinks.observe_symlink(short_id(self.id)))
        while step := next_step(self.id, self.name, Desired(attached=False), seen, self.record.data):
            assert isinstance(step.action, UnlinkNetns | DeleteRecord), "nothing else is left of a container that ended"
            seen = forget(step.action, seen, self.record, self._context)
