"""What the reaper reports of a QEMU that has exited: its status, its last words, and what QMP said of its end."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from supervisor.core.formats.qemu_stderr import last_complaint


@dataclass(frozen=True, slots=True)
class ExitReport:
    """The exit of one QEMU."""

    status: int | None = None
    """Exit code, or minus the signal. None if it is not known."""
    ended_at_s: float | None = None
    """Seconds since boot. None if it is not known."""
    stderr: str = ""
    shutdown: str | None = None
    """The reason in QMP's first SHUTDOWN event."""
    panicked: bool = False
    """Whether QMP's event GUEST_PANICKED was received."""

    @property
    def complaint(self) -> str:
        """QEMU's last error message, without the hints that may follow it."""
        return last_complaint(self.stderr)

    @property
    def words(self) -> str:
        """Its exit code or signal, and its last words, as the end of a sentence that says that it has ended."""
        said = f", after it wrote {self.complaint!a}" if self.complaint else ""
        if self.status is None:
            return said
        return (f" with exit code {self.status}" if self.status >= 0 else f" by signal {-self.status}") + said


class _Report(msgspec.Struct):
    """The reaper's message, or the file that it saved it in."""

    known: bool = False
    pid: int = 0
    start_ticks: int = 0
    code: int | None = None
    signal: int | None = None
    ended_at_s: float | None = None
    stderr: str = ""
    shutdown: str = ""
    panicked: str = ""


class _Reason(msgspec.Struct):
    reason: str = ""


class _Event(msgspec.Struct):
    event: str = ""
    data: _Reason = msgspec.field(default_factory=_Reason)


def parse_exit_report(packet: bytes, pid: int, start_ticks: int) -> ExitReport | None:
    """Return the report of this process. None if it is of another one, or if the reaper knows none."""
    try:
        report = msgspec.json.decode(packet, type=_Report)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not report.known or (report.pid, report.start_ticks) != (pid, start_ticks):
        return None
    status = report.code if report.signal is None else -report.signal
    panicked = _event(report.panicked, ("GUEST_PANICKED",)) is not None
    return ExitReport(status, report.ended_at_s, report.stderr, _event(report.shutdown, ("SHUTDOWN",)), panicked)


def _event(line: str, names: Iterable[str]) -> str | None:
    """Return the reason in an event of QMP. The line is QEMU's own, so it may be anything: then it is ignored."""
    try:
        event = msgspec.json.decode(line, type=_Event)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None
    return event.data.reason if event.event in names else None
