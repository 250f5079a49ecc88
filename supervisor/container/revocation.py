"""Takes device numbers away from containers whose taps of these numbers are gone.

The kernel gives the number of a deleted macvtap to the next one on the machine. A container that deletes its own
tap (CAP_NET_ADMIN is enough) still has the rule and the node for it, and could open a neighbour's tap by them. So a new
tap stays down until every other container that has its number on record was denied it; then it is deleted and made
again, since one of them may have opened it meanwhile. The rule is what protects; a node that cannot be removed opens
nothing without it.
"""

import os
from contextlib import ExitStack, closing

import structlog

from supervisor.container.context import Context
from supervisor.container.device_access import open_rules, tell_systemd
from supervisor.container.record import Ledger
from supervisor.core.devices.v1_rules import granted_devices
from supervisor.core.model import Container, ContainerId, DeviceNumber, Incarnation, Record, short_id
from supervisor.edges.kernel import cgroups, process, rootfs, tap
from supervisor.errors import ContainerGone, Step, Transient, VtapdError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def revoke_device(context: Context, device: DeviceNumber, owner: ContainerId, owner_name: str) -> None:
    """Deny the device to every container but its owner that has it on record, and note it there.

    It does not matter whether a worker looks after such a container already. Raises Transient, which names both
    containers, where one of them cannot be denied it; then that one keeps it on record.
    """
    for holder in context.ledgers.index.others(device, owner):
        ledger = context.ledgers.of(holder)
        name = ledger.record.name if ledger.record else short_id(holder)
        try:
            await _tell_systemd(context, ledger, device)
            _revoke(ledger, device)
        except VtapdError as error:
            said = f"container {owner_name}: its tap got the device number {device} of a tap that container {name} "
            remedy = f"{error.remedy}; or " if error.remedy else ""
            raise Transient(
                f"{said}has deleted, and {name} cannot be denied it: {error.message}",
                step=Step.DEVICE_RULE,
                remedy=f"{remedy}restart that container: docker restart {name}",
            ) from error


async def revoke_contested(context: Context) -> None:
    """At the daemon's start: it is not known whose a number on several records is, so each of them loses it.

    An earlier version gave a number to a container while another one still had it. Their taps are made again.
    """
    for device, holders in context.ledgers.index.contested().items():
        for holder in holders:
            try:
                await _tell_systemd(context, context.ledgers.of(holder), device)
                _revoke(context.ledgers.of(holder), device)
            except (VtapdError, OSError) as error:
                log.error("contested_device_not_denied", container=short_id(holder), error=str(error))


async def deny_unrecorded(context: Context, container: Container, incarnation: Incarnation, ledger: Ledger) -> None:
    """Take away the rules for taps that the record of this run does not name; the rules that Docker made stay.

    They are of a record that was lost. The next tap that gets such a number would be open to this container.
    """
    majors = {tap.observe_major(), *context.ledgers.index.majors()}
    cgroup = cgroups.observe_cgroup(incarnation.pid)
    record = ledger.of(incarnation)
    recorded = {entry.device for entry in record.taps} if record else set()
    granted = granted_devices([*container.device_rules, *rootfs.rules_of_devices(container.devices)])
    with closing(open_rules(cgroup)) as rules:
        for device in rules.observe_own() - recorded - granted:
            if device.major in majors:
                await tell_systemd(context.systemd, cgroup, device, allowed=False)
                rules.deny(device)
                log.warning("unrecorded_device_denied", device=str(device))


async def _tell_systemd(context: Context, ledger: Ledger, device: DeviceNumber) -> None:
    """While the new tap has the number: it cannot have become the other container's again in the meantime."""
    if context.systemd is not None and ledger.record is not None and not process.has_ended(ledger.record.incarnation):
        cgroup = cgroups.observe_cgroup(ledger.record.incarnation.pid)
        await tell_systemd(context.systemd, cgroup, device, allowed=False)


def _revoke(ledger: Ledger, device: DeviceNumber) -> None:
    """Within the call, so that the container's worker cannot be in the middle of it."""
    record = ledger.record
    if record is None or device not in {entry.device for entry in record.taps}:
        return
    if _deny(record, device):
        log.warning("stale_device_denied", device=str(device), held_by=record.name)
    else:
        log.debug("stale_device_forgotten", device=str(device), held_by=record.name)
    ledger.revoke(device)


def _deny(record: Record, device: DeviceNumber) -> bool:
    """False where this run of the container has ended: its rules and nodes are gone with it."""
    if process.has_ended(record.incarnation):
        return False
    try:
        with closing(open_rules(cgroups.observe_cgroup(record.incarnation.pid))) as rules:
            if process.has_ended(record.incarnation):  # what was opened may be another process's
                return False
            rules.deny(device)
    except ContainerGone:
        if process.has_ended(record.incarnation):
            return False
        raise
    _remove_nodes(record, device)
    return True


def _remove_nodes(record: Record, device: DeviceNumber) -> None:
    try:
        with ExitStack() as owned:
            root = rootfs.open_root(record.incarnation.pid)
            owned.callback(os.close, root)
            dev = rootfs.open_dev(root)
            owned.callback(os.close, dev)
            if process.has_ended(record.incarnation):
                return
            for entry in record.taps:
                if entry.device == device:
                    rootfs.remove_node(dev, entry.slot, device)
    except VtapdError as error:
        log.warning("stale_node_stays", device=str(device), held_by=record.name, error=str(error))
