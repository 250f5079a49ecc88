"""Move a QEMU, and the servers of its shares, into the container's cgroup.

So they are paused, limited, counted and killed with the container.
"""

from functools import partial

import structlog

from supervisor.core.container import Pid
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.edges import threads
from supervisor.edges.kernel import cgroups
from supervisor.edges.kernel.process import Process
from supervisor.errors import ContainerGone, Permanent, Transient
from supervisor.lazy_event import LazyEvent

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def join_cgroup(cgroup: Cgroup, pid: Pid, accel: str, *, started: bool) -> None:
    """Move the process into all directories that it can be in now. Raises ContainerGone if either is gone.

    `accel` is kvm or tcg; `started`: it has opened its accelerator. It takes up to 17 ms, in a thread.
    """
    directories = cgroup.directories_of_qemu(accel, started=started)
    await threads.run_in_thread(partial(cgroups.join_cgroup, directories, pid))


async def complete_cgroup(cgroup: Cgroup, qemu: Process, accel: str, answered: LazyEvent) -> None:
    """Move QEMU into the directories that it could not be in before it had opened its accelerator.

    It has once it `answered`. A QEMU that cannot be confined is killed.
    """
    early, complete = (cgroup.directories_of_qemu(accel, started=started) for started in (False, True))
    if early == complete:
        return
    await answered.wait()
    try:
        await join_cgroup(cgroup, qemu.pid, accel, started=True)
    except ContainerGone:
        return  # it has ended, or will at once
    except (Transient, Permanent) as error:
        log.error("guest_not_confined", step=error.step, error=str(error))
        qemu.kill()
