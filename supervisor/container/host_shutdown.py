"""Stop all guests while the machine shuts down, so that they end as a machine does whose power button is pressed.

systemd stops vtapd before Docker. When Docker then stops its containers, it has closed its API, so that a daemon that
still ran would not hear of it, and would leave the guests to be killed.
"""

from collections.abc import Iterable

import anyio
import structlog

from supervisor.container.operations import stop
from supervisor.container.worker import Worker
from supervisor.errors import Permanent, Transient

_MOST_S = 75.0
"""systemd kills the daemon after 90 s (TimeoutStopSec in vtapd.service)."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def stop_guests(workers: Iterable[Worker]) -> None:
    """Stop every guest that runs, all at the same time, each as `vtapd stop` does. Has a deadline.

    The containers go on: Docker stops them, and starts them again after the boot if their restart policy says so.
    """
    running = [worker for worker in workers if _has_guest(worker)]
    log.info("machine_shuts_down", guests=len(running))
    with anyio.move_on_after(_MOST_S):
        async with anyio.create_task_group() as tasks:
            for worker in running:
                tasks.start_soon(_stop, worker)


def _has_guest(worker: Worker) -> bool:
    """Whether it has a guest that can be stopped. One of a paused container takes no signal."""
    status = worker.status()
    return status.qemu is not None and not status.paused


async def _stop(worker: Worker) -> None:
    try:
        await stop(worker)
    except (Permanent, Transient) as error:
        log.warning("guest_not_stopped", container=worker.name, error=str(error))
