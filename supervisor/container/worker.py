"""Make passes over one container: whenever it is marked, and again after an error, with growing delays.

A container has one pass at a time. The workers of different containers run in parallel.
"""

from collections.abc import Callable

import anyio
import structlog

from supervisor.container.context import Context
from supervisor.container.mailbox import Mailbox
from supervisor.container.tracked_container import TrackedContainer
from supervisor.container.troubles import RETRY, error_of_machine
from supervisor.core.container import ContainerId
from supervisor.core.formats.docker_event import Event
from supervisor.core.record import Record
from supervisor.core.report.status import ContainerStatus
from supervisor.errors import ContainerGone, NoNetwork, Permanent, Rejected, Step, Transient, VtapdError
from supervisor.guest.refresh import RefreshOrder

_MOST_LOGGED = 16
_QUIET_S, _LONGEST_S = 0.5, 5.0
"""A new attachment is confirmed once no other container has started for so long, and after so long at the latest."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Worker:
    """`run` it in a task group; `mark` it from anywhere in the loop."""

    def __init__(self, context: Context, container_id: ContainerId, event: Event | None = None) -> None:
        """`event`: the one that it is made for, if any."""
        self.id = container_id
        self.container = TrackedContainer(context, container_id, event, self.mark)
        self._context = context
        self._mailbox = Mailbox()
        self._failures = 0
        self._logged: set[str] = set()
        """The errors that were logged since the container was in order. Each is logged once."""
        self._tasks: anyio.abc.TaskGroup

    @property
    def name(self) -> str:
        """The container's name, or its short id as long as the name is not known."""
        return self.container.name

    def status(self) -> ContainerStatus:
        """Return what is known of the container now."""
        return self.container.status()

    def observe_status(self) -> ContainerStatus:
        """Return what is known of the container, and what the kernel shows at this moment."""
        return self.container.observe_status()

    def mark(self, event: Event | None = None, *, inspect: bool = False) -> None:
        """Something may have changed: ask for a pass. With an event or `inspect`, it asks Docker first."""
        if inspect or event is not None:
            self.container.description.expire()
        if event is not None:
            self.container.note_event(event)
        self._mailbox.mark()

    def resync(self, *, inspect: bool) -> None:
        """Ask for a pass, and check that the guest's QEMU answers. With `inspect`, the pass asks Docker first."""
        self.mark(inspect=inspect)
        if self.container.live is not None:
            self.container.live.check_guest()

    def reload(self) -> None:
        """The configuration has changed: decide again, also what was rejected before."""
        self.container.decide_again()
        self.mark()

    def change(self, change: Callable[[Record], Record]) -> None:
        """Change what an operator wants for this run of the container.

        Raises Transient if it does not run, or if its record cannot be written.
        """
        self.container.change_record(change)
        self.mark()

    def forget_stop(self) -> None:
        """An operator wants the guest to run: a stop signal that Docker sent before counts no longer."""
        if self.container.live is not None:
            self.container.live.intent.forget_stop()

    def wake_guest(self, because: str) -> None:
        """Wake its guest, if that sleeps. Raises Transient if the disk does not take that."""
        if self.container.live is not None:
            self.container.live.wake_guest(because)

    def refresh_guest(self) -> RefreshOrder:
        """Have its guest moved to the QEMU that is installed now. Raises Transient if the container does not run."""
        if self.container.live is None:
            raise Transient(f"container {self.name} does not run", step=Step.REFRESH)
        order = self.container.live.guest.ask_refresh()
        self.mark()
        return order

    def kill_guest(self) -> None:
        """Kill the QEMU of its guest, if one runs."""
        if self.container.live is not None:
            self.container.live.kill_guest()

    def is_marked(self) -> bool:
        """Whether it was marked since its last pass began."""
        return self._mailbox.is_marked()

    async def wait_converged(self, timeout_s: float) -> bool:
        """Wait until the container has converged or failed. Returns False on timeout."""
        return await self._mailbox.wait_converged(timeout_s)

    async def wait_for(self, reached: Callable[[ContainerStatus], bool], timeout_s: float) -> bool:
        """Wait until the status is as asked, after a pass that ends from now on. Returns False on timeout."""
        return await self._mailbox.wait_for(lambda: reached(self.status()), timeout_s)

    async def run(self) -> None:
        """Run until the container has ended and nothing of it is left. If cancelled, leave everything as it is."""
        structlog.contextvars.bind_contextvars(container=self.container.name_in_log)
        try:
            async with anyio.create_task_group() as self._tasks:
                while True:
                    self._mailbox.begin_pass()
                    due_s = await self._pass()
                    self._mailbox.end_pass(converged=self._has_converged())
                    if self.is_marked():
                        continue
                    if self.container.is_gone and not self._failures:
                        break
                    await self._rest(due_s)
        finally:
            self.container.close()
            self._mailbox.end_pass()

    def _has_converged(self) -> bool:
        """Whether its state is an answer: not if the container only seemed to be gone, or is still to be confirmed.

        Nor is it one if what failed may succeed in a moment.
        """
        if self.container.unconfirmed or self.container.has_brief_trouble:
            return False
        return not self._failures or self.container.error is not None

    async def _rest(self, due_s: float | None) -> None:
        """Wait until another pass is due. After an attach it is due as soon as no other container starts."""
        if not self.container.unconfirmed:
            await self._mailbox.wait(due_s)
            return
        with anyio.move_on_after(_LONGEST_S if due_s is None else min(due_s, _LONGEST_S)):
            while self._context.early_attach.is_burst() and not self.is_marked():  # the others are attached first
                await self._mailbox.wait(_QUIET_S)
        self.container.confirm()

    async def _pass(self) -> float | None:
        """Make one pass. Returns in how many seconds the next one is due, if it is due without a mark."""
        try:
            unanswered = await self.container.converge(self._tasks)
        except (Transient, Permanent) as error:
            error.concern(f"container {self.name}")
            return self._retry(error) if isinstance(error, Transient) else self._give_up(error)
        except OSError as error:
            # Any call can fail on a machine without descriptors, memory or disk. That must not end the daemon.
            unexpected = error_of_machine(error)
            unexpected.concern(f"container {self.name}")
            return self._retry(unexpected)
        due_s = self.container.live.due_s() if self.container.live is not None else None
        if unanswered is not None:
            delay_s = self._retry(unanswered)
            return delay_s if due_s is None else min(delay_s, due_s)
        self._failures = 0
        if isinstance(self.container.error, Transient):
            self.container.error = None
        if self.container.live is None or self.container.live.executor.guest_error is None:
            self._logged.clear()
        return due_s

    def _is_news(self, error: VtapdError) -> bool:
        """Whether this was not logged yet, since the container was in order last."""
        known, self._logged = self._logged, {*self._logged, str(error)} if len(self._logged) < _MOST_LOGGED else set()
        return str(error) not in known

    def _retry(self, error: Transient) -> float:
        self._failures += 1
        self.container.description.expire()
        delay_s = RETRY.delay_s(self._failures)
        if isinstance(error, ContainerGone):
            log.debug("container_ended_meanwhile", step=error.step, error=str(error))
        else:
            self.container.error = error
            self._context.counters.attach_failures.labels(error.step).inc()
            if self._is_news(error):
                log.warning("attach_retry", step=error.step, error=str(error), delay_s=delay_s)
        return delay_s

    def _give_up(self, error: Permanent) -> float | None:
        """Undo at once what was done. Nothing is tried again before the container changes."""
        if isinstance(self.container.error, Permanent):
            if self._is_news(error):
                log.error("undo_failed", step=error.step, error=str(error))
            return None
        self.container.error = error
        if isinstance(error, NoNetwork):
            log.warning("container_rejected", step=error.step, error=str(error))
        elif isinstance(error, Rejected):
            log.error("container_rejected", step=error.step, error=str(error))
        else:
            self._context.counters.attach_failures.labels(error.step).inc()
            log.error("attach_failed", step=error.step, error=str(error))
        return 0.0
