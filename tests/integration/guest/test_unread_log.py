"""A log that is not read never stops the guest: what it does not take in time is dropped, counted and reported."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.processes import status_of
from tests.harness.waiting import eventually

LINES = 12_000
"""About 230 kB: more than pipes and FIFOs between QEMU and Docker hold."""
PRINTED_S = 40.0
GAP = re.compile(r"(?m)^\[vtapd: (\d+) bytes of output are missing here, because this log was not read\]\r*$")

pytestmark = [
    pytest.mark.timeout(200),
    # A guest that waits for its log for longer would be ended.
    pytest.mark.vtapd_config(guest={"hang_after": "5s"}, attach={"resync": "1s"}),
]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def parent_of(pid: int) -> int:
    return int(status_of(pid)["PPid"])


def dropped_bytes(vtapd: Daemon, guest: Container) -> float:
    return vtapd.metrics().value("vtapd_guest_console_dropped_bytes_total", container=guest.name)


def print_lines(guest: Container) -> None:
    """Have the guest print until it has printed all; it answers no request meanwhile."""
    guest.trigger(f"/lines?n={LINES}")
    guest.await_page(PRINTED_S)


def events_of(vtapd: Daemon, guest: Container) -> list[str]:
    return [str(line["event"]) for line in vtapd.log_lines() if line.get("container") == guest.name]


@pytest.mark.parametrize("terminal", [(), ("-t",)], ids=["pipe", "tty"])
def test_guest_outlives_a_log_that_is_not_read(
    vtapd: Daemon, containers: Containers, terminal: tuple[str, ...]
) -> None:
    """The log's reader is stopped; the daemon is killed and started meanwhile, and the guest prints on without it."""
    guest = containers.serving_guest(*terminal, alive=f"ping,every=1s,fails={PRINTED_S:.0f}")
    vtapd.await_state(guest.name, "running")
    qemu = guest.qemu()
    assert dropped_bytes(vtapd, guest) == 0
    with stopped(parent_of(guest.pid)):
        print_lines(guest)
        assert dropped_bytes(vtapd, guest) > LINES
        view = vtapd.inspect(guest.name)
        assert view.guest is not None
        assert any("missing in the container's log" in note for note in view.guest.notes)
        before = dropped_bytes(vtapd, guest)
        record = vtapd.run_dir / f"{guest.id}.json"
        eventually(lambda: f'"console_dropped_bytes":{before:.0f}' in record.read_text(), "the count is on record")
        assert guest.qemu() == qemu, vtapd.log_tail(60)
        vtapd.kill()
        print_lines(guest)
        if terminal:  # the next daemon does not hear the guest then
            (vtapd.run_dir / f"{guest.id12}.console").unlink()
        vtapd.start()
        eventually(lambda: dropped_bytes(vtapd, guest) == before, "the guest is adopted with its count")
        print_lines(guest)
        assert dropped_bytes(vtapd, guest) > before + LINES
    assert guest.qemu() == qemu, vtapd.log_tail(60)
    gaps = eventually(lambda: GAP.findall(guest.logs()), "a line says what is missing")
    assert max(map(int, gaps)) > LINES
    eventually(lambda: f"line {LINES} of {LINES}" in guest.logs(), "the end is in the log")
    guest.get("/echo-console?text=again%0a")
    eventually(lambda: "again" in guest.logs(), "the log has what follows")
    eventually(lambda: "log_read_again" in events_of(vtapd, guest) or terminal, "the end is logged", 20)
    assert "guest_hangs" not in events_of(vtapd, guest)
    assert events_of(vtapd, guest).count("log_not_read") == 1
