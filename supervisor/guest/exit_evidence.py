"""Collect why a QEMU exited, from its status, QMP, the console, the cgroup and the container's init."""

import signal

import anyio

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.guest.restart import Evidence
from supervisor.core.model import ContainerHandles
from supervisor.edges.kernel import cgroups
from supervisor.edges.kernel.process import Process, observe_incarnation
from supervisor.guest.qmp_monitor import QmpMonitor

_INIT_ENDS_S = 0.05


class ExitObserver:
    """Make it while QEMU runs: it counts the kills for lack of memory from then on."""

    def __init__(self, handles: ContainerHandles) -> None:
        self._init = handles.pid
        self._cgroup = handles.cgroup
        self._oom_kills = cgroups.observe_oom_kills(handles.cgroup)

    async def gather(
        self,
        process: Process,
        status: int | None,
        asked: str | None,
        monitor: QmpMonitor,
        scanner: ConsoleScanner,
        *,
        ran: bool,
    ) -> Evidence:
        """Return the evidence about a QEMU that has exited. `asked`: the reason for which this daemon ended it.

        `ran`: whether its guest may have run.
        """
        gone = observe_incarnation(self._init) is None
        oom = cgroups.observe_oom_kills(self._cgroup) > self._oom_kills
        if status == -signal.SIGKILL and not (gone or oom or asked or scanner.ended):
            # Docker may be killing the whole cgroup, QEMU before the init.
            await anyio.sleep(_INIT_ENDS_S)
            gone = observe_incarnation(self._init) is None
        complaint = process.read_stderr() if status else ""
        return Evidence(
            status=status,
            shutdown=monitor.shutdown_reason,
            panicked=monitor.panicked,
            verdict=scanner.verdict,
            asked=asked,
            oom=oom and status == -signal.SIGKILL,
            container_gone=gone,
            complaint=complaint,
            detail=scanner.last_line or complaint,
            ran=ran or monitor.shutdown_reason is not None,
        )
