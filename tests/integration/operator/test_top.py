"""`vtapd top`: what it counts, and the live table on a terminal."""

import json
import re
import signal
from collections.abc import Iterator
from typing import Any  # what --json prints

import pytest

from supervisor.core.report.schema import Load
from tests.harness.containers import Container, Containers
from tests.harness.control import ask
from tests.harness.daemon import Daemon
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually

MIB = 1 << 20
ALTERNATE_SCREEN, MAIN_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
HOME = "\x1b[H"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def frame(terminal: Terminal) -> list[str]:
    """Return the lines of the last picture that is complete, without colours."""
    pictures = terminal.text().split(HOME)
    whole = [picture for picture in pictures if "c cpu" in picture or "no vtapd answers" in picture]
    return CONTROL.sub("", whole[-1]).splitlines() if whole else []


def row_of(terminal: Terminal, name: str) -> list[str]:
    return next((line.split() for line in frame(terminal) if line.startswith(f"{name} ")), [])


def names(terminal: Terminal) -> list[str]:
    return [line.split()[0] for line in frame(terminal)[3:-1] if line.strip()]


def loads(vtapd: Daemon, *options: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(vtapd.command("top", "--json", *options).stdout)}


@pytest.fixture
def guest(vtapd: Daemon, containers: Containers) -> Container:
    guest = containers.serving_guest("--memory", "200m", memory="32M")
    vtapd.await_state(guest.name, "running")
    return guest


@pytest.fixture
def top(vtapd: Daemon, guest: Container) -> Iterator[Terminal]:
    with Terminal.of(vtapd, "top", "--interval", "0.5") as terminal:
        terminal.resize(20, 160)
        eventually(lambda: row_of(terminal, guest.name), "the guest has a row")
        yield terminal


def is_left(terminal: Terminal, status: int) -> None:
    """Assert that the command ended with this status and restored the terminal."""
    assert terminal.wait() == status
    assert terminal.attributes() == terminal.before
    assert terminal.shows(MAIN_SCREEN)


def test_usage_is_that_of_docker_stats(vtapd: Daemon, guest: Container) -> None:
    def agrees() -> bool:
        words = "{{.MemUsage}} {{.PIDs}}"
        used, limit, pids = (
            vtapd.machine.docker("stats", "--no-stream", "--format", words, guest.id).replace("/", " ").split()
        )
        mine = loads(vtapd)[guest.name]
        assert limit == "200MiB"
        assert mine["memory_limit_bytes"] == 200 * MIB
        assert abs(mine["memory_bytes"] - float(used.removesuffix("MiB")) * MIB) < 2 * MIB
        return bool(mine["processes"] == int(pids))

    eventually(agrees, "memory and processes are the same", 30.0)


def test_network_counts_what_the_guest_sends(vtapd: Daemon, guest: Container) -> None:
    before = loads(vtapd)[guest.name]
    size = sum(len(guest.get("/").body) for _ in range(20))
    after = loads(vtapd)[guest.name]
    assert after["transmit_bytes"] - before["transmit_bytes"] >= size
    assert after["receive_bytes"] > before["receive_bytes"]


@pytest.mark.both_cgroups
def test_processor_time_is_counted(vtapd: Daemon, containers: Containers) -> None:
    idle, busy = containers.run(), containers.run()
    for each in (idle, busy):
        vtapd.await_state(each.await_attached().name, "attached")
    busy.machine.docker("exec", "--detach", busy.id, "sh", "-c", "while :; do :; done")

    def is_busy() -> bool:
        found = loads(vtapd)
        assert found[idle.name]["cpu_percent"] < 10
        return bool(found[busy.name]["cpu_percent"] > 25)

    eventually(is_busy, "one is busy", 30.0)
    assert next(iter(loads(vtapd))) == busy.name, "the busiest comes first"


def test_json_has_every_key_and_is_filtered(vtapd: Daemon, containers: Containers, guest: Container) -> None:
    plain = containers.run().await_attached()
    vtapd.await_state(plain.name, "attached")
    found = loads(vtapd)
    keys = set(Load.__annotations__)
    assert set(found[plain.name]) == set(found[guest.name]) == keys
    assert (found[plain.name]["guest"], found[plain.name]["restarts"]) == (None, None)
    assert set(loads(vtapd, "--filter", "rumprun")) == {guest.name}


def test_once_prints_one_table(vtapd: Daemon, guest: Container) -> None:
    printed = vtapd.command("top").stdout
    header, row = printed.splitlines()
    assert header.split()[:4] == ["NAME", "STATE", "GUEST", "READY"]
    assert row.split()[:4] == [guest.name, "running", "rumprun", "-"]
    assert "\x1b" not in printed
    with Terminal.of(vtapd, "top", "--once") as terminal:
        assert terminal.wait() == 0
        assert terminal.shows(guest.name)


@pytest.mark.vtapd_config(restart={"first": "30s", "max": "30s"})
def test_guest_in_backoff_shows_the_time_that_is_left(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    vtapd.await_state(guest.name, "backoff")
    assert 0 < loads(vtapd)[guest.name]["backoff_s"] <= 33
    with Terminal.of(vtapd, "top") as terminal:
        terminal.resize(20, 160)
        eventually(lambda: re.search(r"backoff \d+\.\ds", "\n".join(frame(terminal))), "it counts down")


def test_table_is_live(vtapd: Daemon, containers: Containers, guest: Container, top: Terminal) -> None:
    assert ALTERNATE_SCREEN in top.text()
    eventually(lambda: re.fullmatch(r"\d+\.\d", row_of(top, guest.name)[4]), "it has a rate")
    another = containers.run().await_attached()
    eventually(lambda: row_of(top, another.name)[1:2] == ["attached"], "the new container has a row")
    another.remove()
    eventually(lambda: not row_of(top, another.name), "its row is gone")
    top.type("q")
    is_left(top, 0)


def test_keys_sort_and_filter(vtapd: Daemon, containers: Containers, guest: Container, top: Terminal) -> None:
    plain = containers.run().await_attached()
    both = sorted((guest.name, plain.name))
    top.type("a")
    eventually(lambda: names(top) == both, "they are sorted by name")
    top.type("a")
    eventually(lambda: names(top) == both[::-1], "the other way round")
    top.type("m")
    eventually(lambda: names(top) == [guest.name, plain.name], "QEMU has more memory")
    assert "by memory" in frame(top)[0]
    top.type("/rump")
    eventually(lambda: names(top) == [guest.name], "only the guest is left")
    assert "1 of 2 containers" in frame(top)[0]
    assert "filter: rump_" in frame(top)[0]
    top.type("\r\x1b")
    eventually(lambda: len(names(top)) == 2, "all are back")
    top.type("\x03")
    is_left(top, 0)


def test_smaller_terminal_gets_fewer_columns(top: Terminal) -> None:
    def has_columns(*titles: str, without: str = "") -> bool:
        header = frame(top)[2].split()
        assert {*titles} <= {*header}, frame(top)
        assert without not in header, frame(top)
        return True

    eventually(lambda: has_columns("CPU", "PIDS"), "there is room for all columns")
    top.resize(10, 60)
    eventually(lambda: has_columns("CPU", without="PIDS"), "a column is left out")
    assert max(map(len, frame(top))) <= 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_restores_the_terminal(top: Terminal, number: signal.Signals) -> None:
    top.signal(number)
    is_left(top, 128 + number)


def test_table_outlives_the_daemon(vtapd: Daemon, guest: Container, top: Terminal) -> None:
    vtapd.kill()
    eventually(lambda: "no vtapd answers" in frame(top)[-1], "it says so")
    assert row_of(top, guest.name)
    vtapd.start()
    eventually(lambda: "no vtapd answers" not in frame(top)[-1], "the next daemon answers")
    assert row_of(top, guest.name)
    top.type("q")
    is_left(top, 0)


def test_without_a_daemon_it_fails(vtapd: Daemon, no_daemon: str) -> None:
    with Terminal.of(vtapd, "--socket", no_daemon, "top") as terminal:
        assert terminal.wait() == 1
        assert terminal.shows("no vtapd answers on")
        assert ALTERNATE_SCREEN not in terminal.text()


@pytest.fixture
def no_daemon(vtapd: Daemon) -> str:
    return str(vtapd.run_dir / "nothing.sock")


def test_nothing_is_read_while_no_command_asks(vtapd: Daemon, guest: Container) -> None:
    """The control socket's answer is made from files that are read for it."""
    status, body = ask(vtapd.control_socket, "GET", "/usage")
    (first,) = json.loads(body)
    assert status == 200
    (second,) = json.loads(ask(vtapd.control_socket, "GET", "/usage")[1])
    assert second["at_s"] > first["at_s"]
    assert second["uptime_s"] >= first["uptime_s"] > 0
