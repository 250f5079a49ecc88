"""Read what an adopted guest printed before this daemon connected to its console: Docker has it in its log."""

import time
from contextlib import AbstractAsyncContextManager, nullcontext

import anyio
import structlog

from supervisor.core.container import ContainerId
from supervisor.core.record import ProcessRecord
from supervisor.edges.clock import boottime_s
from supervisor.edges.docker import Docker
from supervisor.errors import Permanent, Transient

_DELAYS_S = (0.0, 0.5, 1.0, 5.0, 15.0)
"""Docker may be down when a guest is adopted, and some log drivers keep no log that can be read."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def read_past_output(
    docker: Docker,
    container_id: ContainerId,
    guest: ProcessRecord,
    places: AbstractAsyncContextManager[object] = nullcontext(),  # noqa: B008  # it has no state
) -> bytes:
    """Return the container's log since this guest was started; nothing if Docker cannot read it.

    `places` bounds how many logs are read at the same time.
    """
    for delay_s in _DELAYS_S:
        await anyio.sleep(delay_s)
        age_s = boottime_s() - guest.spawned_at_s
        try:
            async with places:
                return await docker.log(container_id, time.time() - age_s)
        except (Transient, Permanent) as error:
            log.debug("log_unknown", error=str(error))
    return b""
