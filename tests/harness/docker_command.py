"""The docker command in the foreground, with and without a terminal, and the guest that it types to."""

import os
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any  # what termios.tcgetattr gives

from .containers import Container, Containers
from .machine import Machine
from .terminal import PATIENCE_S, Terminal
from .waiting import eventually

KERNEL = {"vtapd.kernel": "/hello.bin", "vtapd.memory": "16M"}
DETACH = "\x10\x11"
"""Ctrl-P Ctrl-Q"""


def guest_with(containers: Containers, *options: str, **labels: str) -> Container:
    """Create the test guest in an image whose entrypoint is vtapd-init. It does not run yet."""
    asked = KERNEL | {f"vtapd.{key.replace('_', '-')}": value for key, value in labels.items()}
    return containers.create(*options, image=containers.machine.init_image, labels=asked)


@contextmanager
def docker(machine: Machine, *words: str) -> Iterator[Terminal]:
    """Run the docker command on a terminal of its own, as a person does, and wait until it reads each key."""
    with Terminal(["docker", *words], machine.dockerd.client_env()) as terminal:
        eventually(lambda: terminal.attributes() != terminal.before, "docker reads the terminal", PATIENCE_S)
        yield terminal


@contextmanager
def on_terminal(created: Container) -> Iterator[tuple[Terminal, Container]]:
    """Start a container with a terminal, and wait until its guest has it."""
    with docker(created.machine, "start", "-ai", created.name) as terminal:
        guest = await_guest(created)
        eventually(lambda: is_raw(guest), "its terminal is the guest's")
        yield terminal, guest


@contextmanager
def docker_on_pipe(machine: Machine, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run the docker command without a terminal."""
    command = subprocess.Popen(
        ["env", "--default-signal=INT,QUIT", "docker", *words],
        env=machine.dockerd.client_env(), text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield command
    finally:
        command.kill()
        command.wait(PATIENCE_S)
        with suppress(BrokenPipeError):
            command.stdin.close()  # type: ignore[union-attr]  # it is a pipe


@contextmanager
def on_pipe(created: Container) -> Iterator[tuple[subprocess.Popen[str], Container]]:
    """Start a container without a terminal, and wait until its guest listens."""
    with docker_on_pipe(created.machine, "start", "-ai", created.name) as command:
        yield command, await_guest(created)


def run_words(machine: Machine, name: str, *options: str) -> list[str]:
    """Return the words of a `docker run` in the foreground, after which nothing is left."""
    labels = [
        word for key, value in (KERNEL | {"vtapd.restart": "no"}).items() for word in ("--label", f"{key}={value}")
    ]
    return ["run", *options, "--rm", "--name", name, *labels, machine.init_image]


def await_run(machine: Machine, name: str) -> Container:
    """Wait until the guest of a `docker run` in the foreground listens."""
    found = eventually(lambda: machine.docker("ps", "-q", "--no-trunc", "--filter", f"name={name}"), "it runs")
    machine.container_ids.add(found)
    return await_guest(Container(machine, found, name))


def await_guest(created: Container) -> Container:
    """Wait until the guest of a container that is about to start listens."""
    eventually(lambda: created.is_running() and created.restarted().address, "it runs")
    guest = created.restarted()
    guest.await_page()
    return guest


def settings(container: Container) -> list[Any]:
    """Return how the container's terminal is set."""
    terminal = os.open(f"/proc/{container.pid}/fd/0", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return termios.tcgetattr(terminal)
    finally:
        os.close(terminal)


def is_raw(container: Container) -> bool:
    return not settings(container)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
