"""The reaper's report of an exit is understood, and whatever QEMU wrote into it does no harm."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.exit_report import ExitReport, parse_exit_report

POWERED_OFF = json.dumps({"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}})
PANICKED = json.dumps({"event": "GUEST_PANICKED", "data": {"action": "shutdown"}})


def packet(**fields: object) -> bytes:
    return json.dumps({"known": True, "pid": 7, "start_ticks": 70, "code": 0, "signal": None} | fields).encode()


def test_exit_code_and_signal_are_one_status() -> None:
    assert parse_exit_report(packet(code=3, ended_at_s=1.5, stderr="why"), 7, 70) == ExitReport(3, 1.5, "why")
    assert ExitReport(1, stderr="why\n").complaint == "why"
    assert ExitReport(1, stderr="why\n").words == " with exit code 1, after it wrote 'why'"
    assert (ExitReport(-6).words, ExitReport().words) == (" by signal 6", "")
    assert parse_exit_report(packet(code=None, signal=9), 7, 70) == ExitReport(-9)


def test_events_say_how_the_guest_ended() -> None:
    report = parse_exit_report(packet(shutdown=POWERED_OFF, panicked=PANICKED), 7, 70)
    assert report == ExitReport(0, shutdown="guest-shutdown", panicked=True)


def test_events_of_other_names_do_not_count() -> None:
    assert parse_exit_report(packet(shutdown=PANICKED, panicked=POWERED_OFF), 7, 70) == ExitReport(0)


@pytest.mark.parametrize(
    "unknown", [b"", b"{", b"\xff", b"[]", packet(known=False), packet(pid=8), packet(start_ticks=71)]
)
def test_report_that_is_not_of_this_process_is_none(unknown: bytes) -> None:
    assert parse_exit_report(unknown, 7, 70) is None


@given(st.text(), st.text(), st.text())
def test_text_of_qemu_is_never_an_error(stderr: str, shutdown: str, panicked: str) -> None:
    report = parse_exit_report(packet(stderr=stderr, shutdown=shutdown, panicked=panicked), 7, 70)
    assert report is not None
    assert (report.status, report.stderr) == (0, stderr)
