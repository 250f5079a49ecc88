"""Notice the end of a virtiofsd while its guest runs: the guest waits for ever when it uses that share."""

from collections.abc import Awaitable, Callable

import anyio
import structlog

from supervisor.core.guest.exit_report import ExitReport
from supervisor.core.guest.spec import SHARE
from supervisor.edges.kernel.process import Process
from supervisor.guest.qemu_process import RunningServer

_ENDS_TOGETHER_S = 1.0
"""QEMU closes its connections before its end is visible."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


ReportOf = Callable[[Process], Awaitable[ExitReport]]


async def watch_servers(
    servers: tuple[RunningServer, ...], report_of: ReportOf, on_failed: Callable[[str], None]
) -> None:
    """Call `on_failed` with a sentence for people for each server that ends. Cancel it when the guest has ended."""
    async with anyio.create_task_group() as tasks:
        for server in servers:
            tasks.start_soon(_watch, server, report_of, on_failed)


async def _watch(server: RunningServer, report_of: ReportOf, on_failed: Callable[[str], None]) -> None:
    report = ExitReport()
    if server.process is not None:
        await anyio.wait_readable(server.process.pidfd)
        await anyio.sleep(_ENDS_TOGETHER_S)
        report = await report_of(server.process)
    label = f"{SHARE}{server.record.number}"
    log.warning("share_failed", label=label, status=report.status, detail=report.complaint, until="its next start")
    on_failed(
        f"Its share {label} has failed: its virtiofsd has ended{report.words}."
        " The guest has it again after its next start."
    )
