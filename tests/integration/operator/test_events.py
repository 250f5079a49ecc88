"""`vtapd events`: what the daemon logs, shown as it happens."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.processes import status_of
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually

MOST_FOLLOWERS = 32
MOST_GROWTH_KIB = 16 << 10


@pytest.fixture
def followed(vtapd: Daemon) -> Iterator[Terminal]:
    with Terminal.of(vtapd, "events", "--json") as terminal:
        wait_until_followed(vtapd, terminal)
        yield terminal


def wait_until_followed(vtapd: Daemon, terminal: Terminal) -> None:
    """Return when the daemon has read the request of `vtapd events`: no later event is missed."""
    wait_channel = Path(f"/proc/{terminal.process.pid}/wchan")
    eventually(lambda: followers(vtapd) and "poll" in wait_channel.read_text(), "the command waits for an answer")
    vtapd.ps()  # a request that comes later, and is answered later


def followers(vtapd: Daemon) -> int:
    """Count the connections to the control socket. They belong to the network namespace of the client."""
    sockets = Path("/proc/self/net/unix").read_text().splitlines()
    return len([line for line in sockets if line.endswith(f" {vtapd.control_socket}")])


def events_in(terminal: Terminal) -> list[dict[str, object]]:
    return [json.loads(line) for line in terminal.text().splitlines(keepends=True) if line.endswith("\n")]


def test_events_of_a_guests_life_are_shown(vtapd: Daemon, containers: Containers, followed: Terminal) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    vtapd.command("detach", guest.name)
    refused = containers.guest(memory="lots")
    expected = {
        guest.name: [
            *("container_attached", "guest_started", "guest_running"),
            *("guest_exited", "guest_started", "guest_exited", "container_detached"),
        ],
        refused.name: ["container_rejected"],
    }
    for name, those in expected.items():

        def are_shown(name: str = name, those: list[str] = those) -> bool:
            seen = iter([event["event"] for event in events_in(followed) if event["container"] == name])
            return all(any(event == each for event in seen) for each in those)

        eventually(are_shown, f"{name}: {those}")
    ends = [
        event for event in events_in(followed) if event["event"] == "guest_exited" and event["container"] == guest.name
    ]
    assert [end["reason"] for end in ends] == ["guest-reset", "stopped"]
    assert all(event["time"] for event in events_in(followed))


@pytest.mark.vtapd_config(log={"level": "error"})
def test_events_of_one_container_do_not_depend_on_the_log_level(vtapd: Daemon, containers: Containers) -> None:
    guest, other = containers.serving_guest(), containers.serving_guest()
    with Terminal.of(vtapd, "events", guest.id12) as terminal:
        wait_until_followed(vtapd, terminal)
        other.trigger("/crash")
        eventually(lambda: vtapd.metrics().restarts(other.name) == 1, "the other is restarted")
        guest.trigger("/crash")
        assert terminal.shows(f" container={guest.name} reason=guest-reset uptime_s=")
        assert "\x1b[33m\x1b[1mguest_exited\x1b[0m" in terminal.text(), "a crash is no warning, or has no colour"
        assert other.name not in terminal.text()
    assert "guest_exited" not in vtapd.log_file.read_text()


def test_past_events_are_shown_first(vtapd: Daemon, containers: Containers) -> None:
    guest, other = containers.serving_guest(), containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    with Terminal.of(vtapd, "events", "--json", "--since", "1h", guest.name) as terminal:
        assert terminal.shows("guest_exited")
        vtapd.command("stop", guest.name, other.name)
        assert terminal.shows('"stopped"')
        shown = events_in(terminal)
    assert {event["container"] for event in shown} == {guest.name}
    names = [event["event"] for event in shown]
    assert names[:2] == ["container_attached", "guest_started"], names
    assert names.count("guest_exited") == 2, "an event is shown twice"
    for event in shown:
        if event["event"] == "guest_exited":
            assert event["level"] == ("info" if event["reason"] == "stopped" else "warning")


@pytest.mark.parametrize("since", ["10", "x", "10m ago", "-1m", ""])
def test_wrong_duration_is_misuse(vtapd: Daemon, since: str) -> None:
    answer = vtapd.command("events", "--since", since, check=False)
    assert answer.returncode == 2
    assert "such as 90s" in answer.stderr


def test_end_of_the_daemon_ends_the_command(vtapd: Daemon, followed: Terminal) -> None:
    vtapd.stop()
    assert followed.wait() == 1
    assert followed.shows("the daemon has ended")
    vtapd.start()


def test_ctrl_c_is_no_failure(followed: Terminal) -> None:
    followed.type("\x03")
    assert followed.wait() == 0


def test_follower_that_does_not_read_costs_bounded_memory(vtapd: Daemon, containers: Containers) -> None:
    """The daemon does not wait for it."""
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        silent.connect(str(vtapd.control_socket))
        silent.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        guest = containers.serving_guest()
        before = int(status_of(vtapd.pid)["VmRSS"].split()[0])
        for _ in range(20):
            vtapd.command("restart", guest.name)
        assert int(status_of(vtapd.pid)["VmRSS"].split()[0]) < before + MOST_GROWTH_KIB


def test_number_of_followers_is_limited(vtapd: Daemon) -> None:
    """Other commands still get answers, and places become free again."""
    with ExitStack() as owned:
        for _ in range(MOST_FOLLOWERS):
            follower = owned.enter_context(closing(socket.socket(socket.AF_UNIX)))
            follower.connect(str(vtapd.control_socket))
            follower.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert follower.recv(64).startswith(b"HTTP/1.1 200")
        answer = vtapd.command("events", check=False)
        assert (answer.returncode, f"{MOST_FOLLOWERS} consoles" in answer.stderr) == (1, True)
        assert vtapd.command("ps").returncode == 0
    eventually(lambda: followers(vtapd) == 0, "places are free again", 30.0)


def test_unknown_container_is_refused(vtapd: Daemon) -> None:
    answer = vtapd.command("events", "missing", check=False)
    assert answer.returncode == 1
    assert "vtapd ps" in answer.stderr
