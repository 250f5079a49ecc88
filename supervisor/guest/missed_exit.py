"""Find out how a guest ended while no daemon ran: from the reaper's report, and from the container's log."""

import signal
from dataclasses import replace

import anyio

from supervisor.core.container import ContainerHandles, ContainerId
from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.guest.restart import Evidence
from supervisor.core.kinds.kind import GuestKind
from supervisor.core.record import ProcessRecord
from supervisor.guest.context import GuestContext
from supervisor.guest.docker_log import read_past_output
from supervisor.guest.exit_evidence import ExitObserver, evidence_of
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.qemu_process import SocketPaths

_LOG_S = 5.0
_UNSEEN = "it ended while no daemon ran"


async def gather_missed(
    context: GuestContext,
    container: ContainerId,
    handles: ContainerHandles,
    plan: GuestPlan,
    qemu: ProcessRecord,
    paths: SocketPaths,
    *,
    asked: str | None,
) -> tuple[Evidence, float | None]:
    """Return the evidence about a QEMU that has exited, and when it did, in seconds since boot; None if not known.

    `asked`: the reason for which an earlier daemon ended it, if it did.
    """
    report = await context.reaper.find_report(qemu.pid, qemu.start_ticks, paths.exit)
    if report is None:
        return Evidence(asked=asked, detail=_UNSEEN), None
    scanner = await _scan(context, container, plan.kind, qemu)
    observer = ExitObserver(handles, qemu.oom_kills)
    return await observer.gather(report, asked, None, scanner, ran=True), report.ended_at_s


async def gather_after_container(
    context: GuestContext, container: ContainerId, kind: GuestKind, qemu: ProcessRecord, paths: SocketPaths
) -> tuple[Evidence, float | None]:
    """Return the same about a QEMU whose container has ended too: that has killed it, if nothing else has before."""
    report = await context.reaper.find_report(qemu.pid, qemu.start_ticks, paths.exit)
    if report is None:
        return Evidence(container_gone=True, detail=_UNSEEN), None
    evidence = evidence_of(report, await _scan(context, container, kind, qemu), ran=True)
    return replace(evidence, container_gone=report.status == -signal.SIGKILL), report.ended_at_s


async def _scan(context: GuestContext, container: ContainerId, kind: GuestKind, qemu: ProcessRecord) -> ConsoleScanner:
    """Scan what the guest printed, as far as Docker has it."""
    scanner = ConsoleScanner(kind.console)
    with anyio.move_on_after(_LOG_S):
        scanner.feed(await read_past_output(context.docker, container, qemu))
    scanner.close()
    return scanner
