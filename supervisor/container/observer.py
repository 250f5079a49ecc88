"""Observe one run of a container: its kernel's part through descriptors into it, its guest, and claims of others.

It decides nothing and changes nothing, except that it opens the descriptors when they are first needed.
"""

from contextlib import closing, nullcontext
from dataclasses import replace

import structlog

from supervisor.container import kernel_state
from supervisor.container.attachment import Attachment
from supervisor.container.context import Context
from supervisor.container.description import Description
from supervisor.container.record import ContainerRecord
from supervisor.core.attach.scope import Scope
from supervisor.core.attach.selection import why_no_network
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.container import Incarnation, short_id
from supervisor.core.devices.bpf_rules import RUNC_DEFAULTS, Rule, parse_rule
from supervisor.core.guest.spec import AddressPlan
from supervisor.core.links import Interface
from supervisor.core.record import Record
from supervisor.edges.kernel import device_nodes, netns_symlinks
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.controller import GuestController

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ContainerObserver:
    """Owns the descriptors into the container; `close` closes them and leaves the container as it is."""

    def __init__(
        self,
        context: Context,
        record: ContainerRecord,
        guest: GuestController,
        description: Description,
        incarnation: Incarnation,
    ) -> None:
        self._context = context
        self._record = record
        self._guest = guest
        self._description = description
        self._incarnation = incarnation
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
            self._context.early_attach.note_cgroup(self._record.id, self._attachment.cgroup.path)
        return self._attachment

    def _open(self) -> Attachment:
        return Attachment.open(self._incarnation, self._link, self._own_rules, str(self._context.config.run_dir))

    def close(self) -> None:
        if self._attachment is not None:
            self._attachment.close()
            self._attachment = None

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

    @property
    def saw_fresh(self) -> bool:
        """Whether the last look relied on nothing that was observed earlier."""
        return self._attachment is None or self._attachment.view.is_fresh

    def observe(self, desired: Desired, *, fresh: bool = True) -> Seen:
        """Return what is there now, as far as the plan for what is desired needs it. Raises ContainerGone.

        Without `fresh`, the network is as it was seen last if the kernel has reported no change of it.
        """
        self._revocations = self._record.revocations
        if self._record.data is None and not desired.attached:
            return Seen(self._incarnation, netns_symlinks.observe_symlink(self._link))
        record = self._record.of(self._incarnation)
        # Routes matter only to a takeover; `vtapd inspect` looks at them itself.
        taken = record is not None and any(entry.original or entry.link for entry in record.taps)
        with_routes = taken or self._guest.plan is not None
        seen = self._look_through(self.attachment(), record, self.scope(), with_routes=with_routes, fresh=fresh)
        return self.with_guest(self.with_claims(seen))

    @property
    def is_outdated(self) -> bool:
        """Whether a device was taken from the container since it was observed, while an action took its time."""
        return self._record.revocations != self._revocations

    def observe_originals(self, address: AddressPlan) -> tuple[Interface, ...]:
        """Return the interfaces that a guest may use, with routes, as they were before any takeover."""
        record = self._record.of(self._incarnation)
        seen = self._look_through(self.attachment(), record, self.scope(address), with_routes=True)
        able = [each.interface for each in seen.interfaces if each.wanted]
        entries = [(interface, record.tap_of(interface.name) if record else None) for interface in able]
        return tuple(entry.original if entry and entry.original else interface for interface, entry in entries)

    def look(self) -> Seen | None:
        """Return what is there now, routes included; None if it cannot be observed now.

        Of a container that is not attached, descriptors are opened only for this.
        """
        container = self._description.container
        if self._attachment is None and (container is None or why_no_network(container) is not None):
            return None
        try:
            with nullcontext(self._attachment) if self._attachment else closing(self._open()) as attachment:
                record = self._record.of(self._incarnation)
                return self.with_guest(self._look_through(attachment, record, self.scope(), with_routes=True))
        except (Transient, Permanent, OSError) as error:
            log.debug("not_observed", error=str(error))
            return None

    def _look_through(
        self, attachment: Attachment, record: Record | None, scope: Scope, *, with_routes: bool, fresh: bool = True
    ) -> Seen:
        linked = record is not None and any(entry.link for entry in record.taps)
        with_hooks = linked or self.link_address is not None
        return kernel_state.observe(
            attachment, record, scope, with_routes=with_routes, with_hooks=with_hooks, fresh=fresh
        )

    def with_claims(self, seen: Seen) -> Seen:
        """Return it with the devices of its taps that another container has on record now."""
        claimed = self._record.claimed(each.tap.device for each in seen.interfaces if each.tap)
        return replace(seen, claimed=claimed)

    def with_guest(self, seen: Seen) -> Seen:
        """Return it with the guest as it is now: whether its QEMU runs, and its network cards."""
        session = self._guest.session
        return replace(seen, guest=session is not None, nics=frozenset(session.record.slots if session else ()))

    def _own_rules(self) -> tuple[Rule, ...]:
        """Return the rules that Docker was asked to make for this container."""
        container = self._description.container
        if container is None or not self._description.is_from_docker:
            raise Transient("Docker was not asked yet which devices it may open", step=Step.DEVICE_RULE)
        if container.privileged:
            return (Rule(),)
        asked = [*container.device_rules, *device_nodes.rules_of_devices(container.devices)]
        return (*RUNC_DEFAULTS, *(parse_rule(text) for text in asked))
