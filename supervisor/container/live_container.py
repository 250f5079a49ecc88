"""One run of a container, from its init's start to its end: what it should have, what it has, and its guest.

What is done to it is on record before it is done. A later daemon goes on from there.
"""

from collections.abc import Callable
from dataclasses import replace

import anyio.abc
import structlog

from supervisor.container.context import Context
from supervisor.container.description import Description
from supervisor.container.ending import ContainerEnding
from supervisor.container.executor import PlanExecutor
from supervisor.container.guest_actions import GuestActions
from supervisor.container.idle_watch import IdleWatch
from supervisor.container.intent import Intent
from supervisor.container.link_services import LinkServices
from supervisor.container.observer import ContainerObserver
from supervisor.container.port_watch import PortWatch
from supervisor.container.record import ContainerRecord
from supervisor.container.recovery import recover_guest, recover_record
from supervisor.container.revocation import deny_unrecorded
from supervisor.container.tap_watch import TapWatch
from supervisor.container.wake_watch import WakeWatch
from supervisor.core.attach.actions import SetWakeFilter
from supervisor.core.attach.plan import has_card
from supervisor.core.attach.selection import why_no_network
from supervisor.core.attach.troubles import container_error
from supervisor.core.container import Container, Incarnation
from supervisor.core.guest.pending import Pending
from supervisor.core.kinds.network import no_address
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.errors import Step, Transient, VtapdError
from supervisor.guest.console_hub import CloseReason, ConsoleHub
from supervisor.guest.controller import GuestController
from supervisor.guest.qemu_process import SocketPaths
from supervisor.guest.screen import GuestScreen

_ENDS_WITH_CONTAINER_S = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LiveContainer:
    """`converge` it whenever something may have changed; `close` it when the container or the daemon ends."""

    def __init__(
        self,
        context: Context,
        tasks: anyio.abc.TaskGroup,
        record: ContainerRecord,
        description: Description,
        incarnation: Incarnation,
        mark: Callable[[], None],
        on_attached: Callable[[bool], None],
    ) -> None:
        """`on_attached` is called whenever the container is seen attached, with True the first time after a step."""
        self.incarnation = incarnation
        paths = SocketPaths(context.config.run_dir, record.id)
        self.guest = GuestController(context, tasks, record, incarnation, paths, mark)
        self._services = LinkServices(context, tasks, record, description, incarnation, self.guest)
        self._observer = ContainerObserver(context, record, self.guest, description, incarnation)
        actions = GuestActions(self.guest, self._services, self._observer, description)
        self.executor = PlanExecutor(context, record, self._observer, actions, description, incarnation, on_attached)
        self.intent = Intent(context, record, description, incarnation, self._observer, self.guest)
        self._context = context
        self._record = record
        self._tasks = tasks
        self._ending = ContainerEnding(incarnation, self.intent, self.guest, tasks)
        self._was_paused = False
        self._ports = PortWatch(mark, tasks)
        self._idle = IdleWatch(incarnation, self.guest, mark)
        self._wakes = WakeWatch(self.guest, mark)
        self._mark = mark
        self._watch = TapWatch(context, record, incarnation, mark)
        self._recovered = not context.leftovers.may_concern(incarnation)
        if self._recovered:
            context.leftovers.note_recovered(record.id)

    @property
    def container(self) -> Container:
        """As it was described last."""
        return self.intent.container

    @property
    def console(self) -> ConsoleHub | None:
        """The console of its guest; None if it has no guest."""
        return self.guest.console_hub if self.guest.plan is not None else None

    def status(self, error: VtapdError | None) -> ContainerStatus:
        """Return what is known of it now. `error` is the worker's."""
        return ContainerStatus(
            id=self.container.id,
            name=self.container.name,
            incarnation=self.incarnation,
            paused=self.container.paused,
            stopping=self.intent.stopping,
            attached=self.executor.attached,
            ignored_reason=self.intent.ignored_reason,
            error=error or self._network_error(),
            troubles=self.executor.troubles.all(),
            guest_error=self.executor.guest_error,
            record=self._record.of(self.incarnation),
            seen=self.executor.seen,
            cgroup=self._observer.cgroup,
            device_rule_note=self._observer.device_rule_note,
            link_address=self._observer.link_address,
            guest=self._guest_status(),
        )

    def observe_status(self, error: VtapdError | None) -> ContainerStatus:
        """Return what is known of it, and what the kernel shows at this moment."""
        return replace(self.status(error), seen=self._observer.look() or self.executor.seen)

    def _guest_status(self) -> GuestStatus | None:
        plan, session = self.guest.plan, self.guest.session
        if plan is None:
            return None
        return GuestStatus(
            spec=plan.spec,
            kind=plan.kind.name,
            because=plan.because,
            qemu=session.record if session else None,
            booted=session is not None and session.running_at_s is not None,
            answers=session.answers if session else None,
            console_dropped_bytes=self.guest.console_dropped_bytes,
            dns_queries=dict(self._services.query_counts),
            changed_macs=session.changed_macs if session else {},
        )

    def pending(self) -> tuple[Pending, ...] | None:
        """Return what the next start of its guest would change; None if none runs, or that is not known."""
        return self.intent.pending()

    def check_guest(self) -> None:
        """Check soon that the guest's QEMU, if one runs, still answers."""
        if self.guest.session is not None:
            self.guest.session.ask()

    def wake_guest(self, because: str) -> None:
        """Wake the guest, if it sleeps. Raises Transient if the disk does not take that."""
        self.guest.sleeper.wake(because)
        self._mark()

    def kill_guest(self) -> None:
        """Kill the guest's QEMU, if one runs, for an operator who has stopped the guest."""
        if self.guest.session is not None:
            self.guest.session.kill()

    def guest_screen(self) -> GuestScreen:
        """Return the screen of its guest. Raises Transient if no guest runs."""
        if self.guest.session is None:
            raise Transient("its guest does not run any more", step=Step.SCREEN)
        return self.guest.session.screen

    async def converge(self, *, wanted: bool) -> None:
        """Take actions until everything is as it should be. Without `wanted`, undo everything.

        Raises Rejected if its labels or files ask for what cannot be.
        """
        self.intent.wanted = wanted
        if not self._recovered:
            await self._recover()
        self._note_pause()
        self.guest.settle()
        if wanted and self.intent.is_due:
            await self.intent.decide()
        await self.executor.converge(self.intent.desired)
        self._watch_ports()
        if self._observer.opened is not None:
            await self._watch.keep_up(self._tasks, self._observer.opened)
            self._services.keep_up(self._observer.opened)
        self._keep_up_sleep()
        if self.intent.ignored_reason is not None and self.guest.session is None:
            self.guest.plan = None
        self._check_network()
        self._ending.end_if_due()

    def _keep_up_sleep(self) -> None:
        """Let the guest fall asleep and wake when it should."""
        asleep = self.guest.record.asleep
        if asleep is not None and self.guest.session is None and not self.intent.serves_guest:
            self.guest.sleeper.forget()
        elif asleep is not None and self.guest.session is not None and asleep.woken_at_s is None:
            self._call_off_sleep()
        seen = self.executor.seen
        self._idle.keep_up(self._tasks, seen, paused=self.container.paused)
        if self._observer.opened is not None:
            self._wakes.keep_up(self._tasks, self._observer.opened, self._record.of(self.incarnation), seen)

    def _call_off_sleep(self) -> None:
        """Let a guest go on that was to fall asleep and runs on, if that is because its taps cannot be filtered."""
        why = next((each.error for each in self.executor.troubles.all() if each.attempt.kind is SetWakeFilter), None)
        if why is not None:
            self.guest.sleeper.note_sleepless(str(why))
            self._mark()

    def _note_pause(self) -> None:
        paused, was_paused = self.container.paused, self._was_paused
        self._was_paused = paused
        if paused and not was_paused:
            log.info("container_paused")
        elif was_paused and not paused:
            log.info("container_continued")

    def due_s(self) -> float | None:
        """Return in how many seconds its guest starts again, or something that failed is tried again, if anything."""
        due_s = (self.intent.due_s(self.executor.wanted), self.executor.troubles.due_s())
        return min((seconds for seconds in due_s if seconds is not None), default=None)

    def outdate(self) -> None:
        """Docker, the configuration or an operator says something new: decide again, and try again what failed."""
        self.intent.outdate()
        self.executor.troubles.retry_now()

    async def end(self) -> None:
        """The container has ended, and its guest ends with it: wait for that, then close."""
        if self.guest.session is not None:
            await self.guest.session.wait_ended(_ENDS_WITH_CONTAINER_S)
            self.guest.settle()
        self.close(CloseReason.CONTAINER_ENDED)

    def close(self, reason: CloseReason = CloseReason.DAEMON_ENDS) -> None:
        """Close all descriptors; everything in the container stays as it is."""
        self._ports.close()
        self._watch.close()
        self._idle.close()
        self._wakes.close()
        self._services.close()
        self._ending.close()
        self.guest.close(reason)
        self._observer.close()

    async def _recover(self) -> None:
        """Recover once what an earlier daemon may have left of this run."""
        leftovers = self._context.leftovers
        if why_no_network(self.container) is None:
            try:
                attachment = self._observer.attachment()
                attachment.sweep()
                scope = self._observer.scope()
                recover_record(self.container, self.incarnation, attachment, scope, self._record)
                record = self._record.of(self.incarnation)
                attachment.nodes.sweep({entry.slot for entry in record.taps} if record else set())
            finally:
                await deny_unrecorded(self._context, self.container, self.incarnation, self._record)
            leftovers.note_recovered(self.container.id)
            found = leftovers.guests_of(self.container.id, self.incarnation.pid)
            if self._record.of(self.incarnation) is not None:
                await self.guest.settle_handover(self.container)
            await recover_guest(self.container, self._record.of(self.incarnation), attachment, self.guest, found)
        leftovers.forget(self.container.id)
        self._recovered = True

    def _check_network(self) -> None:
        """Raises Transient for a guest without an interface, and Rejected for one that can get no address."""
        record, seen, plan = self._record.of(self.incarnation), self.executor.seen, self.guest.plan
        wanted = self.executor.wanted
        if not self.intent.serves_guest or record is None or seen is None or wanted is None or plan is None:
            return
        if not record.taps:
            message = "it has no interface with an address, which its guest could use"
            raise Transient(message, step=Step.TAKEOVER, remedy="connect it to a network: docker network connect")
        if any(each.wanted and each.obstacle for each in seen.interfaces):
            return  # that is why, if it has no card
        if not has_card(wanted, seen, record):
            raise no_address([entry.interface for entry in record.taps], plan.needed_versions)

    def _watch_ports(self) -> None:
        seen = self.executor.seen
        if self.intent.attached and seen is not None and any(each.wanted and each.obstacle for each in seen.interfaces):
            self._ports.start(self.incarnation.pid)
        else:
            self._ports.close()

    def _network_error(self) -> VtapdError | None:
        """Return why nothing of its network is in order, if so."""
        seen, troubles = self.executor.seen, self.executor.troubles.all()
        if seen is None or not troubles:
            return None
        record = self._record.of(self.incarnation)
        return container_error(troubles, self.intent.desired(), seen, record, serves_guest=self.intent.serves_guest)
