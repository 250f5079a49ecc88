"""`docker logs` is the guest's console, line by line: none is missing, repeated or out of order.

The guest waits for its serial port, as a program waits for a slow terminal; this takes time on a busy machine.
"""

import os
import re
import signal
from itertools import zip_longest

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.waiting import eventually

LINES = 10_000
AT_ONCE = 1000
"""About 19 kB: more than a Unix socket of the usual size holds byte by byte, and less than the daemon's buffer."""
BOTH = pytest.mark.parametrize("terminal", [(), ("-t",)], ids=["pipe", "tty"])
WRITTEN_S = 120.0
MOST_DOUBLED = 5

pytestmark = pytest.mark.timeout(300)


def has_a_character_twice(line: str, expected: str) -> bool:
    return any(line == expected[: at + 1] + expected[at:] for at in range(len(expected)))


def assert_in_order(guest: Container, count: int) -> None:
    """Assert that each line is there once. A terminal turns \\n into \\r\\n.

    Of a guest that had to wait at its serial port, QEMU writes a character twice (man 8 vtapd). On a busy machine this
    may happen, but rarely.
    """
    lines = [line.rstrip("\r") for line in guest.logs().splitlines() if re.match(r"l+i+n+e+ ", line)]
    expected = [f"line {number} of {count}" for number in range(1, count + 1)]
    wrong = [(line, wanted) for line, wanted in zip_longest(lines, expected, fillvalue="") if line != wanted]
    assert [each for each in wrong if not has_a_character_twice(*each)] == []
    assert len(wrong) <= MOST_DOUBLED, f"more than a wait of the guest explains: {wrong}"


def await_all(guest: Container, count: int = LINES) -> None:
    last = f"line {count} of {count}"
    eventually(lambda: last in guest.logs(), "the last line is there", WRITTEN_S)
    assert_in_order(guest, count)


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
