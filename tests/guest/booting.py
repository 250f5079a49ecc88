"""Starts the test guest under QEMU for its own tests, and asks it over HTTP by a port on loopback."""

import http.client
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent
KERNEL = SOURCE.parent.parent / "build/guest/hello.bin"
DEADLINE_S = 10.0
FLAGS = "-M pc -accel tcg -nodefaults -no-user-config -display none -vga none -m 8 -no-reboot -serial stdio"
NET = '{"if":"vioif0","type":"inet","method":"static","addr":"10.0.2.15","mask":"24","gw":"10.0.2.2"}'
CONFIG = f'{{"cmdline": "web a b", "env": "K=V", "env": "SPACE=a b", "net": {NET}}}'


def wait_until(true: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Guest:
    process: subprocess.Popen[bytes]
    console_file: Path
    port: int

    def console(self) -> str:
        return self.console_file.read_bytes().decode("latin-1").replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.console(), lambda: f"no {text!r} in {self.console()!r}")

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> bytes:
        status, body = self.request("GET", path)
        assert status == 200, (path, status, body)
        return body


@contextmanager
def booted(directory: Path, *more: str, nic: str = "romfile=", netdev: str = "") -> Iterator[Guest]:
    """A guest with `more` arguments; it is killed at the end, by its handle."""
    port, console = free_port(), directory / "console"
    net = (
        "-netdev",
        netdev or f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:80",
        "-device",
        f"virtio-net-pci,netdev=n,{nic}",
    )
    flags = shlex.split(FLAGS)
    with console.open("wb") as out:
        process = subprocess.Popen(
            ["qemu-system-x86_64", *flags, "-kernel", str(KERNEL), *net, *more],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Guest(process, console, port)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
