"""Collect why a QEMU exited, from its reaper's report, QMP, the console, the cgroup and the container's init."""

import signal
from dataclasses import replace

import anyio

from supervisor.core.container import ContainerHandles, Pid
from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.guest.exit_report import ExitReport
from supervisor.core.guest.restart import Evidence
from supervisor.edges.kernel import cgroups
from supervisor.edges.kernel.process import is_dying, observe_incarnation
from supervisor.guest.qmp_monitor import QmpMonitor

_INIT_ENDS_S = 0.05


class ExitObserver:
    """Make it when QEMU is started or adopted: it counts the kills for lack of memory from then on."""

    def __init__(self, handles: ContainerHandles, oom_kills: int | None = None) -> None:
        """`oom_kills`: the kills until QEMU was started, if that is known."""
        self._init = handles.pid
        self._cgroup = handles.cgroup
        self._oom_kills = cgroups.observe_oom_kills(handles.cgroup) if oom_kills is None else oom_kills

    def note_alive(self, pid: Pid) -> None:
        """Note that QEMU outlived the kills for lack of memory until now: another process was killed."""
        oom_kills = cgroups.observe_oom_kills(self._cgroup)
        if oom_kills != self._oom_kills and not is_dying(pid):
            self._oom_kills = oom_kills

    async def gather(
        self,
        report: ExitReport,
        asked: str | None,
        monitor: QmpMonitor | None,
        scanner: ConsoleScanner,
        *,
        ran: bool,
    ) -> Evidence:
        """Return the evidence about a QEMU that has exited. `asked`: the reason for which this daemon ended it.

        `ran`: whether its guest may have run.
        """
        status = report.status
        gone = observe_incarnation(self._init) is None
        oom = cgroups.observe_oom_kills(self._cgroup) > self._oom_kills
        if status == -signal.SIGKILL and not (gone or oom or asked or scanner.ended):
            # Docker may be killing the whole cgroup, QEMU before the init.
            await anyio.sleep(_INIT_ENDS_S)
            gone = observe_incarnation(self._init) is None
        evidence = evidence_of(report, scanner, ran=ran)
        shutdown = (monitor and monitor.shutdown_reason) or report.shutdown
        return replace(
            evidence,
            shutdown=shutdown,
            panicked=report.panicked or (monitor is not None and monitor.panicked),
            asked=asked,
            oom=oom and status == -signal.SIGKILL,
            container_gone=gone,
            ran=ran or shutdown is not None,
        )


def evidence_of(report: ExitReport, scanner: ConsoleScanner, *, ran: bool) -> Evidence:
    """Return the evidence in the reaper's report and on the console alone."""
    complaint = report.complaint if report.status else ""
    return Evidence(
        status=report.status,
        shutdown=report.shutdown,
        panicked=report.panicked,
        verdict=scanner.verdict,
        complaint=complaint,
        detail=scanner.last_line or complaint,
        ran=ran,
    )
