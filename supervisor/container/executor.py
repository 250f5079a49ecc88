"""Execute the plan for one run of a container: observe, ask for the next action, take it, until nothing differs.

An action that fails on one interface rests, and the plan goes on with the others.
"""

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import anyio
import structlog

from supervisor.container.attachment import Attachment, KernelStep
from supervisor.container.context import Context
from supervisor.container.description import Description
from supervisor.container.link_services import LinkServices
from supervisor.container.record import ContainerRecord
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
    KeepSnapshot,
    Planned,
    PlugNic,
    RefreshGuest,
    ResumeGuest,
    RevokeDevice,
    SleepGuest,
    StartGuest,
    StopGuest,
    UnlinkNetns,
    UnplugNic,
    WriteRecord,
)
from supervisor.core.attach.losses import Losses
from supervisor.core.attach.plan import is_attached, next_step
from supervisor.core.attach.scope import Scope
from supervisor.core.attach.selection import why_no_network
from supervisor.core.attach.state import Desired, Resting, Seen
from supervisor.core.attach.troubles import may_rest
from supervisor.core.container import Incarnation, short_id
from supervisor.core.devices.bpf_rules import RUNC_DEFAULTS, Rule, parse_rule
from supervisor.core.guest.spec import AddressPlan
from supervisor.core.links import Interface
from supervisor.core.record import Record
from supervisor.edges.kernel import device_nodes, netns_symlinks, process
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.errors import ContainerGone, Permanent, Step, Transient
from supervisor.guest.controller import GuestController
from supervisor.guest.qemu_process import SocketPaths

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PlanExecutor:
    """Owns the descriptors into the container; `close` closes them and leaves the container as it is."""

    def __init__(
        self,
        context: Context,
        record: ContainerRecord,
        guest: GuestController,
        services: LinkServices,
        description: Description,
        incarnation: Incarnation,
        on_attached: Callable[[bool], None],
    ) -> None:
        """`on_attached` is called whenever the container is seen attached, with True the first time."""
        self.seen: Seen | None = None
        """What was there when it had last converged."""
        self.attached = False
        """Whether its interfaces were seen attached, as far as they can be."""
        self.troubles = Troubles(context.counters, description.name)
        self.guest_error: Transient | Permanent | None = None
        """Why its guest could not be started."""
        self._context = context
        self._losses = Losses()
        self._record = record
        self._guest = guest
        self._services = services
        self._description = description
        self._incarnation = incarnation
        self._on_attached = on_attached
        self._id = record.id
        self._link = short_id(record.id)
        self._attachment: Attachment | None = None
        self._revocations = record.revocations
        """How many there were when it was observed last."""

    @property
    def cgroup(self) -> str | None:
        """The container's cgroup, as far as it is known."""
        return self._attachment.cgroup.path if self._attachment else None

    @property
    def device_rule_note(self) -> str | None:
        """What an operator should know of the container's device rules."""
        return self._attachment.rules.note if self._attachment else None

    @property
    def opened(self) -> Attachment | None:
        """The descriptors into the container, if they are open."""
        return self._attachment

    def attachment(self) -> Attachment:
        """Return the descriptors into the container. Raises ContainerGone if it has ended."""
        if self._attachment is None:
            self._attachment = self._open()
            self._context.early_attach.note_cgroup(self._id, self._attachment.cgroup.path)
        return self._attachment

    def _open(self) -> Attachment:
        return Attachment.open(self._incarnation, self._own_rules, str(self._context.config.run_dir))

    def close(self) -> None:
        if self._attachment is not None:
            self._attachment.close()
            self._attachment = None

    async def converge(self, desired: Callable[[], Desired]) -> None:
        """Take actions until nothing differs, or what differs rests.

        `desired` is called before each, because an action may take long.
        """
        wanted = desired()
        seen = self._observe(wanted)
        if wanted.attached:
            self.troubles.note_obstacles(seen)
        resting = self.troubles.resting()
        while step := self._next_step(desired(), seen, resting):
            self._note_attached(seen, resting)
            try:
                seen = await self._apply(step.action, seen)
            except (Transient, Permanent, OSError) as error:
                resting |= {self._note_failure(step, seen, error)}
                seen = self._observe(desired())
                continue
            self.troubles.end(step.attempt)
            if self._is_outdated():
                seen = self._observe(desired())
        self.troubles.sweep(desired(), seen, self._record.of(self._incarnation))
        self.seen = seen
        self.attached = self._note_attached(seen, self.troubles.attempts())

    def _next_step(self, desired: Desired, seen: Seen, resting: Resting) -> Planned | None:
        """Return the next step. A guest's start waits for an interface whose trouble may be over in a moment."""
        if self.troubles.is_brief and not seen.guest:
            desired = replace(desired, guest=False)
        return next_step(self._id, self._description.name, desired, seen, self._record.data, resting)

    def _note_failure(self, step: Planned, seen: Seen, error: Transient | Permanent | OSError) -> Attempt:
        """Return what is to rest. Raises the error again if nothing can go on without this step."""
        known = error_of_machine(error) if isinstance(error, OSError) else error
        attempt = Attempt(PlugNic, known.interface) if known.interface else step.attempt
        if not may_rest(attempt) or (isinstance(known, ContainerGone) and process.has_ended(self._incarnation)):
            raise error
        self.troubles.note(attempt, seen, known)
        return attempt

    @property
    def link_address(self) -> str | None:
        """The container's address on the private link to its guest; None if it is to have none."""
        plan = self._guest.plan
        takes_over = plan is not None and plan.spec.address.takes_over
        return (self._context.config.guest.link_address or None) if takes_over else None

    def scope(self, address: AddressPlan | None = None) -> Scope:
        """Return which interfaces count. `address`: what a guest is to have; by default, what its guest has."""
        plan = self._guest.plan
        address = address or (plan.spec.address if plan is not None else None)
        addressless = address is not None and not address.takes_over
        return Scope(self._description.endpoints, self._context.config.attach.interfaces == "all", addressless)

    def observe_originals(self, address: AddressPlan) -> tuple[Interface, ...]:
        """Return the interfaces that a guest may use, with routes, as they were before any takeover."""
        record = self._record.of(self._incarnation)
        seen = self._look(record, self.scope(address), with_routes=True)
        able = [each.interface for each in seen.interfaces if each.wanted]
        entries = [(interface, record.tap_of(interface.name) if record else None) for interface in able]
        return tuple(entry.original if entry and entry.original else interface for interface, entry in entries)

    def look(self) -> Seen | None:
        """Return what is there now, routes included, or what was seen last if it cannot be observed now.

        Of a container that is not attached, descriptors are opened only for this.
        """
        container = self._description.container
        if self._attachment is None and (container is None or why_no_network(container) is not None):
            return self.seen
        try:
            with nullcontext(self._attachment) if self._attachment else closing(self._open()) as attachment:
                record = self._record.of(self._incarnation)
                return self._with_guest(self._look_through(attachment, record, self.scope(), with_routes=True))
        except (Transient, Permanent, OSError) as error:
            log.debug("not_observed", error=str(error))
            return self.seen

    def _note_attached(self, seen: Seen, resting: Resting) -> bool:
        if not is_attached(seen, self._record.of(self._incarnation), resting):
            return False
        first, self.attached = not self.attached, True
        self._on_attached(first)
        return True

    def _is_outdated(self) -> bool:
        """Whether a device was taken from the container since it was observed, while an action took its time."""
        return self._record.revocations != self._revocations

    def _observe(self, desired: Desired) -> Seen:
        self._revocations = self._record.revocations
        if self._record.data is None and not desired.attached:
            return Seen(self._incarnation, netns_symlinks.observe_symlink(self._link))
        record = self._record.of(self._incarnation)
        # Routes matter only to a takeover; `vtapd inspect` looks at them itself.
        taken = record is not None and any(entry.original or entry.link for entry in record.taps)
        seen = self._look(record, self.scope(), with_routes=taken or self._guest.plan is not None)
        return self._with_guest(self._with_claims(seen))

    def _look(self, record: Record | None, scope: Scope, *, with_routes: bool) -> Seen:
        return self._look_through(self.attachment(), record, scope, with_routes=with_routes)

    def _look_through(self, attachment: Attachment, record: Record | None, scope: Scope, *, with_routes: bool) -> Seen:
        linked = record is not None and any(entry.link for entry in record.taps)
        with_hooks = linked or self.link_address is not None
        return attachment.observe(self._link, record, scope, with_routes=with_routes, with_hooks=with_hooks)

    def _with_claims(self, seen: Seen) -> Seen:
        claimed = self._record.claimed(each.tap.device for each in seen.interfaces if each.tap)
        return replace(seen, claimed=claimed)

    def _with_guest(self, seen: Seen) -> Seen:
        session = self._guest.session
        return replace(seen, guest=session is not None, nics=frozenset(session.record.slots if session else ()))

    async def _apply(self, action: Action, seen: Seen) -> Seen:
        match action:
            case WriteRecord(record):
                self._record.write(record)
                return seen
            case DeleteRecord() | UnlinkNetns():
                return forget(action, seen, self._record, self._context)
            case (
                StartGuest()
                | KeepSnapshot()
                | RefreshGuest()
                | StopGuest()
                | SleepGuest()
                | ResumeGuest()
                | PlugNic()
                | UnplugNic()
            ):
                await self._apply_to_guest(action)
                return self._with_guest(seen)
            case CreateTap() | DeleteTap():
                if isinstance(action, CreateTap):
                    self._check_losses(action)
                    await self._context.leftovers.wait_recovered()
                after = self._with_claims(self._apply_to_kernel(action, seen))
                self._losses.note(action, seen)
                return after
            case RevokeDevice(device):
                await revoke_device(self._context, device, self._id, self._description.name)
                # Until now another container could open the tap, and may have done so.
                old = tuple(replace(each, fresh=False) for each in seen.interfaces)
                return self._with_claims(replace(seen, interfaces=old))
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

    def _apply_to_kernel(self, step: KernelStep, seen: Seen) -> Seen:
        seen = self.attachment().apply(step, self._link, seen)
        log.debug("step_done", step=type(step).__name__)
        return seen

    async def _apply_to_guest(
        self,
        action: StartGuest | KeepSnapshot | RefreshGuest | StopGuest | SleepGuest | ResumeGuest | PlugNic | UnplugNic,
    ) -> None:
        match action:
            case StartGuest():
                await self._start_guest(action)
            case KeepSnapshot(uplinks) | RefreshGuest(uplinks):
                container = self._description.container
                assert container is not None, "a container that runs was described"
                self._services.keep_up(self.attachment())  # its resolver is part of what identifies a start
                move = self._guest.keep_snapshot if isinstance(action, KeepSnapshot) else self._guest.refresh
                await move(container, self.attachment().handles, StartGuest(uplinks), self._services.resolver)
            case StopGuest(again, not_before_s):
                await self._guest.stop(again=again, not_before_s=not_before_s)
            case SleepGuest():
                await self._guest.fall_asleep(self.attachment().handles)
            case ResumeGuest():
                await self._guest.sleeper.resume(self._guest.running)
            case PlugNic(uplink):
                await self._guest.cards.plug(self._guest.running, self.attachment().handles, uplink)
            case UnplugNic(slot):
                await self._guest.cards.unplug(self._guest.running, slot)

    async def _start_guest(self, action: StartGuest) -> None:
        container = self._description.container
        assert container is not None, "a container that runs was described"
        self.guest_error = None
        self._services.keep_up(self.attachment())  # the guest may ask as soon as it starts
        try:
            await self._guest.start(container, self.attachment().handles, action, self._services.resolver)
        except (Transient, Permanent) as error:
            if error.interface or isinstance(error, ContainerGone):
                raise
            error.concern(f"container {container.name}")
            self.guest_error = error
            if isinstance(error, Transient):
                self._guest.postpone()
                raise
            self._guest.fail(error)

    async def _change_rule(self, action: AllowDevice | DenyDevice, seen: Seen) -> Seen:
        """Change nothing, and have systemd undo its part, if a device was revoked while systemd answered."""
        attachment, systemd = self.attachment(), self._context.systemd
        allowed = isinstance(action, AllowDevice)
        await systemd.change_rule(attachment.cgroup, action.device, allowed=allowed)
        if self._is_outdated():
            await systemd.change_rule(attachment.cgroup, action.device, allowed=False)
            return seen
        seen = attachment.apply(action, self._link, seen)
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

    def _own_rules(self) -> tuple[Rule, ...]:
        """Return the rules that Docker was asked to make for this container."""
        container = self._description.container
        if container is None or not self._description.is_from_docker:
            raise Transient("Docker was not asked yet which devices it may open", step=Step.DEVICE_RULE)
        if container.privileged:
            return (Rule(),)
        asked = [*container.device_rules, *device_nodes.rules_of_devices(container.devices)]
        return (*RUNC_DEFAULTS, *(parse_rule(text) for text in asked))


def forget(action: DeleteRecord | UnlinkNetns, seen: Seen, record: ContainerRecord, context: Context) -> Seen:
    """Take one of the last actions of every undo. They need no container."""
    paths = SocketPaths(context.config.run_dir, record.id)
    if isinstance(action, UnlinkNetns):
        netns_symlinks.remove_symlink(paths.name)
        return replace(seen, netns_link=None)
    paths.remove()
    context.state_files.remove(record.id)
    for path in record.data.guest.folders if record.data else ():
        BootFolder.remove(Path(path))
    record.delete()  # after that: what a killed daemon left is found by the record
    paths.remove_report()  # the reaper keeps no report without a record, and may have saved one before it was deleted
    return seen
