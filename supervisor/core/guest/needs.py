"""Refuse a guest for which its container has too little: memory for what is loaded, or threads for QEMU."""

from supervisor.core.container import Container
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds.refusal import refused
from supervisor.core.units import MIB
from supervisor.errors import Rejected, Step

_MEMORY = "vtapd.memory"
_OWN_THREADS = 3
"""QEMU's main loop, its RCU thread and that of QMP. Each processor has one, and disks have workers, the first of them
when QEMU opens them."""
_WORKERS = 64
"""The most threads that QEMU makes for disks."""
_SERVER_THREADS = 4
"""virtiofsd has a main loop, a waiting thread, and one for each of its two queues."""
_INIT = 1
"""The container's own first process counts, too."""


def check_memory(container: Container, spec: GuestSpec, least_bytes: int) -> None:
    """Refuse less memory than the kernel and its initrd take."""
    least_mib = -(-least_bytes // MIB)
    if spec.memory_mib >= least_mib:
        return
    what = "the kernel and its initrd take" if spec.initrd else "the kernel takes"
    if _MEMORY in container.labels:
        raise refused(_MEMORY, container.labels[_MEMORY], f"{least_mib}M or more: {what} that much")
    raise Rejected(
        f"its guest would have {spec.memory_mib}M of memory, and {what} {least_mib}M",
        step=Step.KERNEL,
        remedy=f"give the container the label {_MEMORY}, or a higher memory limit",
    )


def check_threads(limit: int | None, cpus: int, *, has_disks: bool, servers: int = 0) -> None:
    """Refuse a limit of processes that QEMU's threads do not fit into. `limit`: of the container's cgroup, if any.

    `servers`: how many shares have a virtiofsd of their own.
    """
    needed = _INIT + _OWN_THREADS + cpus + has_disks + servers * _SERVER_THREADS
    if limit is not None and limit < needed:
        raise Rejected(
            f"it may have {limit} processes (pids.max of its cgroup), and with QEMU's threads it has {needed} or more",
            step=Step.CGROUP,
            remedy=f"docker update --pids-limit {needed + _WORKERS * has_disks} or more",
        )
