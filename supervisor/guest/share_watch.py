"""Notice the end of a virtiofsd while its guest runs: the guest waits for ever when it uses that share."""

from collections.abc import Callable

import anyio
import structlog

from supervisor.core.guest.spec import SHARE
from supervisor.guest.qemu_process import RunningServer

_ENDS_TOGETHER_S = 1.0
"""QEMU closes its connections before its end is visible."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def watch_servers(servers: tuple[RunningServer, ...], on_failed: Callable[[str], None]) -> None:
    """Call `on_failed` with a sentence for people for each server that ends. Cancel it when the guest has ended."""
    async with anyio.create_task_group() as tasks:
        for server in servers:
            tasks.start_soon(_watch, server, on_failed)


async def _watch(server: RunningServer, on_failed: Callable[[str], None]) -> None:
    if server.process is not None:
        await anyio.wait_readable(server.process.pidfd)
        await anyio.sleep(_ENDS_TOGETHER_S)
    label = f"{SHARE}{server.record.number}"
    log.warning("share_failed", label=label, until="its next start")
    on_failed(f"Its share {label} has failed: its virtiofsd has ended. The guest has it again after its next start.")
