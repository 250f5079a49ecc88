"""What one run of a container should have: decided from its labels, the configuration and the operator's orders."""

from enum import Enum, auto

from supervisor.container.adoption import adopt_guest
from supervisor.container.context import Context
from supervisor.container.description import Description
from supervisor.container.observer import ContainerObserver
from supervisor.container.record import ContainerRecord
from supervisor.core.attach.selection import ENABLE, KERNEL, why_left_alone, why_no_network
from supervisor.core.attach.state import Desired
from supervisor.core.container import Container, Incarnation
from supervisor.core.devices.wake_program import Wakers
from supervisor.core.formats.docker_event import Event
from supervisor.core.guest.exit_status import exit_status
from supervisor.core.guest.idle_spec import SUSPEND
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.pending import Pending, pending_of, terms_of
from supervisor.core.guest.restart import keeps_network
from supervisor.core.guest.stop_signal import asks_to_end, grace_s
from supervisor.core.record import Exit
from supervisor.edges.clock import boottime_s
from supervisor.errors import NoNetwork, Rejected, Step
from supervisor.guest.controller import GuestController
from supervisor.guest.guest_plan import GuestPlan, examine


class Decision(Enum):
    """Whether it is decided what the container should have."""

    NONE = auto()
    """It is not: it has just started, or its labels or files were rejected."""
    OUTDATED = auto()
    """It is, and the decision holds until it has been made again, which is due."""
    WITH_GUEST = auto()
    """It is, and the guest that runs keeps the plan of an earlier decision. The next guest needs another one."""
    MADE = auto()


class Intent:
    """`decide` it when that `is_due`; then `desired` is what should be at that moment."""

    def __init__(
        self,
        context: Context,
        record: ContainerRecord,
        description: Description,
        incarnation: Incarnation,
        observer: ContainerObserver,
        guest: GuestController,
    ) -> None:
        self.ignored_reason: str | None = None
        """Why it gets nothing, though nothing failed."""
        self.wanted = True
        """False after an error that an operator must correct: everything is undone."""
        self._stops_until_s: float | None = None
        """Until when, in seconds since boot, its stop signal means that it is about to end; None without a signal."""
        self._context = context
        self._record = record
        self._description = description
        self._incarnation = incarnation
        self._observer = observer
        self._guest = guest
        self._decision = Decision.NONE

    @property
    def container(self) -> Container:
        """As it was described last."""
        assert self._description.container is not None, "a container that runs was described"
        return self._description.container

    @property
    def guest_stopped_by_operator(self) -> bool:
        record = self._record.of(self._incarnation)
        return record is not None and record.held

    @property
    def stopping(self) -> bool:
        """Docker sent it its stop signal, and it may be about to end."""
        return self._stops_until_s is not None and boottime_s() < self._stops_until_s

    @property
    def is_due(self) -> bool:
        """Whether a decision has to be made."""
        guest_ended = self._guest.session is None and self._guest.plan is not None
        if self._decision is Decision.WITH_GUEST:
            return guest_ended
        return self._decision in (Decision.NONE, Decision.OUTDATED)

    def outdate(self) -> None:
        """Docker, the configuration or an operator says something new."""
        if self._decision is not Decision.NONE:
            self._decision = Decision.OUTDATED

    def on_kill_event(self, event: Event) -> None:
        """Docker sent the container a signal. A replayed event from before its start was about an earlier run.

        The time of other events is not compared: if the clock was set back, each of them seems older than the start.
        """
        of_this_run = not event.replayed or event.time_ns >= self.container.started_ns
        if of_this_run and asks_to_end(event.signal, self.container):
            guest_s = self._guest.plan.spec.stop_timeout_s if self._guest.plan is not None else 0.0
            self._stops_until_s = boottime_s() + grace_s(self.container.stop_timeout_s, guest_s)

    def forget_stop(self) -> None:
        """An operator wants its guest to run, whatever signal Docker sent before."""
        self._stops_until_s = None

    async def decide(self) -> None:
        """Decide again. Raises Rejected if its labels or files ask for what cannot be."""
        self._decision = Decision.MADE  # before anything is awaited: what changes meanwhile outdates it
        try:
            record = self._record.of(self._incarnation)
            await adopt_guest(self._context, self._observer, self._guest, self.container, record)
            self.ignored_reason = self._why_ignored()
            if self._guest.session is None:
                await self._plan_guest()
            elif self._decision is Decision.MADE:
                self._decision = Decision.WITH_GUEST
        except BaseException:
            self._decision = Decision.NONE
            raise

    def _why_ignored(self) -> str | None:
        record = self._record.of(self._incarnation)
        if record is not None and record.detached:
            return "an operator detached it (vtapd detach)"
        if self.container.labels.get(ENABLE) != "false" and self._guest.session is None:
            parse_labels(self.container, self._context.config.policy)  # wrong labels are an error without a guest, too
            if KERNEL in self.container.labels and (why := why_no_network(self.container)):
                asked = f"container {self.container.name}: label {KERNEL} asks for a guest, but {why}"
                raise NoNetwork(asked, step=Step.LABELS, remedy="give it a network of its own: docker run --network")
        return why_left_alone(self.container, self._context.config.attach.containers)

    async def _plan_guest(self) -> None:
        if self.ignored_reason is not None:
            return
        spec = parse_labels(self.container, self._context.config.policy)
        if spec is None:
            self._observer.attachment().nodes.require()
            self._guest.plan = None
            return
        handles, interfaces = self._observer.attachment().handles, self._observer.observe_originals(spec.address)
        self._guest.plan = await examine(self._context, handles, spec, self.container, interfaces)

    @property
    def attached(self) -> bool:
        """Whether the container should be attached."""
        return self.wanted and self._decision is not Decision.NONE and self.ignored_reason is None

    @property
    def serves_guest(self) -> bool:
        """Whether it should have a guest: one that runs, or that will be started again."""
        done = self._guest.record.done is not None
        return self.attached and self._guest.plan is not None and not done and not self.guest_stopped_by_operator

    def desired(self) -> Desired:
        """Return what should be now."""
        plan, endpoints = self._guest.plan, self.container.endpoints
        if plan is None or not self.serves_guest:
            return Desired(self.attached, exit_status=self.exit_status, endpoints=endpoints)
        runs_on = self._guest.session is not None and not self.stopping and self._may_run_on()
        due = self._may_start() and boottime_s() >= self._guest.record.not_before_s
        takes_over = plan.spec.address.takes_over and (runs_on or due or not keeps_network(self._guest.record))
        # A guest that learns its addresses at its start could do nothing with those of a later card.
        hotplug = not plan.spec.address.takes_over and plan.kind.takes_cards and self._guest.takes_cards
        return Desired(
            attached=True,
            takeover=takes_over,
            mac="" if plan.spec.address.takes_over else self.container.mac_address,
            guest=runs_on or due,
            wakers=self._wakers(plan),
            cards=plan.kind.most_cards,
            ip_versions=plan.needed_versions,
            hotplug=hotplug,
            ready=self._guest.is_ready or self._slept_ready(plan),
            refresh=self._guest.wants_refresh and self._may_start(),
            snapshot=self._guest.wants_snapshot and self._may_start(),
            exit_status=self.exit_status,
            endpoints=endpoints,
            link_address=self._observer.link_address,
            resumes_at_s=self._stops_until_s if self.stopping and plan.spec.restart.mode != "no" else None,
        )

    @property
    def exit_status(self) -> int | None:
        """The exit status of a guest that is done for good, or stopped with its container; None for any other."""
        record = self._guest.record
        if self._guest.session is not None or self.guest_stopped_by_operator:
            return None
        if record.asleep is not None:
            return exit_status(Exit("stopped")) if self.stopping else None
        if not record.exits:
            return None
        is_done = record.done is not None or self.stopping
        return exit_status(record.exits[-1]) if is_done and not record.exits[-1].never_ran else None

    def due_s(self, wanted: Desired | None) -> float | None:
        """Return in how many seconds its guest starts again, if it waits for that. `wanted`: by the last pass.

        That pass may have taken so long that the guest is due now.
        """
        if self._stops_until_s is not None and self.stopping:
            return max(0.0, self._stops_until_s - boottime_s())
        if self.serves_guest and self._may_start() and not (wanted and wanted.guest):
            return max(0.0, self._guest.record.not_before_s - boottime_s())
        return None

    def _may_start(self) -> bool:
        """Whether a guest may be started, once it is due: not in a container that stops or is paused.

        One that sleeps is started once something has woken it, and its QEMU has ended.
        """
        asleep = self._guest.record.asleep
        is_up = asleep is None or (asleep.woken_at_s is not None and self._guest.session is None)
        return is_up and not self.stopping and not self.container.paused

    def _may_run_on(self) -> bool:
        """Whether the guest that runs is not to fall asleep, or may be called back from that."""
        asleep = self._guest.record.asleep
        return asleep is None or (asleep.woken_at_s is not None and not asleep.ends)

    def _wakers(self, plan: GuestPlan) -> Wakers | None:
        """Return what wakes the guest; None if it is awake, or its QEMU is to be stopped with its container."""
        asleep, record = self._guest.record.asleep, self._record.of(self._incarnation)
        if asleep is None or record is None or (self.stopping and self._guest.session is not None):
            return None
        own = plan.spec.address.address
        originals = (entry.original for entry in record.taps if entry.original is not None)
        taken = (address.ip for original in originals for address in original.addresses)
        return Wakers(tuple(taken) if own is None else (own.ip,), keeps_state=asleep.mode == SUSPEND)

    def _slept_ready(self, plan: GuestPlan) -> bool:
        """Whether its guest sleeps, and was ready before."""
        asleep = self._guest.record.asleep
        if asleep is None or asleep.process is None or self._guest.session is not None:
            return False
        return plan.spec.ready is None or asleep.process.ready_at_s is not None

    def pending(self) -> tuple[Pending, ...] | None:
        """Return how its guest differs from one that would be started now; None if none runs, or it is not known."""
        running = self._guest.record.process
        if self._guest.session is None or running is None or not running.terms:
            return None
        config = self._context.config
        try:
            spec = parse_labels(self.container, config.policy)
        except Rejected as error:
            return (Pending("labels", "accepted", str(error)),)
        return pending_of(running.terms, terms_of(spec, config.keys_of_starts)) if spec else None
