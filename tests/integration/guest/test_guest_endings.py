"""How guests end, the reason that is reported for each end, and what follows."""

import os
import signal
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.observe import Network, network, qemus_of
from tests.harness.processes import command_line, is_alive, kill_and_await
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 15.0


def await_restart(daemon: Daemon, guest: Container, reason: str, old_qemu: int) -> None:
    """Assert that the end was counted with its reason, the old QEMU is gone, and a new one answers."""
    eventually(lambda: daemon.metrics().exits(guest.name, reason) == 1, f"one end by {reason}", PATIENCE_S)
    eventually(lambda: not is_alive(old_qemu), "the old QEMU is gone")
    eventually(lambda: daemon.metrics().restarts(guest.name) == 1, "one restart", PATIENCE_S)
    guest.await_page()
    assert guest.qemu() != old_qemu
    assert daemon.metrics().exits(guest.name) == 1, daemon.metrics().text


@pytest.mark.parametrize(
    ("path", "reason", "code"),
    [
        ("/crash", "guest-reset", None),
        ("/panic", "guest-panic", None),
        ("/exit?code=7", "guest-exit", 7),
        ("/abort", "guest-panic", None),
        ("/trap", "guest-panic", None),
    ],
)
def test_crashed_guest_is_restarted(
    vtapd: Daemon, containers: Containers, path: str, reason: str, code: int | None
) -> None:
    guest = containers.serving_guest()
    old = guest.qemu()
    guest.trigger(path)
    await_restart(vtapd, guest, reason, old)
    view = vtapd.inspect(guest.name).only_guest
    assert view.restarts == 1
    assert view.last_exit is not None
    assert (view.last_exit.reason, view.last_exit.code) == (reason, code)
    assert [ending.reason for ending in view.history] == [reason]


def test_guest_of_a_killed_qemu_is_restarted(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    old = guest.qemu()
    kill_and_await(old)
    await_restart(vtapd, guest, "qemu-signal", old)
    last = vtapd.inspect(guest.name).only_guest.last_exit
    assert last is not None
    assert last.code == signal.SIGKILL


def test_docker_logs_contain_both_runs_of_the_guest(vtapd: Daemon, containers: Containers) -> None:
    """The log keeps what the guest printed before its end and after its restart."""
    guest = containers.serving_guest()
    guest.trigger("/exit?code=7")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "one restart", PATIENCE_S)
    guest.await_page()
    eventually(lambda: guest.logs().count("serving on") == 2, "both runs are in docker logs")
    lines = guest.logs().splitlines()
    assert any("_exit(7)" in line for line in lines)
    assert any(line.startswith("vtapd: guest-exit 7") for line in lines), "the end is a line of its own"


@pytest.mark.vtapd_config(guest={"log_end": False})
def test_end_of_the_guest_is_not_logged_if_that_is_switched_off(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "one restart", PATIENCE_S)
    guest.await_page()
    assert "vtapd:" not in guest.logs()


def children(pid: int) -> list[str]:
    return [child for thread in Path(f"/proc/{pid}/task").glob("*/children") for child in thread.read_text().split()]


def test_exit_before_the_daemon_reads_the_console_is_recognised(vtapd: Daemon, containers: Containers) -> None:
    """On a busy machine the daemon may continue only when its guest has already halted.

    The guest is of kind mirage because it prints little: until the daemon reads, its console holds at most 278 bytes.
    """
    reaper = vtapd.reaper_pid()
    known = set(children(reaper))
    guest = containers.guest(kernel="/hello-mirage.bin")
    eventually(lambda: set(children(reaper)) - known, "a QEMU", PATIENCE_S, every_s=0)
    os.kill(vtapd.pid, signal.SIGSTOP)
    try:
        guest.await_page()
        guest.trigger("/exit?code=7")
        eventually(lambda: "_exit(7)" in guest.logs(), "its exit message is in docker logs")
    finally:
        os.kill(vtapd.pid, signal.SIGCONT)
    eventually(lambda: vtapd.metrics().exits(guest.name, "guest-exit") == 1, "its exit is counted", PATIENCE_S)
    guest.await_page()


def events_of(daemon: Daemon, guest: Container) -> set[object]:
    return {line.get("event") for line in daemon.log_lines() if line.get("container") == guest.name}


def test_guest_that_boots_while_the_daemon_ends_is_adopted(vtapd: Daemon, containers: Containers) -> None:
    """Its boot files still exist, and the next daemon adopts it."""
    reaper = vtapd.reaper_pid()
    known = set(children(reaper))
    guest = containers.guest(restart="no", on_exit="keep")

    def started() -> int | None:
        new = (int(pid) for pid in set(children(reaper)) - known)
        return next((pid for pid in new if "qemu" in command_line(pid)[0]), None)

    qemu = eventually(started, "a QEMU", PATIENCE_S, every_s=0)
    assert qemu is not None
    os.kill(qemu, signal.SIGSTOP)
    try:
        eventually(lambda: "guest_started" in events_of(vtapd, guest), "its start is logged", PATIENCE_S)
        vtapd.stop()
    finally:
        os.kill(qemu, signal.SIGCONT)
    vtapd.start()
    guest.await_page()
    assert guest.qemu() == qemu
    assert vtapd.metrics().exits(guest.name) == 0


@pytest.mark.parametrize("path", ["/exit?code=0", "/poweroff"])
def test_clean_end_stops_the_container(vtapd: Daemon, containers: Containers, path: str) -> None:
    guest = containers.serving_guest()
    guest.trigger(path)
    eventually(lambda: not guest.is_running(), "the container is stopped", PATIENCE_S)
    assert qemus_of(guest.id) == []
    assert guest.docker_state()["Restarting"] is False


def before_takeover(containers: Containers, **labels: str) -> tuple[Container, Network]:
    """Return a container with a guest's labels, and its network before any daemon has changed it."""
    guest = containers.guest(**labels)
    return guest, network(guest.pid)


@pytest.mark.parametrize("path", ["/exit?code=0", "/poweroff"])
def test_clean_end_restores_the_network(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, path: str
) -> None:
    guest, before = before_takeover(containers, on_exit="keep")
    daemon = current_daemon.get({})
    guest.await_page()
    assert network(guest.pid) != before
    guest.trigger(path)
    view = daemon.await_state(guest.name, "exited", deadline_s=PATIENCE_S)
    assert guest.is_running()
    assert qemus_of(guest.id) == []
    eventually(lambda: network(guest.pid) == before, f"address, MAC and routes are {before}")
    last = view.only_guest.last_exit
    assert last is not None
    assert (last.reason, last.code, view.only_guest.restarts) == ("guest-exit", 0, 0)
    guest.exec("ping", "-c", "1", "-W", "3", guest.endpoint.gateway)


def test_detach_of_a_guest_restores_the_network(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    guest, before = before_takeover(containers)
    daemon = current_daemon.get({})
    guest.await_page()
    daemon.request("detach", guest.name)
    eventually(guest.is_untouched, "nothing of the attachment is left")
    assert network(guest.pid) == before
    assert qemus_of(guest.id) == []
    guest.exec("ping", "-c", "1", "-W", "3", guest.endpoint.gateway)


def test_guest_that_exited_cleanly_is_not_restarted(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(on_exit="keep")
    guest.trigger("/exit?code=0")
    vtapd.await_state(guest.name, "exited", deadline_s=PATIENCE_S)
    holds_for(lambda: not qemus_of(guest.id), "no QEMU is started", 1.5)
