"""Execute the plan for one run of a container: observe, ask for the next action, take it, until nothing differs.

An action that fails on one interface rests, and the plan goes on with the others.
"""

from collections.abc import Callable
from dataclasses import replace

import anyio
import structlog

from supervisor.container import kernel_steps
from supervisor.container.attachment import Attachment
from supervisor.container.context import Context
from supervisor.container.description import Description
from supervisor.container.guest_actions import GuestAction, GuestActions
from supervisor.container.observer import ContainerObserver
from supervisor.container.record import ContainerRecord
from supervisor.container.removal import forget
from supervisor.container.revocation import revoke_device
from supervisor.container.troubles import Troubles, error_of_machine
from supervisor.core.attach.actions import (
    Action,
    AllowDevice,
    Attempt,
    CreateTap,
    DeleteRecord,
    DeleteTap,
    DenyDevice,
    Planned,
    PlugNic,
    RevokeDevice,
    StartGuest,
    UnlinkNetns,
    UnmarkReady,
    WriteRecord,
)
from supervisor.core.attach.losses import Losses
from supervisor.core.attach.plan import is_attached, next_step
from supervisor.core.attach.state import Desired, Resting, Seen
from supervisor.core.attach.troubles import may_rest
from supervisor.core.container import Incarnation
from supervisor.edges.kernel import process
from supervisor.errors import ContainerGone, Permanent, Step, Transient

_BY_EARLIER_LOOK = (UnmarkReady, StartGuest)
"""What a guest that crashed needs to run again. It changes no network, so the last look at that is enough: if the
kernel has a change to report, the next pass follows it."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PlanExecutor:
    """Executes plans for one run of a container, and keeps what failed."""

    def __init__(
        self,
        context: Context,
        record: ContainerRecord,
        observer: ContainerObserver,
        guest_actions: GuestActions,
        description: Description,
        incarnation: Incarnation,
        on_attached: Callable[[bool], None],
    ) -> None:
        """`on_attached` is called whenever the container is seen attached, with True the first time after a step."""
        self.wanted: Desired | None = None
        """What should have been there when it had last converged."""
        self.seen: Seen | None = None
        """What was there when it had last converged."""
        self.attached = False
        """Whether its interfaces were seen attached, as far as they can be."""
        self.troubles = Troubles(context.counters, description.name)
        self._context = context
        self._losses = Losses()
        self._record = record
        self._observer = observer
        self._guest_actions = guest_actions
        self._description = description
        self._incarnation = incarnation
        self._on_attached = on_attached
        self._took_step = False
        self._settled: tuple[object, ...] | None = None
        """What the plan was last asked with, if it had no step. It has none for the same again."""
        self._id = record.id

    @property
    def guest_error(self) -> Transient | Permanent | None:
        """Why its guest could not be started."""
        return self._guest_actions.start_error

    async def converge(self, desired: Callable[[], Desired]) -> None:
        """Take actions until nothing differs, or what differs rests.

        `desired` is called after each, because an action may take long.
        """
        wanted = desired()
        seen = self._observer.observe(wanted, fresh=False)
        if wanted.attached:
            self.troubles.note_obstacles(seen)
        resting = self.troubles.resting()
        step = self._next_step(wanted, seen, resting)
        while step is not None:
            if not (self._observer.saw_fresh or isinstance(step.action, _BY_EARLIER_LOOK)):
                seen = self._observer.observe(wanted)  # before the network is changed, all of it is observed
                step = self._next_step(wanted, seen, resting)
                continue
            self._note_attached(seen, resting)
            try:
                seen = await self._apply(step.action, seen)
            except (Transient, Permanent, OSError) as error:
                resting |= {self._note_failure(step, seen, error)}
                wanted = desired()
                seen = self._observer.observe(wanted)
            else:
                self.troubles.end(step.attempt)
                self._took_step = True
                wanted = desired()
                if self._observer.is_outdated:
                    seen = self._observer.observe(wanted)
            step = self._next_step(wanted, seen, resting)
        self.troubles.sweep(wanted, seen, self._record.of(self._incarnation))
        self.wanted, self.seen = wanted, seen
        self.attached = self._note_attached(seen, self.troubles.attempts())

    def _next_step(self, desired: Desired, seen: Seen, resting: Resting) -> Planned | None:
        """Return the next step. A guest's start waits for an interface whose trouble may be over in a moment."""
        if self.troubles.is_brief and not seen.guest:
            desired = replace(desired, guest=False)
        asked = (self._description.name, desired, seen, self._record.data, resting)
        if asked == self._settled:
            return None
        step = next_step(self._id, *asked)
        self._settled = asked if step is None else None
        return step

    def _note_failure(self, step: Planned, seen: Seen, error: Transient | Permanent | OSError) -> Attempt:
        """Return what is to rest. Raises the error again if nothing can go on without this step."""
        known = error_of_machine(error) if isinstance(error, OSError) else error
        attempt = Attempt(PlugNic, known.interface) if known.interface else step.attempt
        if not may_rest(attempt) or (isinstance(known, ContainerGone) and process.has_ended(self._incarnation)):
            raise error
        self.troubles.note(attempt, seen, known)
        return attempt

    def _note_attached(self, seen: Seen, resting: Resting) -> bool:
        if not is_attached(seen, self._record.of(self._incarnation), resting):
            return False
        first, self.attached = not self.attached, True
        self._on_attached(first and self._took_step)
        return True

    async def _apply(self, action: Action, seen: Seen) -> Seen:
        """Take one action, and return what is there now."""
        if isinstance(action, GuestAction):
            await self._guest_actions.carry_out(action)
            return self._observer.with_guest(seen)
        match action:
            case WriteRecord(record):
                self._record.write(record)
                return seen
            case DeleteRecord() | UnlinkNetns():
                return forget(action, seen, self._record, self._context)
            case CreateTap() | DeleteTap():
                if isinstance(action, CreateTap):
                    self._check_losses(action)
                    await self._context.leftovers.wait_recovered()
                after = self._observer.with_claims(self._apply_to_kernel(action, seen))
                self._losses.note(action, seen)
                return after
            case RevokeDevice(device):
                await revoke_device(self._context, device, self._id, self._description.name)
                # Until now another container could open the tap, and may have done so.
                old = tuple(replace(each, fresh=False) for each in seen.interfaces)
                return self._observer.with_claims(replace(seen, interfaces=old))
            case AllowDevice() | DenyDevice():
                return await self._change_rule(action, seen)
            case _:
                return self._apply_to_kernel(action, seen)

    def _check_losses(self, action: CreateTap) -> None:
        """Raises Transient if this tap may not be made yet, because taps were deleted again and again."""
        if wait_s := self._losses.wait_s(action, anyio.current_time()):
            raise Transient(
                f"something in the container deletes its tap again and again; the next one is made in {wait_s:.0f} s",
                step=Step.MACVTAP,
                remedy="find out which process deletes it, or set vtapd.enable=false",
            )

    def _apply_to_kernel(self, step: kernel_steps.KernelStep, seen: Seen) -> Seen:
        seen = kernel_steps.apply(self._observer.attachment(), step, seen)
        log.debug("step_done", step=type(step).__name__)
        return seen

    async def _change_rule(self, action: AllowDevice | DenyDevice, seen: Seen) -> Seen:
        """Change nothing, and have systemd undo its part, if a device was revoked while systemd answered."""
        attachment, systemd = self._observer.attachment(), self._context.systemd
        allowed = isinstance(action, AllowDevice)
        await systemd.change_rule(attachment.cgroup, action.device, allowed=allowed)
        if self._observer.is_outdated:
            await systemd.change_rule(attachment.cgroup, action.device, allowed=False)
            return seen
        seen = kernel_steps.apply(attachment, action, seen)
        self._log_rule(action, attachment)
        return seen

    def _log_rule(self, action: AllowDevice | DenyDevice, attachment: Attachment) -> None:
        was_open = self.seen is not None and action.device in self.seen.rules
        if isinstance(action, AllowDevice) and was_open:
            self._context.counters.rule_repairs.inc()
            log.warning("device_rule_repaired", device=str(action.device))
        if isinstance(action, AllowDevice) and attachment.rules.note:
            log.warning("device_program_rebuilt", why=attachment.rules.note)
        log.debug("step_done", step=type(action).__name__)
