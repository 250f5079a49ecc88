"""The daemon of the demo: `vtapd run` started as systemd would start it, and used as its users use it."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any  # what `vtapd --json` prints

from prometheus_client.parser import text_string_to_metric_families

from tests.images.container import make_init

from .leftovers import RUN_DIR, Leftovers
from .terminal import DemoError, run
from .web import get, port_is_free

VTAPD = Path(sys.executable).with_name("vtapd")
READY_S = 20.0
METRICS_PORT = 9817

CONFIG = """\
[docker]
host = "{docker_host}"

[attach]
containers = "labelled"  # only the demo's own container
run_dir = "{run_dir}"

[metrics]
listen = "127.0.0.1:{port}"

[log]
format = "json"
"""


class Vtapd:
    """Started by `start`, and ended by the leftovers."""

    def __init__(self, made: Leftovers) -> None:
        self._made = made
        self.config = Path(made.home) / "vtapd.toml"
        self.log = Path(made.home) / "vtapd.log"
        self.port = METRICS_PORT if port_is_free(METRICS_PORT, "127.0.0.1") else _any_port()
        self.config.write_text(CONFIG.format(docker_host=made.docker_host, run_dir=RUN_DIR, port=self.port))

    def start(self) -> float:
        """Start it, and return the seconds until READY=1 (man 3 sd_notify)."""
        began = time.monotonic()
        notify = Path(self._made.home) / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, self.log.open("wb") as log:
            listener.bind(str(notify))
            listener.settimeout(0.1)
            process = subprocess.Popen(
                [VTAPD, "run", "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._made.docker_env() | {"NOTIFY_SOCKET": str(notify)},
            )
            self._made.note_process("vtapd", process.pid)
            while not _is_ready(listener):
                if process.poll() is not None or time.monotonic() - began > READY_S:
                    raise DemoError(f"vtapd run did not get ready:\n{self.log_tail()}")
        return time.monotonic() - began

    def build(self, tag: str, *options: str) -> str:
        """Build an image. No daemon has to run."""
        given = ["-c", str(self.config), "--init", str(make_init()), "--label", self._made.label]
        return run([str(VTAPD), "build", "-t", tag, *given, *options], env=self._made.docker_env())

    def log_tail(self, count: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else ""

    def command(self, *args: str) -> str:
        return run([str(VTAPD), "--socket", str(RUN_DIR / "control.sock"), *args])

    def row(self, name: str) -> dict[str, Any]:
        """Return a container's line of `vtapd ps`; empty if it is not listed."""
        rows: list[dict[str, Any]] = json.loads(self.command("ps", "--json"))
        return next((row for row in rows if row["name"] == name), {})

    def inspect(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.command("inspect", name, "--json"))
        return answer

    def scrape(self) -> str:
        return get(f"http://127.0.0.1:{self.port}/metrics")

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one series; raises DemoError if there is none."""
        for value in _series(self.scrape(), name, labels):
            return value
        raise DemoError(f"no metric {name} with {labels}")


def _series(text: str, name: str, labels: dict[str, str]) -> Iterator[float]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample.value


def _is_ready(listener: socket.socket) -> bool:
    try:
        return b"READY=1" in listener.recv(4096).splitlines()
    except TimeoutError:
        return False


def _any_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])
