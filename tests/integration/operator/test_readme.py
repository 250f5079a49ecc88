"""Type the commands of README.md and vtapd-tutorial(7), in order, on a machine that has only what they ask for."""

import os
import shlex
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.compose import compose_program
from tests.harness.daemon import Daemon
from tests.harness.machine import REPOSITORY, Machine, built
from tests.harness.readme import PAGES, Command, Session, all_sessions, missing_lines
from tests.harness.waiting import eventually
from tests.images.container import make_init

GUEST = REPOSITORY / "build" / "guest" / "hello.bin"
SESSIONS = all_sessions()
FIRST = "tutorial-walk"
PICTURE = REPOSITORY / "tests" / "guest" / "screen.png"
LOOKING = ("curl", "docker exec", "docker logs", "ip", "vtapd inspect", "vtapd ps")
"""Commands that change nothing: they are repeated until they print what the page says, as a reader would do."""
COMMAND_S = 60.0


@pytest.fixture
def shell(machine: Machine, vtapd: Daemon, tmp_path: Path) -> Iterator["ReaderShell"]:
    machine.docker("tag", machine.image, "busybox")  # there is no registry here
    images = set(machine.docker("images", "-q").split())
    yield ReaderShell(machine, vtapd, tmp_path)
    machine.remove(*machine.docker("ps", "-aq").split())
    networks = machine.docker("network", "ls", "-q", "-f", "type=custom").split()
    if networks:
        machine.docker("network", "rm", *networks)
    if made := set(machine.docker("images", "-q").split()) - images:
        machine.docker("rmi", "-f", *made)


class ReaderShell:
    """A reader's place: root's shell on the machine, in the folder with their files."""

    def __init__(self, machine: Machine, vtapd: Daemon, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        words = (sys.executable, "-m", "supervisor", "--socket", str(vtapd.control_socket))
        self.programs = folder / "bin"
        self.programs.mkdir()
        build = shlex.join((*words, "build", "--init", str(make_init())))  # `make install` has it in a place of its own
        self.provide("vtapd", f'[ "$1" != build ] || {{ shift; exec {build} "$@"; }}\nexec {shlex.join(words)} "$@"')
        docker = shutil.which("docker")
        assert docker, "`make test` installs it"
        if compose_program() == ("docker-compose",):
            self.provide("docker", f'[ "$1" != compose ] || {{ shift; exec docker-compose "$@"; }}\nexec {docker} "$@"')
        self.env = {
            "PATH": f"{self.programs}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8",
            "DOCKER_HOST": machine.docker_host, "DOCKER_BUILDKIT": "0", "COLUMNS": "160", "HOME": str(folder),
        }  # fmt: skip

    def provide(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def prepare(self, session: Session) -> None:
        """Write the files that the session names, and provide the test guest and, if named, a distribution's kernel."""
        for file, content in session.files.items():
            (self.folder / file).write_text(content)
        if any("kernel/boot/" in command.line for command in session.commands):
            (kernel,) = built("linux-installed")
            (self.folder / "kernel").symlink_to(kernel.parents[1])
        if any("initrd.img" in command.line for command in session.commands):
            for source, name in zip(built("linux-distribution"), ("vmlinuz", "initrd.img"), strict=True):
                shutil.copy(source, self.folder / name)
        shutil.copy(GUEST, self.folder)

    def type(self, line: str) -> str:
        """Run one command in bash and return what it printed. Raises AssertionError if it fails."""
        done = subprocess.run(
            [*self.machine.dockerd.entered(), "bash", "-c", line],
            cwd=self.folder, env=self.env, pass_fds=(self.machine.namespace.fd,),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=COMMAND_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"# {line}\nexit {done.returncode}\n{done.stdout}"
        return done.stdout

    def follow(self, command: Command) -> None:
        def typed() -> bool:
            output = self.type(command.line)
            missing = missing_lines(command, output)
            assert not missing, f"# {command.line}\nmust print\n{missing}\nand printed\n{output}"
            return True

        if command.line.startswith(LOOKING):
            eventually(typed, command.line, COMMAND_S)
        else:
            typed()


def pixels(png: bytes) -> bytes:
    """Return the pixels of a picture whose data is one chunk, however it is compressed."""
    length, kind = struct.unpack_from(">I4s", png, 33)
    assert kind == b"IDAT"
    return zlib.decompress(png[41 : 41 + length])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SESSIONS)
def test_commands_print_what_the_page_shows(shell: ReaderShell, name: str) -> None:
    """Sessions with the image `hello` start with it, as the first one builds it."""
    session = SESSIONS[name]
    if name != FIRST and session.names_image("hello"):
        shell.prepare(SESSIONS[FIRST])
        shell.type(SESSIONS[FIRST].commands[0].line)
    shell.prepare(session)
    for command in session.commands:
        shell.follow(command)
    if name == FIRST:
        shown, taken = (pixels(path.read_bytes()) for path in (PICTURE, shell.folder / PICTURE.name))
        assert taken == shown, f"{PICTURE} shows another picture"


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_marked_commands(page: str) -> None:
    assert [name for name in SESSIONS if name.startswith(f"{page}-")]
    assert shutil.which("curl"), "`make test` installs it"


def test_missing_lines_are_reported() -> None:
    command = Command("vtapd ps", ("NAME  UPTIME", "…", "web   2.1s", "db   2.1s"))
    assert missing_lines(command, "NAME UPTIME\nother 1s\nweb 12.25s\n") == ["db 0s"]
    assert missing_lines(command, "web 2s\nNAME UPTIME\ndb 1s\n") == ["web 0s", "db 0s"]
