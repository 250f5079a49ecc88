"""`docker run -it` and `docker attach`: a person's terminal is the guest's console, as it is any process's."""

import os
import signal

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.docker_command import (
    DETACH,
    KERNEL,
    await_run,
    docker,
    guest_with,
    is_raw,
    on_terminal,
    run_words,
    settings,
)
from tests.harness.machine import Machine
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually
from tests.images.container import make_init

LINUX_S = 60.0
LEAVE = "\x1d"


def test_run_on_a_terminal_is_the_guests_console(vtapd: Daemon, machine: Machine) -> None:
    """The guest's exit ends it, with the guest's status, and leaves the person's terminal as it was."""
    with docker(machine, *run_words(machine, "kek-tty", "-it")) as terminal:
        guest = await_run(machine, "kek-tty")
        terminal.type("Hiya\r")
        assert terminal.shows("Hiya\r\n")
        guest.trigger("/exit?code=7")
        assert terminal.wait() == 7
        assert terminal.shows("\r\nvtapd: guest-exit 7")
        assert terminal.text().endswith("\r\n")
        assert terminal.attributes() == terminal.before


def test_each_key_reaches_the_guest_and_is_shown_once(vtapd: Daemon, containers: Containers) -> None:
    """Ctrl-C, Ctrl-D, Ctrl-S, Ctrl-Z and Ctrl-\\ are the guest's; Ctrl-P Ctrl-Q is Docker's, and detaches."""
    guest = guest_with(containers, "-it")
    with on_terminal(guest) as (terminal, guest):
        terminal.type("one\r")
        assert terminal.shows("one\r\n")
        terminal.type("two\x03\x04\x13\x1a\x1cthree\r")
        assert terminal.shows("one\r\ntwo\x03\x04\x13\x1a\x1cthree\r\n")
        terminal.type(DETACH)
        assert terminal.wait() == 0
        assert terminal.attributes() == terminal.before
    assert guest.is_running()
    with docker(guest.machine, "attach", guest.name) as again:
        again.type("again\r")
        assert again.shows("again\r\n")
        again.type(DETACH)
        again.wait()  # its status is Docker's business
    assert [guest.logs().count(word) for word in ("one", "three", "again")] == [1, 1, 1]
    assert vtapd.metrics().exits(guest.name) == 0


def test_input_survives_restarts_of_the_daemon(vtapd: Daemon, containers: Containers) -> None:
    """What is typed while no daemon runs waits; detaching and output need none."""
    guest = guest_with(containers, "-it")
    with on_terminal(guest) as (terminal, guest):
        for end in (vtapd.kill, vtapd.stop):
            end()
            assert is_raw(guest), "nothing is echoed twice meanwhile"
            terminal.type("waits\r")
            vtapd.start()
            assert terminal.shows("waits\r\n")
            terminal.type("on\r")
            assert terminal.shows("waits\r\non\r\n")
        vtapd.kill()
        terminal.type(DETACH)
        assert terminal.wait() == 0
        vtapd.start()


@pytest.mark.parametrize("meanwhile", ["running", "killed"])
def test_terminal_is_restored_when_the_guest_ends(vtapd: Daemon, containers: Containers, meanwhile: str) -> None:
    """Every setting is as before, also if the guest ended while no daemon ran. Then Ctrl-C ends the container."""
    guest = guest_with(containers, "-it", on_exit="keep", restart="no")
    vtapd.kill()
    with docker(guest.machine, "start", "-ai", guest.name) as terminal:
        eventually(lambda: guest.restarted().is_running(), "the container runs")
        before = settings(guest)
        assert not is_raw(guest)
        vtapd.start()
        guest.await_page()
        assert settings(guest) != before
        if meanwhile == "killed":
            vtapd.kill()
        guest.trigger("/poweroff" if meanwhile == "killed" else "/exit?code=0")
        if meanwhile == "killed":
            vtapd.start()
        vtapd.await_state(guest.name, "exited", "failed")
        assert settings(guest) == before
        vtapd.request("start", guest.name)
        eventually(lambda: is_raw(guest), "the next guest has the terminal")
        vtapd.request("stop", guest.name)
        assert settings(guest) == before
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_detached_container_has_its_terminal_back(vtapd: Daemon, containers: Containers) -> None:
    guest = guest_with(containers, "-it")
    with on_terminal(guest) as (_, guest):
        vtapd.request("detach", guest.name)
        assert not is_raw(guest)


def test_one_writer_at_a_time_with_vtapd_console(vtapd: Daemon, containers: Containers) -> None:
    """`vtapd console` writes and the terminal watches, until the console leaves."""
    guest = guest_with(containers, "-it")
    with on_terminal(guest) as (terminal, guest):
        with (
            Terminal.of(vtapd, "console", guest.name) as console,
            Terminal.of(vtapd, "console", "--view", guest.name) as viewer,
        ):
            assert console.shows("Ctrl-] leaves")
            assert viewer.shows("Ctrl-] leaves")
            console.type("theirs\r")
            assert terminal.shows("theirs\r\n")
            terminal.type("lost")
            assert terminal.shows(f"[vtapd: process {console.process.pid} of user 0 writes to the console")
            console.type(LEAVE)
            assert console.wait() == 0
            terminal.type("mine\r")
            assert viewer.shows("mine\r\n")
        assert terminal.shows("mine\r\n")
        assert "lost\r" not in guest.logs()


def test_hung_daemon_does_not_keep_a_container_from_ending(vtapd: Daemon, containers: Containers) -> None:
    guest = guest_with(containers, "-it")
    with on_terminal(guest) as (terminal, guest):
        os.kill(vtapd.pid, signal.SIGSTOP)
        try:
            guest.machine.docker("kill", guest.id)
            assert terminal.wait() == 137
        finally:
            os.kill(vtapd.pid, signal.SIGCONT)


def test_input_of_another_init_is_left_to_it(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """A shell reads its own terminal; the guest's console is in its output, and `vtapd console` writes to it."""
    guest = containers.create("-it", labels=KERNEL, command=("sh",))
    with docker(machine, "start", "-ai", guest.name) as terminal:
        assert terminal.shows("hello: serving on")
        guest.await_page()
        before = settings(guest)
        terminal.type("echo $((6 * 7))\r")
        assert terminal.shows("\r\n42\r\n")
        with Terminal.of(vtapd, "console", guest.name) as console:
            assert console.shows("Ctrl-] leaves")
            console.type("to the guest\r")
            assert terminal.shows("to the guest\r")
        assert settings(guest) == before


@pytest.mark.timeout(150)
def test_linux_on_a_terminal(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """Its own terminal driver echoes and makes a SIGINT of Ctrl-C. Its user sets its size."""
    options = ("-it", "--entrypoint", "/vtapd-init", "-v", f"{make_init()}:/vtapd-init:ro")
    labels = {"vtapd.kernel-args": "shell"}
    created = containers.create(*options, image=machine.linux_image, labels=labels)
    with docker(machine, "start", "-ai", created.name) as terminal:
        assert terminal.shows("linux-guest: serving on port 80", LINUX_S)
        assert terminal.shows("/ # ", LINUX_S)
        terminal.type("echo $((6 * 7))\r")
        assert terminal.shows("\r\n42\r\n", LINUX_S)
        # The shell has given the terminal to what prints this. The kernel may print on the same line.
        terminal.type("sh -c 'echo cat $((6 * 9)); exec cat'\r")
        assert terminal.shows("cat 54", LINUX_S)
        terminal.type("\x03")
        assert terminal.shows("^C", LINUX_S)
        terminal.type("stty rows 40 cols 100; stty size\r")
        assert terminal.shows("40 100\r\n", LINUX_S)
        assert created.is_running()
