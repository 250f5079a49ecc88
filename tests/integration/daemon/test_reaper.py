"""QEMU's parent is the reaper: no container waits for a daemon, and no exit status is lost with one."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import qemus_of
from tests.harness.processes import is_alive, kill_and_await, status_of
from tests.harness.waiting import eventually

PATIENCE_S = 15.0
MOST_DOCKER_S = 8.0
"""Docker gives a container ten seconds to end after SIGKILL, and then fails."""


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def has_no_qemu(container: Container) -> bool:
    return not qemus_of(container.id)


def has_restarted(daemon: Daemon, guest: Container) -> bool:
    return daemon.metrics().restarts(guest.name) == 1


@pytest.mark.both_cgroups
def test_stopped_daemon_does_not_hold_docker_up(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    removed, restarted, ended, killed = (containers.serving_guest() for _ in range(4))
    with stopped(vtapd):
        for arguments in (
            ("rm", "-f", removed.id),
            ("restart", "-t", "0", restarted.id),
            ("stop", "-t", "0", ended.id),
            ("kill", killed.id),
        ):
            began = time.monotonic()
            machine.docker(*arguments)
            assert time.monotonic() - began < MOST_DOCKER_S, arguments
    again = restarted.restarted()
    again.await_page(PATIENCE_S)
    assert len(qemus_of(again.id)) == 1
    for gone in (removed, ended, killed):
        eventually(partial(has_no_qemu, gone), "its QEMU has ended")
    eventually(lambda: removed.id12 not in {row.id[:12] for row in vtapd.ps()}, "the removed one is forgotten")
    eventually(lambda: vtapd.metrics().guest_up(again.name), "the restarted one is up")
    ended.start().await_page(PATIENCE_S)


ENDINGS = {
    "/crash": ("guest-reset", None),
    "/poweroff": ("guest-exit", 0),
    "/panic": ("guest-panic", None),
    "SIGSEGV": ("qemu-signal", signal.SIGSEGV),
    "SIGKILL": ("qemu-signal", signal.SIGKILL),
}


def end(guest: Container, by: str) -> None:
    qemu = guest.qemu()
    if by.startswith("SIG"):
        os.kill(qemu, signal.Signals[by])
    else:
        guest.trigger(by)
    eventually(lambda: not is_alive(qemu), f"QEMU has ended by {by}")


def test_next_daemon_knows_how_guests_ended(vtapd: Daemon, containers: Containers) -> None:
    """It applies the restart policy to what happened: a power-off is a clean exit, the others are crashes."""
    guests = {by: containers.serving_guest(on_exit="keep") for by in ENDINGS}
    printed = containers.serving_guest(kernel="/hello-unikraft.bin", on_exit="keep", restart="no")
    vtapd.kill()
    for by, guest in guests.items():
        end(guest, by)
    end(printed, "/abort")
    vtapd.start()
    for by, guest in guests.items():
        expected = ENDINGS[by]
        clean = expected == ("guest-exit", 0)
        if clean:
            vtapd.await_state(guest.name, "exited")
        else:
            eventually(partial(has_restarted, vtapd, guest), f"it is restarted after {by}", PATIENCE_S)
        history = vtapd.inspect(guest.name).only_guest.history
        assert [(last.reason, last.code) for last in history] == [expected], by
        assert vtapd.metrics().exits(guest.name, expected[0]) == 1
    # It always powers off; only its console, which Docker has, shows that it crashed.
    vtapd.await_state(printed.name, "failed")
    assert [last.reason for last in vtapd.inspect(printed.name).only_guest.history] == ["guest-panic"]


def test_killed_reaper_is_replaced(vtapd: Daemon, containers: Containers) -> None:
    """Guests live on, each exit is noticed, and the next guests have another reaper."""
    guest, other = containers.serving_guest(), containers.serving_guest()
    qemu, old = guest.qemu(), vtapd.reaper_pid()
    assert int(status_of(qemu)["PPid"]) == old
    kill_and_await(old)
    new = eventually(vtapd.reaper_pid, "there is another reaper")
    assert new != old
    assert guest.get().status == 200
    assert guest.qemu() == qemu
    kill_and_await(qemu)
    eventually(lambda: vtapd.metrics().exits(guest.name) == 1, "the exit is noticed", PATIENCE_S)
    guest.await_page(PATIENCE_S)
    assert int(status_of(guest.qemu())["PPid"]) == new
    vtapd.kill()
    kill_and_await(new)
    vtapd.start()
    eventually(lambda: vtapd.metrics().guest_up(other.name), "the other is adopted", PATIENCE_S)
    other.trigger("/crash")
    eventually(lambda: vtapd.metrics().exits(other.name, "guest-reset") == 1, "its reason is known", PATIENCE_S)
    other.await_page(PATIENCE_S)
    assert len(qemus_of(guest.id)) == len(qemus_of(other.id)) == 1
