"""Report what each container and its guest use, for `vtapd top`. Nothing is read while no command asks.

The loop collects the statuses. A thread reads the kernel's counters, one request at a time.
"""

from collections.abc import Sequence
from functools import partial

import anyio

from supervisor.core.report.schema import Usage
from supervisor.core.report.status import ContainerStatus
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroup_usage, cgroups, tap
from supervisor.edges.threads import run_in_thread
from supervisor.errors import ContainerGone


class UsageReport:
    """Reads the counters of all containers."""

    def __init__(self) -> None:
        self._one = anyio.Lock()

    async def read(self, statuses: Sequence[ContainerStatus]) -> list[Usage]:
        """Return the usage of each container. Raises Transient when no thread can be started."""
        async with self._one:
            return await run_in_thread(partial(_observe_all, statuses))


def _observe_all(statuses: Sequence[ContainerStatus]) -> list[Usage]:
    return [observe_usage(status) for status in statuses]


def observe_usage(status: ContainerStatus) -> Usage:
    """Return what a container and its guest use at this moment."""
    record, guest, qemu = status.guest_record, status.guest, status.qemu
    used = _observe_cgroup(status)
    at_s = boottime_s()
    received, transmitted = _observe_traffic(status)
    return {
        "id": status.id,
        "name": status.name,
        "state": status.state,
        "guest": guest.kind if guest else None,
        "ready": guest.is_ready if guest and guest.spec.ready else None,
        "restarts": record.restarts if guest else None,
        "restores": record.restore_counts.get("restored", 0) if guest else None,
        "backoff_s": round(max(0.0, record.not_before_s - at_s), 1) if status.state == "backoff" else None,
        "uptime_s": round(at_s - qemu.spawned_at_s, 1) if qemu else None,
        "at_s": at_s,
        "cpu_s": used.cpu_s,
        "memory_bytes": used.memory_bytes,
        "memory_limit_bytes": used.memory_limit_bytes,
        "receive_bytes": received,
        "transmit_bytes": transmitted,
        "read_bytes": used.read_bytes,
        "written_bytes": used.written_bytes,
        "processes": used.processes,
    }


def _observe_cgroup(status: ContainerStatus) -> cgroup_usage.CgroupUsage:
    if status.incarnation is None:
        return cgroup_usage.CgroupUsage()
    try:
        return cgroup_usage.observe_usage(cgroups.observe_cgroup(status.incarnation.pid))
    except ContainerGone:
        return cgroup_usage.CgroupUsage()


def _observe_traffic(status: ContainerStatus) -> tuple[int | None, int | None]:
    """Return the bytes that its interfaces received and transmitted. Those of a macvtap on them are among these."""
    if status.incarnation is None or status.seen is None or not status.seen.interfaces:
        return None, None
    names = {each.interface.name for each in status.seen.interfaces}
    counted = tap.observe_traffic(status.incarnation.pid, names).values()
    return sum(each.rx_bytes for each in counted), sum(each.tx_bytes for each in counted)
