"""`vtapd logs`: the end of a guest's console, and what it prints from then on."""

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually

INIT = {"vtapd.kernel": "/hello.bin", "vtapd.memory": "16M", "vtapd.restart": "no"}


def test_end_of_the_console_is_printed(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    printed = vtapd.command("logs", guest.name).stdout
    assert f"hello: serving on {guest.address}:80" in printed
    assert printed == vtapd.command("console", "--log", guest.name).stdout.removesuffix("\n")
    *_, last = printed.splitlines()
    assert vtapd.command("logs", "-n", "1", guest.name).stdout.strip() == last


def test_output_is_followed_until_the_container_ends(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.run(image=containers.machine.init_image, labels=INIT)
    guest.await_page()
    with Terminal.of(vtapd, "logs", "-f", guest.name) as terminal:
        assert terminal.shows("hello: serving on")
        guest.trigger("/exit?code=7")
        assert terminal.shows("=== ERROR: _exit(7) called ===")
        assert terminal.wait() == 0
        assert "vtapd: the guest ended (guest-exit 7); none follows" in terminal.text()
        assert "vtapd: the container has ended" in terminal.text()
        assert terminal.text().count("hello: serving on") == 1
    eventually(lambda: "guest-exit 7" in vtapd.command("logs", guest.name).stdout, "its log is still printed")
    with Terminal.of(vtapd, "logs", "-f", guest.name) as terminal:
        assert terminal.shows("vtapd: guest-exit 7")
        assert terminal.wait() == 0


def test_end_of_the_daemon_and_ctrl_c_end_the_command(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    with Terminal.of(vtapd, "logs", "-f", guest.name) as terminal:
        assert terminal.shows("hello: serving on")
        terminal.type("\x03")
        assert terminal.wait() == 0
    with Terminal.of(vtapd, "logs", "-f", guest.name) as terminal:
        assert terminal.shows("hello: serving on")
        vtapd.stop()
        assert terminal.wait() == 1
        assert "the guest runs on" in terminal.text()
    vtapd.start()


@pytest.mark.parametrize("tty", [(), ("-t",)])
def test_what_was_printed_before_the_daemon_started_is_known(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, tty: tuple[str, ...]
) -> None:
    """Also while the guest prints: each line is there once."""
    daemon = current_daemon.get({})
    guest = containers.guest(*tty)
    guest.await_page()
    before = daemon.command("logs", guest.name).stdout
    daemon.kill()
    daemon.start()
    eventually(lambda: daemon.command("logs", guest.name).stdout == before, "the new daemon knows the console's end")


def test_container_without_a_guest_has_no_console(vtapd: Daemon, containers: Containers) -> None:
    plain = containers.run().await_attached()
    for words in ((), ("-f",)):
        answer = vtapd.command("logs", *words, plain.name, check=False)
        assert answer.returncode == 1
        assert "docker logs" in answer.stderr
