"""One run of a container, from its init's start to its end: what it is to have, what it has, and the steps between.

What is done to it is on record before it is done; a daemon that comes later goes on from there.
"""

import signal
from collections.abc import Callable
from dataclasses import replace

import anyio.abc
import structlog

from supervisor.container.context import Context
from supervisor.container.executor import Steps
from supervisor.container.record import Ledger
from supervisor.container.recovery import recover_guest, recover_record
from supervisor.container.revocation import deny_unrecorded
from supervisor.core.attach.plan import has_card
from supervisor.core.attach.selection import ENABLE, why_left_alone, why_no_network
from supervisor.core.attach.state import Desired
from supervisor.core.formats.docker_event import Event
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.pending import Pending, pending_of, terms_of
from supervisor.core.guest.restart import NOT_CRASHES
from supervisor.core.guest.spec import UNLIMITED, AddressPlan, GuestSpec
from supervisor.core.kinds import KINDS
from supervisor.core.kinds.network import no_address
from supervisor.core.model import Container, GuestRecord, Incarnation, ProcessRecord
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import process
from supervisor.errors import Permanent, Rejected, Step, Transient, VtapdError
from supervisor.guest.console_hub import CloseReason
from supervisor.guest.controller import GuestController
from supervisor.guest.guest_plan import GuestPlan, examine
from supervisor.guest.qemu_process import SocketPaths

_ENDS_WITH_CONTAINER_S = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ContainerRun:
    """`converge` it whenever something may have changed; `close` it when the container or the daemon ends."""

    def __init__(
        self,
        context: Context,
        tasks: anyio.abc.TaskGroup,
        ledger: Ledger,
        container: Container,
        incarnation: Incarnation,
        mark: Callable[[], None],
        on_attached: Callable[[bool], None],
    ) -> None:
        """`on_attached` is called at every look that finds it attached, True the first time."""
        self.incarnation = incarnation
        self.left_alone: str | None = None
        """Why it gets nothing, though nothing is wrong."""
        self.stopping = False
        """Docker was asked to stop or kill it."""
        self._context = context
        self._ledger = ledger
        paths = SocketPaths(context.config.run_dir, container.id)
        self.keeper = GuestController(context, tasks, ledger, incarnation, paths, mark)
        self.steps = Steps(context, ledger, self.keeper, container, incarnation, on_attached)
        self._wanted = True
        self._recovered = not context.leftovers.may_concern(incarnation)
        if self._recovered:
            context.leftovers.note_recovered(container.id)
        self._decided = False
        """Whether it was decided what it is to have; that holds until it is decided anew."""
        self._undecided = True
        """Whether that is due: something else is known, or wanted."""
        self._planned = False
        """Its guest's plan is of the latest decision, not of one before."""
        self._ending = False
        """vtapd has asked Docker to stop it."""

    @property
    def container(self) -> Container:
        """As Docker described it last."""
        return self.steps.container

    @property
    def guest(self) -> GuestRecord:
        """What is on record of its guest."""
        return self.keeper.record

    @property
    def held(self) -> bool:
        """Whether an operator stopped its guest."""
        record = self._ledger.of(self.incarnation)
        return record is not None and record.held

    def reconsider(self, container: Container) -> None:
        """Docker says something new of it, or an operator does."""
        self.steps.container = container
        self._undecided = True

    def note_kill(self, event: Event) -> None:
        """Docker sent it a signal; or, if the event is replayed and from before its start, an earlier run of it.

        Other events are not judged by their time: a clock that was set back makes each of them older than the start.
        """
        of_this_run = not event.replayed or event.time_ns >= self.container.started_ns
        self.stopping = self.stopping or (of_this_run and event.signal == self.container.stop_signal)

    async def converge(self, wanted: bool) -> None:
        """Take steps until what is, is what should be; without `wanted` that is nothing.

        Raises Rejected where its labels or files ask for what cannot be.
        """
        self._wanted = wanted
        if not self._recovered:
            await self._recover()
        self.keeper.settle()
        starts_anew = not self._planned and self.keeper.session is None and self.keeper.plan is not None
        if wanted and (starts_anew or self._undecided):
            await self._decide()
        await self.steps.carry_out(self._desired)
        if self.left_alone is not None and self.keeper.session is None:
            self.keeper.plan = None
        self._check_network()
        self._stop_container_when_done()
        if self.stopping and self.keeper.plan and self.keeper.session is None:
            self._end_deaf_init()

    def _check_network(self) -> None:
        """Raises Transient for a guest without an interface, and Rejected for one that can be told no address."""
        record, seen, plan = self._ledger.of(self.incarnation), self.steps.seen, self.keeper.plan
        if not self._serves() or record is None or seen is None or plan is None:
            return
        if not record.taps:
            said = "it has no interface with an address, which its guest could be on"
            raise Transient(said, step=Step.TAKEOVER, remedy="connect it to a network: docker network connect")
        if not has_card(self._desired(), seen, record):
            raise no_address([entry.interface for entry in record.taps], plan.needed_versions)

    def due_s(self) -> float | None:
        """In how many seconds its guest is to be started again, if that is what it waits for."""
        if self._serves() and not self._desired().guest and self._may_start():
            return max(0.0, self.guest.not_before_s - boottime_s())
        return None

    async def end(self) -> None:
        """The container has ended, and its guest with it: see that out, then close."""
        if self.keeper.session is not None:
            await self.keeper.session.wait_ended(_ENDS_WITH_CONTAINER_S)
            self.keeper.settle()
        self.close(CloseReason.CONTAINER_ENDED)

    def close(self, reason: CloseReason = CloseReason.DAEMON_ENDS) -> None:
        """Close all descriptors. Everything in the container stays as it is."""
        self.keeper.close(reason)
        self.steps.close()

    def status(self, error: VtapdError | None) -> ContainerStatus:
        """Return what is known of it now. `error` is the worker's."""
        attachment = self.steps.attachment
        return ContainerStatus(
            id=self.container.id,
            name=self.container.name,
            incarnation=self.incarnation,
            paused=self.container.paused,
            stopping=self.stopping,
            attached=self.steps.attached,
            ignored_reason=self.left_alone,
            error=error,
            guest_error=self.steps.guest_trouble,
            record=self._ledger.of(self.incarnation),
            seen=self.steps.seen,
            cgroup=attachment.cgroup.path if attachment else None,
            device_rule_note=attachment.rules.note if attachment else None,
            guest=self._guest_status(),
        )

    def _guest_status(self) -> GuestStatus | None:
        plan, session = self.keeper.plan, self.keeper.session
        if plan is None:
            return None
        return GuestStatus(
            spec=plan.spec,
            kind=plan.kind.name,
            because=plan.because,
            qemu=session.record if session else None,
            booted=session is not None and session.running_at_s is not None,
        )

    def pending(self) -> tuple[Pending, ...] | None:
        """By what its guest differs from one that would be started now; None where none runs, or nobody knows."""
        running = self.guest.process
        if self.keeper.session is None or running is None or not running.terms:
            return None
        config = self._context.config
        try:
            spec = parse_labels(self.container, config.policy)
        except Rejected as error:
            return (Pending("labels", "accepted", str(error)),)
        return pending_of(running.terms, terms_of(spec, config.keys_of_starts)) if spec else None

    # What it is to have

    async def _recover(self) -> None:
        """Once, for a run that an earlier daemon may have begun."""
        leftovers = self._context.leftovers
        if why_no_network(self.container.network_mode) is None:
            try:
                attachment = self.steps.reach()
                attachment.sweep()
                recover_record(self.container, self.incarnation, attachment, self._ledger)
            finally:
                await deny_unrecorded(self._context, self.container, self.incarnation, self._ledger)
            leftovers.note_recovered(self.container.id)
            found = leftovers.guests_of(self.container.id, self.incarnation.pid)
            await recover_guest(self.container, self._ledger.of(self.incarnation), attachment, self.keeper, found)
        leftovers.forget(self.container.id)
        self._recovered = True

    async def _decide(self) -> None:
        """Raises Rejected."""
        self._undecided = False  # before anything is awaited: whoever asks for another decision meanwhile gets it
        try:
            await self._adopt_guest()
            self.left_alone = self._why_left_alone()
            self._planned = self.keeper.session is None
            if self.left_alone is None and self._planned:
                spec = parse_labels(self.container, self._context.config.policy)
                self.keeper.plan = await self._examine(spec) if spec else None
            self._decided = True
        except BaseException:
            self._decided, self._undecided = False, True
            raise

    def _why_left_alone(self) -> str | None:
        record = self._ledger.of(self.incarnation)
        if record is not None and record.detached:
            return "an operator detached it (vtapd detach)"
        if self.container.labels.get(ENABLE) != "false" and self.keeper.session is None:
            parse_labels(self.container, self._context.config.policy)  # wrong labels are told of, guest or not
        return why_left_alone(self.container, self._context.config.attach.containers)

    async def _adopt_guest(self) -> None:
        """Take on a guest that an earlier daemon started, before anything is decided that might end it."""
        guest = self.guest
        if guest.process is None or self.keeper.session is not None:
            return
        attachment = self.steps.reach()
        plan = await self._plan_of_running(guest.process)
        self.keeper.adopt(self.container, attachment.handles, plan)

    async def _plan_of_running(self, running: ProcessRecord) -> GuestPlan:
        """The limits of today's configuration are for guests that start today."""
        try:
            spec = parse_labels(replace(self.container, memory_limit_bytes=0), UNLIMITED)
            if spec is not None and not running.kind:
                return await self._examine(spec)
        except Rejected:
            spec = None
        kind = KINDS.get(running.kind, KINDS["raw"])
        return GuestPlan(spec or self._spec_of_old(), kind, running.because)

    async def _examine(self, spec: GuestSpec) -> GuestPlan:
        root = self.steps.reach().root
        return await examine(self._context, root, spec, self.container, self.steps.observe_originals())

    def _spec_of_old(self) -> GuestSpec:
        """Of a guest whose labels an earlier version understood: it keeps the addresses that it has."""
        record = self._ledger.of(self.incarnation)
        took_over = record is not None and any(entry.original for entry in record.taps)
        return GuestSpec(kernel="", memory_mib=0, address=AddressPlan("takeover" if took_over else "none"))

    def _attached(self) -> bool:
        return self._wanted and self._decided and self.left_alone is None

    def _serves(self) -> bool:
        """Whether it is a guest's: one that runs, or that will be started again."""
        return self._attached() and self.keeper.plan is not None and self.guest.done is None and not self.held

    def _desired(self) -> Desired:
        plan = self.keeper.plan
        if plan is None or not self._serves():
            return Desired(self._attached())
        runs_on = self.keeper.session is not None and not self.stopping
        due = self._may_start() and boottime_s() >= self.guest.not_before_s
        takes_over = plan.spec.address.takes_over
        # A guest that is told its addresses at its start could do nothing with those of a later card.
        hotplug = not takes_over and plan.kind.takes_cards and self.keeper.takes_cards
        return Desired(
            attached=True,
            takeover=takes_over,
            guest=runs_on or due,
            cards=plan.kind.most_cards,
            ip_versions=plan.needed_versions,
            hotplug=hotplug,
            ready=self.keeper.is_ready,
        )

    def _may_start(self) -> bool:
        """Whether a guest could be started now, were it due: not in a container that stops or is paused."""
        return not self.stopping and not self.container.paused

    # Ending the container itself

    def _stop_container_when_done(self) -> None:
        """What `vtapd.on-exit=stop` says of a guest that is done for good."""
        plan, guest = self.keeper.plan, self.guest
        if plan is None or plan.spec.on_exit != "stop" or not guest.done or not guest.exits:
            return
        if self.stopping or self.held or self._ending or guest.exits[-1].reason in NOT_CRASHES:
            return
        self._ending = True
        log.info("container_stopping", because="its guest is done")
        self.keeper.tasks.start_soon(self._stop_container)

    async def _stop_container(self) -> None:
        try:
            await self._context.docker.stop(self.container.id)
        except (Transient, Permanent) as error:
            log.warning("container_not_stopped", error=str(error))
            self._ending = False

    def _end_deaf_init(self) -> None:
        """A stop is done when the guest is, even where the container's init cannot hear the stop signal."""
        if not self.container.paused and process.ignores_signal(self.incarnation.pid, self.container.stop_signal):
            log.debug("init_killed", pid=self.incarnation.pid, because="it has no handler for the stop signal")
            process.send_signal(self.incarnation, signal.SIGKILL)
