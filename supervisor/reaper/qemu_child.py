"""One QEMU that the reaper has started: what it left behind, and the report of its exit."""

import os
from contextlib import suppress
from typing import Any

from supervisor.linux.file_calls import read_record

STDERR_BYTES = 16384
_CHUNK_BYTES, _EVENT_BYTES = 1 << 14, 1 << 12
_MOST_EVENT_BYTES = 1 << 24
"""After so many bytes of events no more are read: QEMU is not trusted to be brief."""
_KEPT_EVENTS = ((b'"SHUTDOWN"', "shutdown"), (b'"GUEST_PANICKED"', "panicked"))


class QemuChild:
    """Owns the descriptors of its events and of its standard error."""

    def __init__(self, pid: int, events: int | None, stderr: int, report_path: str | None) -> None:
        self.pid = pid
        self.start_ticks = read_start_ticks(pid)
        self.events = events
        """QEMU's second QMP connection, not blocking; None once it is closed."""
        self.started = False
        """Whether it became QEMU. What failed before that has no report."""
        self._stderr = stderr
        self._report_path = report_path
        self._line = b""
        self._read_bytes = 0
        self._kept: dict[str, str] = {}

    def close(self) -> None:
        """Close its descriptors."""
        self.close_events()
        os.close(self._stderr)

    def close_events(self) -> None:
        """Read no more events."""
        if self.events is not None:
            os.close(self.events)
            self.events = None

    def read_events(self) -> bool:
        """Read some events, and keep the few that say how a guest ended. Return False once no more will come.

        Raises BlockingIOError if there is none now.
        """
        assert self.events is not None, "it was closed"
        try:
            data = os.read(self.events, _CHUNK_BYTES)
        except ConnectionResetError:
            return False
        self._read_bytes += len(data)
        complete, _, rest = (self._line + data).rpartition(b"\n")
        self._line = rest[:_CHUNK_BYTES]
        for mark, key in _KEPT_EVENTS:
            if mark in complete and key not in self._kept:
                line = next(line for line in complete.split(b"\n") if mark in line)
                self._kept[key] = line[:_EVENT_BYTES].decode("utf-8", "replace")
        return bool(data) and self._read_bytes <= _MOST_EVENT_BYTES

    def report(self, code: int | None, signal: int | None, ended_at_s: float) -> dict[str, Any]:
        """Return the report of its exit: its exit code or signal, and what it said."""
        with suppress(BlockingIOError):
            while self.events is not None and self.read_events():
                pass
        stderr = os.pread(self._stderr, STDERR_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")
        return {
            "known": True,
            "pid": self.pid,
            "start_ticks": self.start_ticks,
            "code": code,
            "signal": signal,
            "ended_at_s": ended_at_s,
            "stderr": stderr,
            **self._kept,
        }

    def save(self, report: bytes) -> None:
        """Write the report where the next daemon finds it. If the file system is full, there is none.

        A daemon that has forgotten the container meanwhile needs none, and may have looked for one too early.
        """
        if self._report_path is None or not self.started:
            return
        temporary = self._report_path + ".new"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, report)
            finally:
                os.close(descriptor)
            os.rename(temporary, self._report_path)  # noqa: PTH104  # pathlib would take memory in this process
            if not _is_recorded(self._report_path):
                os.unlink(self._report_path)  # noqa: PTH108  # pathlib would take memory in this process
        except OSError:
            return


def _is_recorded(report_path: str) -> bool:
    """Return whether the daemon still has a record of the container."""
    folder, name = os.path.split(report_path)
    container = name.split(".")[0]
    return any(each.startswith(container) and each.endswith(".json") for each in os.listdir(folder))  # noqa: PTH208  # pathlib would take memory in this process


def read_start_ticks(pid: int) -> int:
    """Return when a child that is not reaped yet started, in clock ticks since boot (man 5 proc: field 22)."""
    text = read_record(f"/proc/{pid}/stat")
    return int(text[text.rindex(b")") + 2 :].split()[19])
