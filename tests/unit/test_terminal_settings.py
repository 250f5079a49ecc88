"""A terminal's settings: raw while a guest has it, and exactly as before afterwards. On real pseudoterminals."""

import os
import pty
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.core.container import Pid
from supervisor.core.formats.terminal import make_raw
from supervisor.edges.kernel.standard_input import StandardInput, open_input

KEYS = b"a\rb\n\x03\x04\x11\x13\x1a\x1c\x7f\xff"
IFLAG, LFLAG = 0, 3


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """Return the two ends of a new pseudoterminal: a person's, and the program's."""
    near, far = pty.openpty()
    os.set_blocking(near, False)
    os.set_blocking(far, False)
    yield near, far
    os.close(near)
    os.close(far)


def test_raw_terminal_passes_on_each_key_and_echoes_none(ends: tuple[int, int]) -> None:
    near, far = ends
    terminal = StandardInput(os.dup(far))
    attributes = termios.tcgetattr(far)
    attributes[IFLAG] |= termios.IGNBRK | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
    attributes[LFLAG] |= termios.ECHONL
    attributes[6][termios.VERASE] = b"\x08"
    termios.tcsetattr(far, termios.TCSANOW, attributes)
    before = terminal.settings()
    assert before is not None
    terminal.change_settings(make_raw(before))
    os.write(near, KEYS)
    os.write(far, b"said\n")
    assert terminal.read() == KEYS
    assert os.read(near, 64) == b"said\n"
    assert terminal.read() is None
    terminal.change_settings(before)
    assert terminal.settings() == before
    assert termios.tcgetattr(far) == attributes
    terminal.close()


def test_pipe_has_no_settings() -> None:
    read, write = os.pipe()
    pipe = StandardInput(read)
    os.write(write, b"typed")
    os.close(write)
    assert not pipe.is_terminal
    assert pipe.settings() is None
    pipe.change_settings(bytes(36))
    assert pipe.read() == b"typed"
    assert pipe.read() == b""
    pipe.close()


def test_terminal_whose_other_end_was_closed_is_at_its_end() -> None:
    near, far = pty.openpty()
    terminal = StandardInput(far)
    assert terminal.settings() is not None
    os.close(near)
    assert terminal.read() == b""
    assert terminal.settings() is None
    terminal.close()


def test_only_a_pipe_or_a_terminal_is_opened(tmp_path: Path) -> None:
    """The process chooses what its standard input is."""
    file = tmp_path / "file"
    file.touch()
    for path in (Path("/dev/null"), file):
        with path.open() as stdin, subprocess.Popen(["sleep", "60"], stdin=stdin) as process:
            assert open_input(Pid(process.pid)) is None
            process.kill()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        pipe = open_input(Pid(process.pid))
        assert pipe is not None
        assert pipe.read() is None
        pipe.close()


def test_process_that_has_gone_has_no_standard_input() -> None:
    assert open_input(Pid(2**22 + 1)) is None
