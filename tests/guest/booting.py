"""Starts the test guest under QEMU for its own tests, and requests its pages through a port on loopback."""

import http.client
import json
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent
BUILT = SOURCE.parent.parent / "build/guest"
DEADLINE_S = 10.0
COLUMNS, ROWS, SCREEN_AT = 80, 25, 0xB8000
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
    qmp: Path

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

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads(self.get("/info"))
        return info

    def screen(self) -> list[tuple[str, set[int]]]:
        """Return each row of the VGA text screen: its text, and the colours of its cells."""
        saved = self.qmp.with_name("screen")
        with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rw") as lines:
            monitor.connect(str(self.qmp))
            size = COLUMNS * ROWS * 2
            where = {"val": SCREEN_AT, "size": size, "filename": str(saved)}
            for command in ({"execute": "qmp_capabilities"}, {"execute": "pmemsave", "arguments": where}):
                lines.write(json.dumps(command))
                lines.flush()
                while '"return"' not in (answer := lines.readline()):
                    assert '"error"' not in answer, answer
        cells = saved.read_bytes()
        rows = [cells[at : at + COLUMNS * 2] for at in range(0, size, COLUMNS * 2)]
        return [(row[::2].decode("cp437").rstrip(), set(row[1::2])) for row in rows]


@contextmanager
def booted(
    directory: Path, *more: str, image: str = "hello.bin", nic: str = "romfile=", netdev: str = ""
) -> Iterator[Guest]:
    """Run a guest with `more` arguments, from a disk if there is no image; kill it at the end."""
    port, console, qmp = free_port(), directory / "console", directory / "qmp"
    net = (
        "-netdev",
        netdev or f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:80",
        "-device",
        f"virtio-net-pci,netdev=n,{nic}",
    )
    flags = (*shlex.split(FLAGS), "-qmp", f"unix:{qmp},server=on,wait=off")
    with console.open("wb") as out:
        process = subprocess.Popen(
            ["qemu-system-x86_64", *flags, *(("-kernel", str(BUILT / image)) if image else ()), *net, *more],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Guest(process, console, port, qmp)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
