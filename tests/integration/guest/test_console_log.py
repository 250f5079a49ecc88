"""`docker logs` is the guest's console, line by line: none is missing, repeated or out of order.

The guest waits for its serial port, as a program waits for a slow terminal; this takes time on a busy machine.
"""

import os
import re
import signal

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.waiting import eventually

LINES = 10_000
AT_ONCE = 1000
"""About 19 kB: more than a Unix socket of the usual size holds byte by byte, and less than the daemon's buffer."""
BOTH = pytest.mark.parametrize("terminal", [(), ("-t",)], ids=["pipe", "tty"])
WRITTEN_S = 120.0

pytestmark = pytest.mark.timeout(300)


def numbers(guest: Container, count: int) -> list[int]:
    """Return the numbers of the complete lines. A terminal turns \
     into \\r\
    ."""
    return [int(number) for number in re.findall(rf"(?m)^line (\d+) of {count}\r*$", guest.logs())]


def await_all(guest: Container, count: int = LINES) -> None:
    last = f"line {count} of {count}"
    eventually(lambda: last in guest.logs(), "the last line is there", WRITTEN_S)
    assert numbers(guest, count) == list(range(1, count + 1))


@BOTH
def test_ten_thousand_lines_reach_docker_logs(vtapd: Daemon, containers: Containers, terminal: tuple[str, ...]) -> None:
    guest = containers.serving_guest(*terminal)
    guest.trigger(f"/lines?n={LINES}")
    await_all(guest)


@BOTH
def test_lines_reach_docker_logs_while_the_daemon_is_killed(
    vtapd: Daemon, containers: Containers, terminal: tuple[str, ...]
) -> None:
    guest = containers.serving_guest(*terminal)
    guest.trigger(f"/lines?n={LINES}")
    vtapd.kill()
    vtapd.start()
    await_all(guest)


@BOTH
def test_lines_reach_docker_logs_while_the_daemon_is_stopped(
    vtapd: Daemon, containers: Containers, terminal: tuple[str, ...]
) -> None:
    """The daemon reads the console only to learn how the guest ends; the log does not depend on it."""
    guest = containers.serving_guest(*terminal)
    os.kill(vtapd.pid, signal.SIGSTOP)
    try:
        guest.trigger(f"/lines?n={AT_ONCE}")
        await_all(guest, AT_ONCE)
    finally:
        os.kill(vtapd.pid, signal.SIGCONT)
