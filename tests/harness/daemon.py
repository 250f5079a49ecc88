"""The daemon under test: a process of its own, started as systemd would start it, asked as its users ask it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from .control import ask
from .fork_server import ForkServer
from .machine import REPOSITORY, Machine
from .metrics import Metrics
from .processes import Process, end, is_alive, run
from .views import InspectView, PsView, parse_inspect, parse_ps
from .waiting import CommandFailed, eventually

Value = str | int | float | bool | list[str]
Tables = Mapping[str, Mapping[str, Value]]

METRICS = "127.0.0.1:9817"
READY_S, STOP_S, ANSWER_S = 20.0, 20.0, 5.0
HTTP_OK = 200
COMMAND = (sys.executable, "-m", "supervisor")


def default_config(machine: Machine) -> dict[str, dict[str, Value]]:
    """What tests run with unless they say otherwise: every value that matters to them, written out."""
    return {
        "docker": {"host": machine.docker_host, "timeout": "10s"},
        "attach": {"containers": "all", "run_dir": str(machine.run_dir), "resync": "30s"},
        "guest": {
            "memory": "64M",
            "accel": "tcg",
            "user": "vtapd-guest",
            "qemu": "qemu-system-x86_64",
            "overhead": "48M",
            "stop_timeout": "10s",
            "sleep_dir": str(machine.run_dir / "asleep"),
        },
        "restart": {"first": "100ms", "max": "60s", "steps": 8, "jitter": 0.1, "reset_after": "60s"},
        "metrics": {"listen": METRICS},
        "control": {"group": "vtapd"},
        "log": {"level": "debug", "format": "json"},
    }


def merged(base: Tables, changes: Tables) -> dict[str, dict[str, Value]]:
    tables = {**{name: dict(table) for name, table in base.items()}}
    for name, table in changes.items():
        tables.setdefault(name, {}).update(table)
    return tables


def format_toml(tables: Tables) -> str:
    """Strings, numbers and booleans are written in TOML as in JSON."""
    lines: list[str] = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def environment(**more: str) -> dict[str, str]:
    """Return what a command gets of the tests' environment.

    Not the size of their terminal, which readline gives to what they start: it goes before the size of a command's own.
    """
    unwanted = ("DOCKER_", "NOTIFY_", "COLUMNS", "LINES")
    env = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return env | {"PYTHONPATH": str(REPOSITORY)} | more


class Daemon:
    """One life of `vtapd run`. `privileges` is put in front of the command, after the machine's network is entered."""

    program: Sequence[str] = COMMAND
    fork_server = "tests.harness.forked_daemon"
    """The module that serves this program, with the same arguments."""
    is_forked = True
    """Without it, it is started as users start it, which takes longer."""
    source: Path = REPOSITORY
    """Where Python finds the package; another folder stands for another version of it."""

    def __init__(self, machine: Machine, config: Tables, privileges: Sequence[str] = ()) -> None:
        self.machine = machine
        self.config = merged(default_config(machine), config)
        self.privileges = privileges
        self.config_file = machine.home / "vtapd.toml"
        self.log_file = machine.home / "vtapd.log"
        self.process: Process | None = None

    @property
    def run_dir(self) -> Path:
        return Path(str(self.config["attach"]["run_dir"]))

    @property
    def control_socket(self) -> Path:
        return self.run_dir / "control.sock"

    @property
    def pid(self) -> int:
        assert self.process is not None, "the daemon was not started"
        return self.process.pid

    def launch(self) -> Process:
        """Starts the process and waits for nothing; for daemons that are expected to refuse."""
        self.config_file.write_text(format_toml(self.config))
        if self.is_forked and self.program is COMMAND and self.source == REPOSITORY and not self.privileges:
            self.process = self._fork_server().fork(self.arguments(), self.env(), self.log_file)
            return self.process
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                self.argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.source,
                env=self.env(),
                pass_fds=(self.machine.namespace.fd,),
            )
        return self.process

    def _fork_server(self) -> ForkServer:
        entered = self._entered()
        servers, key = self.machine.fork_servers, (self.fork_server, *entered)
        if key not in servers:
            argv = [*entered, sys.executable, "-m", self.fork_server]
            servers[key] = ForkServer(argv, REPOSITORY, environment(), (self.machine.namespace.fd,))
        return servers[key]

    def _entered(self) -> list[str]:
        return [*self.machine.dockerd.entered(), "setpriv", "--pdeathsig", "TERM", "--"]

    def argv(self) -> list[str]:
        return [*self._entered(), *self.privileges, *self.program, *self.arguments()]

    def arguments(self) -> list[str]:
        return ["run", "--config", str(self.config_file)]

    def env(self) -> dict[str, str]:
        return environment(NOTIFY_SOCKET=str(self.machine.home / "notify"), PYTHONPATH=str(self.source))

    def start(self) -> "Daemon":
        """Return when the daemon has sent READY=1 (man 3 sd_notify)."""
        notify = self.machine.home / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(notify))
            listener.settimeout(0.1)
            process = self.launch()
            until = time.monotonic() + READY_S
            while not self._told_ready(listener):
                if process.poll() is not None or time.monotonic() > until:
                    self.kill()
                    raise AssertionError(f"no READY=1 from vtapd run, exit {process.returncode}:\n{self.log_tail()}")
        return self

    @staticmethod
    def _told_ready(listener: socket.socket) -> bool:
        try:
            return b"READY=1" in listener.recv(4096).splitlines()
        except TimeoutError:
            return False

    def stop(self) -> int:
        assert self.process is not None, "the daemon was not started"
        return end(self.process, STOP_S)

    def kill(self) -> None:
        assert self.process is not None, "the daemon was not started"
        self.process.kill()
        self.process.wait(10)

    def reaper_pid(self) -> int:
        """Return the pid of the reaper, the parent of all QEMUs. A daemon is ready a moment before its reaper is."""
        return eventually(self._ask_reaper, "the reaper answers", ANSWER_S)

    def _ask_reaper(self) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(self.run_dir / "reaper.sock"))
            connection.send(b'{"do": "hello"}')
            pid: int = json.loads(connection.recv(4096))["pid"]
            return pid

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None and is_alive(self.process.pid)

    def run_to_end(self, deadline_s: float = 20.0) -> tuple[int, str]:
        """For a daemon that must refuse to start: its exit status and all that it printed."""
        process = self.launch()
        try:
            process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise AssertionError(f"vtapd run did not end within {deadline_s:g} s:\n{self.log_tail()}") from None
        return process.wait(0), self.log_file.read_text()

    # Commands of the product

    def command(self, *args: str, timeout_s: float = 30.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = [*COMMAND, "--socket", str(self.control_socket), *args]
        try:
            return run(argv, timeout_s=timeout_s, check=check, env=environment())
        except CommandFailed as failed:
            if bugs := self.bugs():
                raise CommandFailed("\n".join((str(failed), *bugs))) from failed
            raise

    # Its control socket

    def request(self, verb: str, name: str) -> None:
        """Request an operation, as `vtapd VERB NAME` does, and return when it is done.

        Raises OSError if the daemon ends first. test_operations.py tests the commands themselves.
        """
        url = f"/containers/{quote(name, safe='')}/{verb}"
        status, body = ask(self.control_socket, "POST", url)
        if status != HTTP_OK:
            raise CommandFailed(f"POST {url}: status {status}\n{body}")

    def ps(self) -> list[PsView]:
        return parse_ps(self._get("/containers"))

    def inspect(self, name: str) -> InspectView:
        return parse_inspect(self._get(f"/containers/{quote(name, safe='')}"))

    def _get(self, url: str) -> str:
        """Return what `vtapd ps --json` and `vtapd inspect --json` print, without the start of a Python for each poll.

        test_ps_and_inspect.py proves that the commands print the same.
        """
        status, body = ask(self.control_socket, "GET", url)
        if status != HTTP_OK:
            raise CommandFailed(f"GET {url}: status {status}\n{body}")
        return body

    def await_state(self, name: str, *states: str, deadline_s: float = 10.0) -> InspectView:
        def reached() -> InspectView | None:
            view = self.inspect(name)
            assert view.state in states, f"state is {view.state}, reason {view.reason!r}"
            return view

        try:
            view = eventually(reached, f"{name} is {' or '.join(states)}", deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None
        assert view is not None
        return view

    # Logs

    def metrics(self) -> Metrics:
        reply = self.machine.http(f"http://{self.config['metrics']['listen']}/metrics")
        assert reply.status == 200, reply.body
        return Metrics(reply.body)

    def log_lines(self) -> list[dict[str, object]]:
        """Each line as the daemon wrote it; one that is no JSON object under the key `raw`."""
        lines: list[dict[str, object]] = []
        for text in self.log_file.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            lines.append(line if isinstance(line, dict) else {"raw": text})
        return lines

    def log_tail(self, count: int = 25) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-count:])

    def bugs(self) -> list[str]:
        """Log lines that only a bug can write."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        first = next((number for number, text in enumerate(lines) if "Traceback" in text), len(lines))
        return lines[first:]


__all__ = ["COMMAND", "CommandFailed", "Daemon", "Tables", "Value", "environment", "format_toml"]
