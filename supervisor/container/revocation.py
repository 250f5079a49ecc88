"""Take device numbers away from containers whose taps of these numbers are gone.

The kernel gives the number of a deleted macvtap to the next one on the machine. A container that deletes its own
tap (CAP_NET_ADMIN is enough) still has the rule and the node for it, and could open a neighbour's tap with them. So a
new tap stays down until every other container that has its number on record was denied it. Then the tap is deleted and
made again, since one of them may have opened it meanwhile. The rule is what protects: without it, a node that cannot be
removed opens nothing.

A tap that is gone is noticed before that, as soon as the kernel reports it (`tap_watch`).
"""

import os
from contextlib import ExitStack, closing

import structlog

from supervisor.container.context import Context
from supervisor.container.device_access import open_rules, rules_of_docker
from supervisor.container.record import ContainerRecord
from supervisor.core.container import Container, ContainerId, Incarnation, short_id
from supervisor.core.links import DeviceNumber
from supervisor.core.record import Record, TapRecord
from supervisor.edges.kernel import cgroups, device_nodes, process, rootfs, tap
from supervisor.errors import ContainerGone, Step, Transient, VtapdError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def revoke_device(context: Context, device: DeviceNumber, owner: ContainerId, owner_name: str) -> None:
    """Deny the device to every other container that has it on record, and take it off that record.

    Such a container may have a worker already, or not. Raises Transient, which names both containers, if one of them
    cannot be denied it; that one keeps it on record.
    """
    for holder in context.records.index.others(device, owner):
        record = context.records.of(holder)
        name = record.data.name if record.data else short_id(holder)
        try:
            await _change_systemd_rule(context, record, device)
            _revoke(record, device)
        except VtapdError as error:
            what = f"container {owner_name}: its tap got the device number {device} of a tap that container {name} "
            remedy = f"{error.remedy}; or " if error.remedy else ""
            raise Transient(
                f"{what}has deleted, and {name} cannot be denied it: {error.message}",
                step=Step.DEVICE_RULE,
                remedy=f"{remedy}restart that container: docker restart {name}",
            ) from error


async def close_lost_device(context: Context, record: ContainerRecord, entry: TapRecord, *, by_itself: bool) -> None:
    """Deny a container the device of its own tap that is gone, and take it off the record.

    `by_itself`: the tap was deleted or taken away alone, not with its interface. Raises a VtapdError if the container
    cannot be denied it; it stays on record.
    """
    assert entry.device is not None, "only a tap with a device can be lost"
    await _change_systemd_rule(context, record, entry.device)
    # Meanwhile the container's worker may have noticed, too, and have made another tap, which may have the number.
    if record.data is not None and entry in record.data.taps:
        _revoke(record, entry.device, as_usual=not by_itself)


async def revoke_contested(context: Context) -> None:
    """At the daemon's start, take a number that is on several records off all of them.

    An earlier version gave a number to a container while another one still had it, so its owner is unknown. The taps
    are made again.
    """
    for device, holders in context.records.index.contested().items():
        for holder in holders:
            try:
                await _change_systemd_rule(context, context.records.of(holder), device)
                _revoke(context.records.of(holder), device)
            except (VtapdError, OSError) as error:
                log.error("contested_device_not_denied", container=short_id(holder), error=str(error))


async def deny_unrecorded(
    context: Context, container: Container, incarnation: Incarnation, record: ContainerRecord
) -> None:
    """Take away the rules for taps that are not on the record of this run. The rules that Docker made stay.

    They are left from a record that was lost. This container could open the next tap that gets such a number.
    """
    cgroup = cgroups.observe_cgroup(incarnation.pid)
    data = record.of(incarnation)
    recorded = {entry.device for entry in data.taps} if data else set()
    with closing(open_rules(cgroup)) as rules:
        unrecorded = rules.observe_own() - recorded - rules_of_docker(container)
        majors = {tap.observe_major(), *context.records.index.majors()} if unrecorded else set()
        for device in unrecorded:
            if device.major in majors:
                await context.systemd.change_rule(cgroup, device, allowed=False)
                rules.deny(device)
                log.warning("unrecorded_device_denied", device=str(device))


async def _change_systemd_rule(context: Context, record: ContainerRecord, device: DeviceNumber) -> None:
    """The new tap must have the number now, so that the other container cannot have got it again meanwhile."""
    data = record.data
    if context.systemd.bus is not None and data is not None and not process.has_ended(data.incarnation):
        cgroup = cgroups.observe_cgroup(data.incarnation.pid)
        await context.systemd.change_rule(cgroup, device, allowed=False)


def _revoke(record: ContainerRecord, device: DeviceNumber, *, as_usual: bool = False) -> None:
    """Do it all in one call, so that the container's worker does not run in between.

    `as_usual`: nothing happened that an operator should know.
    """
    data = record.data
    if data is None or device not in {entry.device for entry in data.taps}:
        return
    if _deny(data, device) and not as_usual:
        log.warning("stale_device_denied", device=str(device), held_by=data.name)
    else:
        log.debug("stale_device_forgotten", device=str(device), held_by=data.name)
    record.revoke(device)


def _deny(record: Record, device: DeviceNumber) -> bool:
    """Return False if this run of the container has ended: its rules and nodes are gone with it."""
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
                    device_nodes.remove_node(dev, entry.slot, device)
    except VtapdError as error:
        log.warning("stale_node_stays", device=str(device), held_by=record.name, error=str(error))
