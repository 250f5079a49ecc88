"""`vtapd console`: on a terminal and on a pipe, alone and with others, and what ends while it is open."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import COMMAND, Daemon, environment
from tests.harness.processes import status_of
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually

PATIENCE_S = 30.0
LEAVE = "\x1d"
MOST_GROWTH_KIB = 8 << 10


@pytest.fixture
def guest(vtapd: Daemon, containers: Containers) -> Container:
    guest = containers.serving_guest()
    vtapd.await_state(guest.name, "running")
    return guest


@pytest.fixture
def console(vtapd: Daemon, guest: Container) -> Iterator[Terminal]:
    with Terminal.of(vtapd, "console", guest.name) as terminal:
        assert terminal.shows("Ctrl-] leaves")
        yield terminal


def is_left(terminal: Terminal, status: int) -> None:
    """Assert that the command ended with this status and restored the terminal."""
    assert terminal.wait() == status
    assert terminal.attributes() == terminal.before


def test_type_see_and_leave(console: Terminal, guest: Container) -> None:
    assert console.attributes() != console.before, "the terminal does not send each key at once"
    console.type("Hiya\x03\r")
    assert console.shows("Hiya\x03\r\n"), "Ctrl-C was not sent to the guest"
    console.type(f"no{LEAVE}more")
    is_left(console, 0)
    assert console.shows("left the console")
    eventually(lambda: "Hiya" in guest.logs(), "the typed text is in docker logs")
    assert "more" not in guest.logs()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_signal_restores_the_terminal(console: Terminal, number: signal.Signals) -> None:
    console.signal(number)
    is_left(console, 128 + number)


def test_killed_daemon_ends_the_console_and_the_next_serves_it(
    vtapd: Daemon, console: Terminal, guest: Container
) -> None:
    qemu = guest.qemu()
    vtapd.kill()
    is_left(console, 1)
    assert console.shows("disconnected: the daemon has ended")
    vtapd.start()
    assert guest.qemu() == qemu
    with Terminal.of(vtapd, "console", guest.name) as again:
        assert again.shows("Ctrl-] leaves")
        again.type("adopted")
        assert again.shows("adopted")
        again.type(LEAVE)
        is_left(again, 0)


def test_stopping_daemon_ends_the_console(vtapd: Daemon, console: Terminal) -> None:
    vtapd.stop()
    is_left(console, 1)
    assert console.shows("vtapd ends; the guest runs on")
    vtapd.start()


def test_console_survives_a_restart_of_the_guest(console: Terminal, guest: Container) -> None:
    guest.trigger("/crash")
    assert console.shows("the guest ended (guest-reset); the next one starts in 0.")
    assert console.shows("the guest starts")
    guest.await_page()
    console.type("still here")
    assert console.shows("still here")
    console.type(LEAVE)
    is_left(console, 0)


def test_console_survives_stop_and_start_of_the_guest(vtapd: Daemon, console: Terminal, guest: Container) -> None:
    vtapd.command("stop", guest.name)
    assert console.shows("the guest ended (stopped)]")
    console.type("x")
    assert console.shows("what you typed is lost: no guest runs")
    vtapd.command("start", guest.name)
    guest.await_page()
    console.type("here again")
    assert console.shows("here again")


def test_end_of_the_container_ends_the_console(console: Terminal, guest: Container) -> None:
    guest.remove()
    is_left(console, 0)
    assert console.shows("the container has ended")


def test_first_console_writes_and_others_watch(vtapd: Daemon, console: Terminal, guest: Container) -> None:
    with (
        Terminal.of(vtapd, "console", guest.name) as second,
        Terminal.of(vtapd, "console", "--view", guest.name) as third,
    ):
        assert second.shows(f"process {console.process.pid} of user 0 writes already: you only watch")
        assert third.shows("Ctrl-] leaves")
        second.type("lost")
        third.type("lost")
        console.type("Hiya")
        for each in (console, second, third):
            assert each.shows("Hiya")
        assert "lost" not in guest.logs()
        console.type(LEAVE)
        is_left(console, 0)
        with Terminal.of(vtapd, "console", guest.name) as fourth:
            assert fourth.shows("Ctrl-] leaves")
            fourth.type("mine now")
            assert second.shows("mine now")
        for each in (second, third):
            each.type(LEAVE)
            is_left(each, 0)


def piped(vtapd: Daemon, guest: Container, typed: str, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [*COMMAND, "--socket", str(vtapd.control_socket), "console", guest.name, *args]
    return subprocess.run(
        argv, input=typed, capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False
    )


def test_piped_input_reaches_the_guest(vtapd: Daemon, guest: Container) -> None:
    """On a pipe Ctrl-] is an ordinary byte."""
    many = "".join(f"line {n}\n" for n in range(500))
    answer = piped(vtapd, guest, f"{many}{LEAVE}end\n", "--linger", "3")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"{many}{LEAVE}end\n"


def test_file_is_typed_until_the_output_is_closed(vtapd: Daemon, guest: Container, tmp_path: Path) -> None:
    """The reader of the output closes it after one line."""
    file = tmp_path / "typed"
    file.write_text("first\n" + "many more\n" * 2000)
    argv = shlex.join([*COMMAND, "--socket", str(vtapd.control_socket), "console", guest.name, "--linger", "60"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{argv} <{file} | (read line; echo $line)"],
        capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False,
    )  # fmt: skip
    assert done.stdout == "first\n"
    assert "Traceback" not in done.stderr


def test_pipe_cannot_write_while_another_console_does(vtapd: Daemon, console: Terminal, guest: Container) -> None:
    answer = piped(vtapd, guest, "text\n")
    assert answer.returncode == 1
    assert "nothing was sent" in answer.stderr
    assert console.process.poll() is None


def test_input_that_the_guest_does_not_read_is_dropped_with_a_message(vtapd: Daemon, guest: Container) -> None:
    """The message appears once, and the daemon does not wait."""
    guest.trigger("/hang")
    answer = piped(vtapd, guest, "x" * (2 << 20))
    assert (answer.returncode, answer.stdout) == (0, "")
    assert answer.stderr == "[vtapd: what you type is lost from here on: the guest does not read its console]\n"


def test_console_log_is_shown_escaped(vtapd: Daemon, guest: Container) -> None:
    guest.get("/echo-console?text=%1b]0;owned%07%0a")
    eventually(lambda: "owned" in guest.logs(), "the guest has printed it")
    shown = vtapd.command("console", "--log", guest.name).stdout
    assert "\\x1b]0;owned\\x07" in shown
    assert re.search(r"^hello: serving on [\d.]+:80$", shown, re.MULTILINE)
    assert all(line.isprintable() for line in shown.splitlines())
    shown_json = json.loads(vtapd.command("console", "--log", "--json", guest.name).stdout)
    assert (shown_json["name"], shown_json["writer"], "\x1b]0;owned\x07" in shown_json["said"]) == (
        guest.name,
        None,
        True,
    )


def test_slow_viewer_is_disconnected(vtapd: Daemon, guest: Container) -> None:
    """The guest prints on, the daemon keeps a bounded part, and the viewer gets the reason when it reads again."""
    with Terminal.of(vtapd, "console", "--view", guest.name) as slow:
        assert slow.shows("Ctrl-] leaves")
        os.kill(slow.process.pid, signal.SIGSTOP)
        before = int(status_of(vtapd.pid)["VmRSS"].split()[0])
        text = "x" * 900
        for n in range(1000):
            guest.get(f"/echo-console?text={n}{text}")
        assert int(status_of(vtapd.pid)["VmRSS"].split()[0]) < before + MOST_GROWTH_KIB
        os.kill(slow.process.pid, signal.SIGCONT)
        is_left(slow, 1)
        eventually(lambda: re.search(r"vtapd: (too slow|disconnected)", slow.text()), "the viewer shows the reason")
        assert len(slow.text()) < 1000 * len(text), "the viewer got everything"


def test_container_without_a_guest_is_refused(vtapd: Daemon, containers: Containers) -> None:
    plain = containers.run().await_attached()
    vtapd.await_state(plain.name, "attached")
    for name, words in ((plain.name, "no guest"), ("no-such-container", "vtapd ps")):
        answer = vtapd.command("console", name, check=False)
        assert answer.returncode == 1
        assert words in answer.stderr
