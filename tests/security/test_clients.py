"""Clients of the control socket and of the metrics port."""

import grp  # noqa: F401  # loaded before a process loses its rights
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from click.testing import CliRunner

from supervisor.cli.main import main
from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.footprint import descriptor_count
from tests.harness.machine import Machine
from tests.harness.processes import open_files, status_of
from tests.harness.waiting import eventually

MANY = 300
NOBODY = 65534
MOST = 64
BACKLOG = 128
OF_ITS_OWN = 4
"""So many connections of the daemon to Docker may come meanwhile."""
PATIENCE_S = 40.0
MOST_GROWTH_KIB = 16 << 10
METRICS = ("127.0.0.1", 9817)


def to_control(vtapd: Daemon) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(vtapd.control_socket))  # without a timeout, so that it waits in the listen queue
    client.settimeout(PATIENCE_S)
    return client


def to_metrics(machine: Machine) -> socket.socket:
    return machine.namespace.inside(lambda: socket.create_connection(METRICS, PATIENCE_S))


@pytest.fixture(params=["control", "metrics"])
def clients(request: pytest.FixtureRequest, vtapd: Daemon, machine: Machine) -> Iterator[list[socket.socket]]:
    """Many clients that have connected and send nothing."""
    with ExitStack() as owned:
        yield [
            owned.enter_context(to_control(vtapd) if request.param == "control" else to_metrics(machine))
            for _ in range(MANY)
        ]


def has_hung_up(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_silent_clients_are_disconnected(vtapd: Daemon, clients: list[socket.socket]) -> None:
    """Most are disconnected at once, the others after a while."""
    eventually(lambda: sum(not has_hung_up(each) for each in clients) <= MOST, "most are disconnected")
    assert descriptor_count(vtapd.pid) < MANY
    eventually(lambda: all(has_hung_up(each) for each in clients), "the silent rest is disconnected", PATIENCE_S)
    assert vtapd.command("ps").returncode == 0
    assert vtapd.metrics().value("vtapd_docker_connected") == 1


@pytest.mark.parametrize("to", ["control", "metrics"])
def test_connections_are_bounded_while_the_daemon_is_busy(vtapd: Daemon, machine: Machine, to: str) -> None:
    """The kernel accepts connections meanwhile, and the daemon gets them all at once."""
    idle = socket_count(vtapd.pid)
    with ExitStack() as owned:
        os.kill(vtapd.pid, signal.SIGSTOP)
        try:
            clients = [
                owned.enter_context(to_control(vtapd) if to == "control" else to_metrics(machine))
                for _ in range(BACKLOG)
            ]
        finally:
            os.kill(vtapd.pid, signal.SIGCONT)
        eventually(lambda: sum(not has_hung_up(each) for each in clients) == MOST, "the others are disconnected")
    eventually(lambda: socket_count(vtapd.pid) <= idle + OF_ITS_OWN, "the rest is closed with its clients")


def socket_count(pid: int) -> int:
    """Return how many sockets a process has open. A daemon that has just started may still open other files."""
    return sum(path.startswith("socket:") for path in open_files(pid).values())


def test_endless_header_is_disconnected(vtapd: Daemon) -> None:
    with to_control(vtapd) as client:
        client.sendall(b"GET /containers HTTP/1.1\r\nHost: x\r\n")
        eventually(lambda: _drip(client), "the daemon has hung up", PATIENCE_S)


def _drip(client: socket.socket) -> bool:
    try:
        client.setblocking(True)
        client.sendall(b"X-Y: z\r\n")
    except ConnectionError:
        return True
    return has_hung_up(client)


LARGE = {
    "a line": b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n",
    "a header": b"GET /containers HTTP/1.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
    "many headers": b"GET /containers HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "a body": b"POST /containers/x/detach HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"a" * (8 << 20),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00" * 1000,
}


@pytest.mark.parametrize("what", LARGE)
def test_large_requests_cost_bounded_memory(vtapd: Daemon, what: str) -> None:
    before = int(status_of(vtapd.pid)["VmRSS"].split()[0])
    with to_control(vtapd) as client:
        try:
            client.sendall(LARGE[what])
            answer = client.recv(1 << 16)
        except ConnectionError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 200") or what == "many headers"
    assert int(status_of(vtapd.pid)["VmRSS"].split()[0]) < before + MOST_GROWTH_KIB
    assert vtapd.command("ps").returncode == 0


def test_strange_paths_of_the_control_socket_are_refused(vtapd: Daemon, containers: Containers) -> None:
    containers.run().await_attached()
    for path in (
        "/containers/../../etc/passwd",
        "/containers/%2e%2e%2fetc",
        "/containers/",
        "/%00",
        "/containers/a%0ab",
    ):
        with to_control(vtapd) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.recv(64).split()[1] in (b"404", b"400"), path


def test_control_socket_belongs_to_root_and_its_group(vtapd: Daemon) -> None:
    at = vtapd.control_socket.stat()
    assert stat.S_IMODE(at.st_mode) == 0o660
    assert at.st_uid == 0
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(PermissionError):
            client.connect(str(vtapd.control_socket))
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("words", ["ps", "inspect web", "stop web", "events", "console web", "screen -o - web"])
def test_user_without_rights_is_told_what_to_be(vtapd: Daemon, words: str) -> None:
    """It is a failure, and no misuse of the command."""
    status, printed = as_another_user(["--socket", str(vtapd.control_socket), *words.split()])
    assert (status, printed.count("\n")) == (1, 1), printed
    assert "be root, or a member of group" in printed


def as_another_user(arguments: list[str]) -> tuple[int, str]:
    """Run a command in a process that was root: others may not read this Python."""
    end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        done = CliRunner().invoke(main, arguments)
        os.write(write_end, f"{done.exit_code} {done.output}".encode())
        os._exit(0)
    os.close(write_end)
    with open(end, encoding="utf-8") as answer:
        status, _, printed = answer.read().partition(" ")
    os.waitpid(child, 0)
    return int(status), printed


def test_records_belong_to_root(vtapd: Daemon, containers: Containers) -> None:
    """Records contain command lines, and with them the values of labels and variables."""
    guest = containers.serving_guest()
    assert stat.S_IMODE((vtapd.run_dir / f"{guest.id}.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(vtapd.run_dir.stat().st_mode) & 0o022 == 0


def test_metrics_listen_only_on_loopback(vtapd: Daemon, machine: Machine) -> None:
    listening = machine.run("ss", "-Hltn").stdout.split()
    assert "127.0.0.1:9817" in listening
    assert not {"0.0.0.0:9817", "*:9817", "[::]:9817"} & set(listening)
