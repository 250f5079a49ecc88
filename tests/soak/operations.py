"""Performs each operation on the real machine. Nothing here decides anything, or waits for consequences, except if
only they show that the operation was done.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from tests.harness.observe import qemus_of
from tests.harness.waiting import eventually

from .model import ExpectedContainer
from .testbed import Testbed

DONE_S = 60.0

Perform = Callable[[Testbed, ExpectedContainer, str], None]


def by_docker(*words: str) -> Perform:
    """Return a docker command on the container; `{}` stands for the operation's argument."""

    def perform(testbed: Testbed, expected: ExpectedContainer, argument: str) -> None:
        verb = [word.format(argument) for word in words]
        testbed.machine.docker(*verb, testbed.containers[expected.number].id)

    return perform


def create(testbed: Testbed, expected: ExpectedContainer, _argument: str) -> None:
    testbed.create(expected)


def remove(testbed: Testbed, expected: ExpectedContainer, _argument: str) -> None:
    testbed.machine.docker("rm", "-f", "-v", testbed.containers[expected.number].id)


def rename(testbed: Testbed, expected: ExpectedContainer, letter: str) -> None:
    testbed.machine.docker("rename", testbed.containers[expected.number].id, f"soak{expected.number}{letter}")


def connect(testbed: Testbed, expected: ExpectedContainer, _argument: str) -> None:
    testbed.machine.docker("network", "connect", testbed.network, testbed.containers[expected.number].id)


def disconnect(testbed: Testbed, expected: ExpectedContainer, _argument: str) -> None:
    testbed.machine.docker("network", "disconnect", testbed.network, testbed.containers[expected.number].id)


def by_vtapd(verb: str) -> Perform:
    """Return a command of the daemon, repeated until the daemon knows the container."""

    def perform(testbed: Testbed, expected: ExpectedContainer, _argument: str) -> None:
        container = testbed.containers[expected.number]
        eventually(
            lambda: testbed.daemon.command(verb, container.id).returncode == 0,
            f"vtapd {verb} #{expected.number}",
            DONE_S,
        )

    return perform


def tell_guest(testbed: Testbed, expected: ExpectedContainer, path: str) -> None:
    """Request a page; a guest that does not run does not get the request."""
    with suppress(OSError):
        testbed.machine.http(f"http://{testbed.address(expected)}{path}", 1.0)


def finish(testbed: Testbed, expected: ExpectedContainer, path: str) -> None:
    """End the guest and wait until the daemon has noticed: only QMP reports a power-off, to a connected daemon."""
    container = testbed.containers[expected.number].restarted()
    container.await_page(DONE_S)
    testbed.daemon.await_state(container.id, "running", deadline_s=DONE_S)
    before = container.pid
    container.trigger(path)

    def over() -> bool:
        state = container.docker_state()  # Docker may have started it again by now
        if not state["Running"] or int(state["Pid"]) != before:
            return True
        return testbed.daemon.inspect(container.id).state in ("exited", "failed")

    eventually(over, f"the guest of #{expected.number} is done after {path}", DONE_S)


def signal_qemu(number: signal.Signals) -> Perform:
    def perform(testbed: Testbed, expected: ExpectedContainer, _argument: str) -> None:
        for pid in qemus_of(testbed.containers[expected.number].id):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    return perform


def kill_init(testbed: Testbed, expected: ExpectedContainer, _argument: str) -> None:
    container = testbed.containers[expected.number]
    before = container.restarted().pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: container.restarted().pid not in (0, before), f"Docker starts #{expected.number} again", DONE_S)


def kill_daemon(testbed: Testbed, _member: ExpectedContainer, _argument: str) -> None:
    testbed.kill_daemon()


def stop_daemon(testbed: Testbed, _member: ExpectedContainer, _argument: str) -> None:
    testbed.stop_daemon()


def start_daemon(testbed: Testbed, _member: ExpectedContainer, _argument: str) -> None:
    testbed.start_daemon()


def cut_streams(testbed: Testbed, _member: ExpectedContainer, _argument: str) -> None:
    testbed.proxy.cut_streams()


def restart_docker(testbed: Testbed, _member: ExpectedContainer, _argument: str) -> None:
    testbed.machine.restart_docker()
