"""The steps of one run of a container: looks, asks the plan for the next step, takes it, until nothing differs."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from supervisor.container.attachment import Attachment, KernelStep
from supervisor.container.context import Context
from supervisor.container.device_access import tell_systemd
from supervisor.container.record import Ledger
from supervisor.container.revocation import revoke_device
from supervisor.core.attach.actions import (
    Action,
    AllowDevice,
    CreateTap,
    DeleteRecord,
    DenyDevice,
    GiveBack,
    PlugNic,
    RevokeDevice,
    StartGuest,
    StopGuest,
    UnlinkNetns,
    UnplugNic,
    WriteRecord,
)
from supervisor.core.attach.plan import is_attached, next_action
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.devices.bpf_rules import RUNC_DEFAULTS, Rule, parse_rule
from supervisor.core.model import Container, Incarnation, Interface, short_id
from supervisor.edges.kernel import netns, rootfs
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.controller import GuestController
from supervisor.guest.qemu_process import SocketPaths

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Steps:
    """Owns the descriptors into the container; `close` gives them back and leaves the container as it is."""

    def __init__(
        self,
        context: Context,
        ledger: Ledger,
        keeper: GuestController,
        container: Container,
        incarnation: Incarnation,
        on_attached: Callable[[bool], None],
    ) -> None:
        self.container = container
        """As Docker described it last."""
        self.incarnation = incarnation
        self.attachment: Attachment | None = None
        self.seen: Seen | None = None
        self.attached = False
        self.guest_trouble: Permanent | None = None
        """Why its guest could not be started at all."""
        self._context = context
        self._ledger = ledger
        self._keeper = keeper
        self._link = short_id(container.id)
        self._on_attached = on_attached
        self._revocations = ledger.revocations
        """How many there were at the last look."""

    def close(self) -> None:
        if self.attachment is not None:
            self.attachment.close()
            self.attachment = None

    async def carry_out(self, desired: Callable[[], Desired]) -> None:
        """Until nothing differs; what is desired is asked anew before each step, since a step may take its time."""
        seen = self._observe(desired())
        container = self.container
        while action := next_action(container.id, container.name, desired(), seen, self._ledger.record):
            self._note_attached(seen)
            seen = await self._apply(action, seen)
            if self._is_outdated():
                seen = self._observe(desired())
        self.seen = seen
        self.attached = self._note_attached(seen)

    def _note_attached(self, seen: Seen) -> bool:
        if not is_attached(seen, self._ledger.of(self.incarnation)):
            return False
        first, self.attached = not self.attached, True
        self._on_attached(first)
        return True

    def _is_outdated(self) -> bool:
        """Whether a device was taken from the container since the last look, while a step took its time."""
        return self._ledger.revocations != self._revocations

    def _observe(self, desired: Desired) -> Seen:
        self._revocations = self._ledger.revocations
        if self._ledger.record is None and not desired.attached:
            return Seen(self.incarnation, netns.observe_link(self._link))
        with_routes = self.attached or self._keeper.plan is not None
        attachment = self.reach()
        seen = attachment.observe(self._link, self._ledger.of(self.incarnation), with_routes=with_routes)
        return self._with_guest(self._with_claims(seen))

    def _with_claims(self, seen: Seen) -> Seen:
        claimed = self._ledger.claimed(each.tap.device for each in seen.interfaces if each.tap)
        return replace(seen, claimed=claimed)

    def observe_originals(self) -> tuple[Interface, ...]:
        """Return the container's interfaces with routes, as they were before any takeover."""
        record = self._ledger.of(self.incarnation)
        seen = self.reach().observe(self._link, record, with_routes=True)
        entries = [(each.interface, record.tap_of(each.interface.name) if record else None) for each in seen.interfaces]
        return tuple(entry.original if entry and entry.original else interface for interface, entry in entries)

    def _with_guest(self, seen: Seen) -> Seen:
        session = self._keeper.session
        return replace(seen, guest=session is not None, nics=frozenset(session.record.slots if session else ()))

    async def _apply(self, action: Action, seen: Seen) -> Seen:
        match action:
            case WriteRecord(record):
                self._ledger.write(record)
            case DeleteRecord() | UnlinkNetns():
                return forget(action, seen, self._ledger, SocketPaths(self._context.config.run_dir, self.container.id))
            case StartGuest():
                await self._start_guest(action)
                return self._with_guest(seen)
            case PlugNic(uplink):
                await self._keeper.plug(self.reach().handles, uplink)
                return self._with_guest(seen)
            case UnplugNic(slot):
                await self._keeper.unplug(slot)
                return self._with_guest(seen)
            case StopGuest(again):
                await self._keeper.stop(again=again)
                return self._with_guest(seen)
            case CreateTap():
                await self._context.leftovers.wait_recovered()
                return self._with_claims(self._take(action, seen))
            case RevokeDevice(device):
                await revoke_device(self._context, device, self.container.id, self.container.name)
                # Until now another container could open the tap, and may have done so.
                old = tuple(replace(each, fresh=False) for each in seen.interfaces)
                return self._with_claims(replace(seen, interfaces=old))
            case AllowDevice() | DenyDevice():
                return await self._change_rule(action, seen)
            case GiveBack():
                seen = await self.reach().give_back(action, seen)
                log.debug("step_done", step=type(action).__name__)
            case _:
                return self._take(action, seen)
        return seen

    def _take(self, step: KernelStep, seen: Seen) -> Seen:
        seen = self.reach().apply(step, self._link, seen)
        log.debug("step_done", step=type(step).__name__)
        return seen

    async def _start_guest(self, step: StartGuest) -> None:
        self.guest_trouble = None
        try:
            await self._keeper.start(self.container, self.reach().handles, step)
        except Permanent as error:
            error.concern(f"container {self.container.name}")
            self.guest_trouble = error
            self._keeper.fail(error)

    async def _change_rule(self, action: AllowDevice | DenyDevice, seen: Seen) -> Seen:
        """Change nothing, and tell systemd so, if a device was taken from the container while systemd answered."""
        attachment, systemd = self.reach(), self._context.systemd
        allowed = isinstance(action, AllowDevice)
        await tell_systemd(systemd, attachment.cgroup, action.device, allowed=allowed)
        if self._is_outdated():
            await tell_systemd(systemd, attachment.cgroup, action.device, allowed=False)
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

    def reach(self) -> Attachment:
        """Descriptors into the container. Raises ContainerGone when it has ended."""
        if self.attachment is None:
            self.attachment = Attachment.open(self.incarnation, self._own_rules)
            self._context.arrivals.learn(self.container.id, self.attachment.cgroup.path)
        return self.attachment

    def _own_rules(self) -> tuple[Rule, ...]:
        """What Docker was asked to open for this container."""
        if self.container.assumed:
            raise Transient("Docker was not asked yet what it may open", step=Step.DEVICE_RULE)
        if self.container.privileged:
            return (Rule(),)
        asked = [*self.container.device_rules, *rootfs.rules_of_devices(self.container.devices)]
        return (*RUNC_DEFAULTS, *(parse_rule(text) for text in asked))


def forget(action: DeleteRecord | UnlinkNetns, seen: Seen, ledger: Ledger, paths: SocketPaths) -> Seen:
    """The last steps of every undo, which need no container."""
    if isinstance(action, UnlinkNetns):
        netns.unlink_netns(paths.name)
        return replace(seen, netns_link=None)
    ledger.delete()
    paths.remove()
    return seen
