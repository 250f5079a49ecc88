"""One container's worker: looks, compares, takes one step, until nothing differs. Serial inside, parallel to others.

Events only mark it as worth a look, so one that is lost, doubled or late costs nothing. What it did is in the record
before it is done; a daemon that comes later goes on from there.
"""

import math
import signal
import time
from dataclasses import replace

import anyio
import structlog

from supervisor.attachment import Attachment
from supervisor.context import Context
from supervisor.core.actions import (
    Action,
    AllowDevice,
    DeleteRecord,
    DenyDevice,
    StartGuest,
    StopGuest,
    UnlinkNetns,
    WriteRecord,
)
from supervisor.core.device_program import RUNC_DEFAULTS, Rule, parse_rule
from supervisor.core.labels import ENABLE, GuestPolicy, GuestSpec, parse_labels, why_left_alone
from supervisor.core.lifecycle import NOT_CRASHES
from supervisor.core.model import Container, ContainerId, GuestRecord, Incarnation, Record, short_id
from supervisor.core.plan import Desired, Seen, is_attached, next_action
from supervisor.edges import netns, process, rootfs
from supervisor.edges.docker import Event
from supervisor.errors import ContainerGone, Permanent, Rejected, Transient, VtapdError
from supervisor.guest import SocketPaths, boottime_s
from supervisor.keeper import GuestKeeper
from supervisor.launch import examine

_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 30.0
_ENDS_WITH_CONTAINER_S = 5.0
_DETACH_S = 60.0
_NO_GUEST = GuestRecord()

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Worker:
    """`run` it in a task group; `mark` it from anywhere in the loop."""

    def __init__(self, context: Context, container_id: ContainerId) -> None:
        self.id = container_id
        self.container: Container | None = None
        self.incarnation: Incarnation | None = None
        self.record: Record | None = None
        self.seen: Seen | None = None
        self.attachment: Attachment | None = None
        self.keeper: GuestKeeper
        self.attached = False
        self.left_alone: str | None = None
        """Why this container gets nothing, though nothing is wrong."""
        self.trouble: VtapdError | None = None
        """What went wrong last. A Permanent one holds until the container changes."""
        self.guest_trouble: Permanent | None = None
        """Why its guest could not be started at all."""
        self._context = context
        self._paths = SocketPaths(context.config.run_dir, container_id)
        self._decided = False
        self._stopping = False
        self._inspect = True
        self._started_ns: int | None = None
        """The start that is to be measured, until it has been."""
        self._last_start_ns = 0
        self._ending = False
        """Docker was asked to stop the container."""
        self._failures = 0
        self._marked = anyio.Event()
        self._idle = anyio.Event()

    @property
    def name(self) -> str:
        """The container's name, or its short id before Docker told it."""
        return self.container.name if self.container else short_id(self.id)

    @property
    def guest(self) -> GuestRecord:
        """What is on record of this incarnation's guest."""
        current = self._current_record()
        return current.guest if current else _NO_GUEST

    def mark(self, event: Event | None = None, *, inspect: bool = False) -> None:
        """Something may have changed: look again, soon. `inspect` asks Docker again, too."""
        self._inspect = self._inspect or inspect or event is not None
        if event is not None and event.action == "start" and event.time_ns > self._last_start_ns:
            self._started_ns = self._last_start_ns = event.time_ns
        if event is not None and event.action == "kill" and self.container is not None:
            # Events may come twice: one from before this run of the container is none of its business.
            of_this_run = event.time_ns >= self.container.started_ns
            self._stopping = self._stopping or (of_this_run and event.signal == self.container.stop_signal)
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._marked.set()

    async def set_detached(self, detached: bool) -> None:
        """Have this run of the container left alone, or taken on again; returns once that is done.

        Raises Transient where it does not come to that, saying why.
        """
        if self.incarnation is None:
            raise Transient(f"container {self.name} does not run", step="detach", remedy="start it: docker start")
        record = self._current_record() or Record(self.id, self.name, self.incarnation)
        fresh = replace(record.guest, done=None, crashes=0, not_before_s=0.0)
        self._write(replace(record, detached=detached, guest=record.guest if detached else fresh))
        self._decided, self.trouble = False, None
        self.mark()
        with anyio.move_on_after(_DETACH_S):
            await self._idle.wait()
        if self.trouble is not None:
            raise Transient(str(self.trouble), step="detach")
        if not self._idle.is_set() or self.attached == detached:
            raise Transient(f"container {self.name} is not {'detached' if detached else 'attached'}", step="detach")

    def is_marked(self) -> bool:
        """Whether it was marked since its last look began."""
        return self._marked.is_set()

    async def run(self) -> None:
        """Until the container does not run and nothing of it is left. Cancelled, it leaves everything as it is."""
        structlog.contextvars.bind_contextvars(container=self.name)
        try:
            async with anyio.create_task_group() as tasks:
                self.keeper = GuestKeeper(self._context, tasks, self._paths, self.mark)
                while True:
                    self._marked = anyio.Event()
                    due_s = await self._look()
                    if self._marked.is_set():
                        continue
                    self._idle.set()
                    if self._is_over():
                        break
                    with anyio.move_on_after(due_s):
                        await self._marked.wait()
        finally:
            self._let_go()

    def _is_over(self) -> bool:
        idle = self.incarnation is None and self.record is None and self.keeper.session is None
        return idle and not self._failures

    async def _look(self) -> float | None:
        """One pass; returns in how many seconds the next is due by itself, or None."""
        try:
            await self._converge()
        except (Transient, Permanent) as error:
            error.concern(f"container {self.name}")
            return self._retry(error) if isinstance(error, Transient) else self._give_up(error)
        except OSError as error:
            # A machine without descriptors, memory or disk says so anywhere; one container must not end the daemon.
            said = f"container {self.name}: {error.strerror or error}"
            return self._retry(Transient(said, step="system", remedy="see what the machine is short of: ulimit -n, df"))
        self._failures = 0
        if isinstance(self.trouble, Transient):
            self.trouble = None
        desired = self._desired()
        if desired.takeover and not desired.guest and self._may_start():
            return max(0.0, self.guest.not_before_s - boottime_s())
        return None

    def _retry(self, error: Transient) -> float:
        self._failures += 1
        self._inspect = True
        delay_s = min(_FIRST_RETRY_S * math.pow(2, min(self._failures - 1, 30)), _LAST_RETRY_S)
        if isinstance(error, ContainerGone):
            log.debug("container_ended_meanwhile", step=error.step, error=str(error))
        else:
            self.trouble = error
            self._context.counters.attach_failures.labels(error.step).inc()
            log.warning("will_retry", step=error.step, error=str(error), delay_s=delay_s)
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

    async def _converge(self) -> None:
        if self._inspect:
            self._inspect = False
            await self._ask_docker()
        running = self.container is not None and self.container.running
        incarnation = process.observe_incarnation(self.container.pid) if running and self.container else None
        if incarnation != self.incarnation:
            await self._turn_over(incarnation)
        if self.record is None:
            self._read_record()
        self._settle()
        if incarnation is not None and not self._decided and not isinstance(self.trouble, Permanent):
            await self._decide()
        await self._carry_out()
        if self.left_alone is not None and self.keeper.session is None:
            self.keeper.plan = None
        if self._desired().guest and self.keeper.session is None:
            said = "it has no interface with an address that its guest could have"
            raise Transient(said, step="takeover", remedy="connect it to a network: docker network connect")
        self._stop_container_when_done()
        if self._stopping and self.keeper.plan and self.keeper.session is None:
            self._end_deaf_init()

    async def _ask_docker(self) -> None:
        container = await self._context.docker.inspect(self.id)
        if container != self.container:
            self.container = container
            structlog.contextvars.bind_contextvars(container=self.name)
            self._decided = False
            if isinstance(self.trouble, Permanent):
                self.trouble = None

    async def _turn_over(self, incarnation: Incarnation | None) -> None:
        """Another run of the container, or none: let go of the last one."""
        if self.keeper.session is not None:
            await self.keeper.session.wait_ended(_ENDS_WITH_CONTAINER_S)
            self._settle()
        self._let_go()
        self.incarnation = incarnation
        self.keeper.plan = None
        self._decided, self._stopping, self._ending, self.attached = False, False, False, False
        self.seen, self.trouble, self.left_alone, self.guest_trouble = None, None, None, None

    def _read_record(self) -> None:
        try:
            self.record = self._context.records.read(self.id)
        except Permanent as error:
            log.error("record_unreadable", error=str(error))
            self._context.records.delete(self.id)

    async def _decide(self) -> None:
        """What this container is to get. Raises Rejected."""
        self._decided = True  # before anything is awaited: whoever asks for another decision meanwhile gets it
        try:
            await self._adopt_guest()
            self.left_alone = self._why_left_alone()
            if self.left_alone is None and self.keeper.session is None:
                await self._plan_guest()
        except BaseException:
            self._decided = False
            raise

    def _why_left_alone(self) -> str | None:
        assert self.container is not None, "it runs"
        record = self._current_record()
        if record is not None and record.detached:
            return "an operator detached it (vtapd detach)"
        if self.container.labels.get(ENABLE) != "false" and self.keeper.session is None:
            parse_labels(self.container, self._context.config.policy)  # wrong labels are told of, guest or not
        return why_left_alone(self.container, self._context.config.attach.containers)

    async def _plan_guest(self) -> None:
        assert self.container is not None, "it runs"
        spec = parse_labels(self.container, self._context.config.policy)
        self.keeper.plan = await examine(self._context, (await self._attachment()).root, spec) if spec else None

    async def _adopt_guest(self) -> None:
        """Take on a guest that an earlier daemon started, before anything is decided that might end it.

        The limits of today's configuration are for guests that start today.
        """
        assert self.container is not None, "it runs"
        if self.guest.process is None or self.keeper.session is not None:
            return
        try:
            unlimited = GuestPolicy(max_memory_mib=1 << 40, max_cpus=1 << 20)
            spec = parse_labels(replace(self.container, memory_limit_bytes=0), unlimited)
        except Rejected:
            spec = None
        spec = spec or GuestSpec(kernel="", memory_mib=0)
        self._write_guest(self.keeper.adopt(self.container, await self._attachment(), spec, self.guest))

    def _desired(self) -> Desired:
        attached = (
            self.incarnation is not None
            and self._decided
            and self.left_alone is None
            and not isinstance(self.trouble, Permanent)
        )
        serves = attached and self.keeper.plan is not None and self.guest.done is None
        runs_on = self.keeper.session is not None and not self._stopping
        due = self._may_start() and boottime_s() >= self.guest.not_before_s
        return Desired(attached, takeover=serves, guest=serves and (runs_on or due))

    def _may_start(self) -> bool:
        """Whether a guest could be started now, were it due: not in a container that stops or is paused."""
        return not self._stopping and self.container is not None and not self.container.paused

    async def _carry_out(self) -> None:
        seen = await self._observe()
        while action := next_action(self.id, self.name, self._desired(), seen, self.record):
            if not self.attached and is_attached(seen, self._current_record()):
                self._note_attached()
            seen = await self._apply(action, seen)
        self.seen = seen
        if is_attached(seen, self._current_record()):
            self._note_attached()
        else:
            self.attached = False

    def _note_attached(self) -> None:
        if self._started_ns is not None:
            seconds = (time.time_ns() - self._started_ns) / 1e9
            self._started_ns = None
            self._context.counters.attach_seconds.observe(max(0.0, seconds))
            log.info("container_attached", after_s=round(seconds, 4))
        if not self.attached:
            self.attached = True
            self._marked.set()  # look once more, at leisure: whether the steps took effect, and at the routes

    async def _observe(self) -> Seen:
        link = short_id(self.id)
        if self.incarnation is None or (self.record is None and not self._desired().attached):
            return Seen(self.incarnation, netns.observe_link(link))
        attachment = await self._attachment()
        with_routes = self.attached or self.keeper.plan is not None
        seen = attachment.observe(link, self._current_record(), with_routes=with_routes)
        return replace(seen, guest=self.keeper.session is not None)

    async def _apply(self, action: Action, seen: Seen) -> Seen:
        match action:
            case WriteRecord(record):
                self._write(record)
            case DeleteRecord():
                self._context.records.delete(self.id)
                self._paths.remove()
                self.record = None
            case UnlinkNetns():
                netns.unlink_netns(short_id(self.id))
                return replace(seen, netns_link=None)
            case StartGuest():
                await self._start_guest(action)
                return replace(seen, guest=self.keeper.session is not None)
            case StopGuest(again):
                await self.keeper.stop()
                self._settle()
                if again:
                    self._write_guest(replace(self.guest, done=None))
                return replace(seen, guest=False)
            case _:
                if isinstance(action, AllowDevice) and self.attached:
                    self._context.counters.rule_repairs.inc()
                    log.warning("device_rule_repaired", device=str(action.device))
                attachment = await self._attachment()
                if isinstance(action, AllowDevice | DenyDevice):
                    await self._tell_systemd(action, attachment)
                seen = await attachment.apply(action, short_id(self.id), seen)
                log.debug("step_done", step=type(action).__name__)
                if isinstance(action, AllowDevice) and attachment.rules.note:
                    log.warning("device_program_rebuilt", why=attachment.rules.note)
        return seen

    async def _tell_systemd(self, action: AllowDevice | DenyDevice, attachment: Attachment) -> None:
        """Under Docker's systemd driver: so that the programs that systemd makes by itself say the same.

        Told first: a program of systemd's that was replaced behind its back is one that it never takes away again.
        """
        systemd, scope = self._context.systemd, attachment.cgroup.scope
        if systemd is None or scope is None:
            return
        try:
            tell = systemd.allow_device if isinstance(action, AllowDevice) else systemd.deny_device
            await tell(scope, action.device)
        except Transient as error:
            # The rule holds without it; it is only lost for a moment at systemd's next reload.
            log.warning("systemd_not_told", scope=scope, error=str(error))

    async def _start_guest(self, step: StartGuest) -> None:
        assert self.container is not None, "it runs"
        try:
            guest = await self.keeper.start(self.container, await self._attachment(), step, self.guest)
        except Permanent as error:
            error.concern(f"container {self.name}")
            guest = self.keeper.fail(self.guest, error)
            self.guest_trouble = error
        self._write_guest(guest)

    def _settle(self) -> None:
        self._write_guest(self.keeper.settle(self.guest))

    def _stop_container_when_done(self) -> None:
        """What `vtapd.on-exit=stop` says of a guest that is done for good."""
        plan, guest = self.keeper.plan, self.guest
        if plan is None or plan.spec.on_exit != "stop" or not guest.done or not guest.exits:
            return
        if self._stopping or self._ending or guest.exits[-1].reason in NOT_CRASHES or self.incarnation is None:
            return
        self._ending = True
        log.info("container_stopping", because="its guest is done")
        self.keeper.tasks.start_soon(self._stop_container)

    async def _stop_container(self) -> None:
        try:
            await self._context.docker.stop(self.id)
        except (Transient, Permanent) as error:
            log.warning("container_not_stopped", error=str(error))
            self._ending = False

    def _end_deaf_init(self) -> None:
        """A stop is done when the guest is, even where the container's init cannot hear SIGTERM."""
        assert self.container is not None
        if self.incarnation is None or self.container.paused:
            return
        if process.ignores_signal(self.incarnation.pid, self.container.stop_signal):
            log.debug("init_killed", pid=self.incarnation.pid, because="it has no handler for the stop signal")
            process.send_signal(self.incarnation, signal.SIGKILL)

    def _current_record(self) -> Record | None:
        return self.record if self.record and self.record.incarnation == self.incarnation else None

    def _write(self, record: Record) -> None:
        self._context.records.write(record)
        self.record = record

    def _write_guest(self, guest: GuestRecord) -> None:
        record = self._current_record()
        if record is not None and record.guest != guest:
            self._write(replace(record, guest=guest))

    async def _attachment(self) -> Attachment:
        assert self.incarnation is not None, "only a running container can be reached into"
        if self.attachment is None:
            self.attachment = await Attachment.open(self.incarnation, self._own_rules)
        return self.attachment

    def _own_rules(self) -> tuple[Rule, ...]:
        """What Docker was asked to open for this container."""
        assert self.container is not None, "it was asked about before anything was done to it"
        if self.container.privileged:
            return (Rule(),)
        asked = [*self.container.device_rules, *rootfs.rules_of_devices(self.container.devices)]
        return (*RUNC_DEFAULTS, *(parse_rule(text) for text in asked))

    def _let_go(self) -> None:
        self.keeper.release()
        if self.attachment is not None:
            self.attachment.close()
            self.attachment = None
