"""`vtapd screen` without -o: the guest's screen in a terminal, and keys to the guest."""

import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine, built
from tests.harness.processes import open_files, run
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually

LEAVE = "\x1d"
ALTERNATE_SCREEN, MAIN_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
MOVE = re.compile(r"\x1b\[(\d+);1H")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PURPLE = re.compile(r"48;2;247;7[01];255m")
IPXE_SHELL = "#!ipxe\nshell\n"


def lines_of(terminal: Terminal) -> list[str]:
    """Return what is on the terminal, from all that was written to it line by line."""
    shown: dict[int, str] = {}
    _, *moves = MOVE.split(terminal.text().rpartition("\x1b[2J")[2])
    for number, text in zip(moves[::2], moves[1::2], strict=True):
        shown[int(number)] = CONTROL.sub("", text).rstrip()
    return [shown.get(number, "") for number in range(1, max(shown, default=0) + 1)]


def shows(terminal: Terminal, words: str) -> bool:
    lines = lines_of(terminal)
    assert any(words in line for line in lines), "\n".join(lines)
    return True


def await_shown(terminal: Terminal, words: str, deadline_s: float = 15.0) -> None:
    eventually(partial(shows, terminal, words), f"the screen shows {words!r}", deadline_s)


def is_left(terminal: Terminal, status: int) -> None:
    """Assert that the command ended with this status and restored the terminal."""
    assert terminal.wait() == status
    assert terminal.attributes() == terminal.before
    assert terminal.shows(MAIN_SCREEN)


@pytest.fixture
def guest(vtapd: Daemon, containers: Containers) -> Container:
    guest = containers.serving_guest(screen="true")
    vtapd.await_state(guest.name, "running")
    return guest


@pytest.fixture
def screen(vtapd: Daemon, guest: Container) -> Iterator[Terminal]:
    with opened(vtapd, guest.name) as terminal:
        await_shown(terminal, guest.address)
        yield terminal


def opened(vtapd: Daemon, *words: str) -> Terminal:
    terminal = Terminal.of(vtapd, "screen", *words, COLORTERM="truecolor")
    terminal.resize(30, 100)
    return terminal


def test_greeting_is_shown_with_its_colours(vtapd: Daemon, guest: Container, screen: Terminal) -> None:
    assert ALTERNATE_SCREEN in screen.text()
    lines = lines_of(screen)
    assert len(lines) == 26, "25 lines of the guest, and one of vtapd"
    assert lines[25] == f"[{guest.name}: keys go to the guest; Ctrl-] leaves]"
    assert PURPLE.search(screen.text())
    assert "▄" in screen.text(), "large letters are made of half blocks"
    screen.type(LEAVE)
    is_left(screen, 0)


def test_screen_is_live(guest: Container, screen: Terminal) -> None:
    """A Rumprun guest with a VGA card prints its console there."""
    guest.trigger("/echo-console?text=Hiya%20%1b%5b2J%20%07%0a")
    await_shown(screen, "Hiya ←[2J •")
    assert "\x1b[2J •" not in screen.text()
    guest.trigger("/lines?n=60")
    await_shown(screen, "line 60 of 60")
    assert not any("line 20 of 60" in line for line in lines_of(screen)), "it has scrolled"


def test_text_is_printed_once_without_a_terminal(vtapd: Daemon, guest: Container) -> None:
    guest.trigger("/echo-console?text=panic%0a")
    eventually(lambda: "panic" in vtapd.command("screen", guest.name).stdout, "the text is printed")
    assert "\x1b" not in vtapd.command("screen", guest.name).stdout


def test_screen_outlives_the_guest(vtapd: Daemon, guest: Container, screen: Terminal) -> None:
    vtapd.command("stop", guest.name)
    await_shown(screen, "no guest runs (exited)")
    screen.type("x")
    vtapd.command("start", guest.name)
    await_shown(screen, "keys go to the guest")
    await_shown(screen, guest.address)
    guest.remove()
    is_left(screen, 0)
    assert screen.shows("the container has ended")


def test_killed_daemon_ends_the_screen_and_the_next_serves_it(
    vtapd: Daemon, guest: Container, screen: Terminal
) -> None:
    vtapd.kill()
    is_left(screen, 1)
    assert screen.shows("disconnected: the daemon has ended")
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    with opened(vtapd, guest.name) as again:
        await_shown(again, guest.address)
        again.type(LEAVE)
        is_left(again, 0)


def test_smaller_terminal_shows_a_part(screen: Terminal) -> None:
    screen.resize(10, 40)
    eventually(lambda: len(lines_of(screen)) == 10, "it is drawn again")
    assert max(map(len, lines_of(screen))) <= 40
    screen.resize(30, 100)
    eventually(lambda: len(lines_of(screen)) == 26, "all of it is drawn")


def test_graphics_mode_offers_a_picture(vtapd: Daemon, guest: Container, screen: Terminal) -> None:
    guest.trigger("/graphics")
    await_shown(screen, "640x480")
    await_shown(screen, f"vtapd screen {guest.name} -o {guest.name}.png")
    refused = vtapd.command("screen", guest.name, check=False)
    assert refused.returncode == 1
    assert "graphics mode" in refused.stderr


def test_viewers_leave_no_file_open(vtapd: Daemon, guest: Container) -> None:
    """They leave at any moment, also while QEMU draws into a file that it was just given."""
    before = pictures_of(vtapd, guest)
    for _ in range(3):
        with opened(vtapd, guest.name) as first, opened(vtapd, "--view", guest.name) as second:
            for each in (first, second):
                await_shown(each, guest.address)
            for each in (first, second):
                each.type(LEAVE)
                is_left(each, 0)
    eventually(lambda: pictures_of(vtapd, guest) == before == 0, "all files are closed")


def pictures_of(vtapd: Daemon, guest: Container) -> int:
    """Return how many files of pictures the daemon and QEMU have open."""
    files = [*open_files(vtapd.pid).values(), *open_files(guest.qemu()).values()]
    return sum("memfd:screen" in path for path in files)


def test_container_without_a_screen_is_refused(vtapd: Daemon, containers: Containers) -> None:
    without = containers.serving_guest()
    for name, words in ((without.name, "label vtapd.screen=true"), ("no-such-container", "vtapd ps")):
        with opened(vtapd, name) as terminal:
            assert terminal.wait() == 1
            assert terminal.shows(words)
            assert ALTERNATE_SCREEN not in terminal.text()
        answer = vtapd.command("screen", name, check=False)
        assert answer.returncode == 1
        assert words in answer.stderr


@pytest.mark.parametrize("words", [("--json",), ("--view", "-o", "x.png")])
def test_options_that_need_others_are_misuse(vtapd: Daemon, words: tuple[str, ...]) -> None:
    assert vtapd.command("screen", "web", *words, check=False).returncode == 2


@pytest.fixture
def ipxe(vtapd: Daemon, machine: Machine, containers: Containers) -> Container:
    """A real program that reads the keyboard, and whose cursor blinks: iPXE's shell."""
    labels = {"kernel": "/ipxe.lkrn", "initrd": "/script", "memory": "80M", "address": "none", "screen": "true"}
    ipxe = containers.create(labels={f"vtapd.{name}": value for name, value in labels.items()})
    (kernel,) = built("ipxe")
    for path, content in (("/ipxe.lkrn", kernel.read_bytes()), ("/script", IPXE_SHELL.encode())):
        machine.put(content, ipxe.id, path)
    ipxe.start()
    vtapd.await_state(ipxe.name, "running")
    return ipxe


def test_keys_go_to_the_guest(vtapd: Daemon, ipxe: Container) -> None:
    with opened(vtapd, ipxe.name) as terminal, opened(vtapd, "--view", ipxe.name) as viewer:
        await_shown(terminal, "iPXE>", 40.0)
        await_shown(viewer, "iPXE>")
        viewer.type("echo unwanted\r")
        terminal.type("echo Hiyaa\x7f, Gump! ~/_${buildarch}\r")
        await_shown(terminal, "Hiya, Gump! ~/_i386", 30.0)
        await_shown(viewer, "Hiya, Gump! ~/_i386")
        assert "unwanted" not in viewer.text()
        eventually(lambda: re.search(r"\x1b\[\d+;7H\x1b\[\?25h", terminal.text()), "the cursor is after the prompt")
        terminal.type("\x1b[A")  # the line before, from the shell's history
        await_shown(terminal, "iPXE> echo Hiya, Gump! ~/_${buildarch}")
        terminal.type(LEAVE)
        is_left(terminal, 0)


def test_signal_restores_the_terminal(screen: Terminal) -> None:
    run(["kill", "-TERM", str(screen.process.pid)])
    is_left(screen, 128 + 15)
