"""`vtapd stop`, `start` and `restart`: operations on the guest while the container runs on."""

import json
import re
from datetime import datetime

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import network, qemus_of
from tests.harness.processes import is_alive
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 20.0
SLOW = {"restart": {"first": "60s", "max": "60s", "jitter": 0.0}}


def has_its_address(guest: Container) -> bool:
    return any(address.startswith(guest.address) for address in network(guest.pid).addresses)


@pytest.mark.parametrize("policy", ["always", "on-failure"])
def test_stopped_guest_stays_stopped(vtapd: Daemon, containers: Containers, policy: str) -> None:
    """It stays stopped after a restart of the daemon, and the container has its address back."""
    guest = containers.serving_guest(restart=policy)
    qemu = guest.qemu()
    assert vtapd.command("stop", guest.name).stdout == f"{guest.name} is exited\n"
    assert not is_alive(qemu)
    view = vtapd.inspect(guest.name)
    assert (view.state, view.only_guest.last_exit and view.only_guest.last_exit.reason) == ("exited", "stopped")
    assert "vtapd start" in view.message
    assert has_its_address(guest)
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "exited")
    holds_for(lambda: guest.is_running() and not qemus_of(guest.id), "the guest stays stopped", 1.0)
    assert vtapd.command("stop", guest.name).returncode == 0, "stopping a stopped guest is an error"
    assert vtapd.command("start", guest.name).stdout == f"{guest.name} is running\n"
    guest.await_page()
    assert not has_its_address(guest)
    assert vtapd.metrics().exits(guest.name, "stopped") == 1


def test_stop_in_progress_is_finished_by_the_next_daemon(vtapd: Daemon, containers: Containers) -> None:
    """The first daemon is killed during the stop timeout; the guest ignores the power button."""
    guest = containers.guest(guest="raw", stop_timeout="60s")
    vtapd.await_state(guest.name, "running")
    with Terminal.of(vtapd, "stop", guest.name) as stopping:
        record = vtapd.run_dir / f"{guest.id}.json"
        eventually(lambda: json.loads(record.read_text())["held"], "the stop is in the record")
        vtapd.kill()
        assert stopping.wait() == 1
        assert stopping.shows("no vtapd answers")
    vtapd.machine.docker("exec", guest.id, "true")
    vtapd.start()
    qemu = guest.qemu()
    containers.machine.run("kill", "-9", str(qemu))
    vtapd.await_state(guest.name, "exited")
    holds_for(lambda: guest.is_running() and not qemus_of(guest.id), "the guest stays stopped", 0.5)


@pytest.mark.vtapd_config(**SLOW)
def test_start_skips_a_backoff(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    vtapd.await_state(guest.name, "backoff")
    shown = json.loads(vtapd.command("start", guest.name, "--json").stdout)
    assert (shown["name"], shown["state"], shown["restarts"]) == (guest.name, "running", 1)
    guest.await_page()
    assert vtapd.command("start", guest.name).returncode == 0, "starting a running guest is an error"
    assert vtapd.inspect(guest.name).only_guest.restarts == 1


@pytest.mark.vtapd_config(**SLOW)
def test_stop_ends_a_backoff(vtapd: Daemon, containers: Containers) -> None:
    """vtapd.on-exit does not stop the container in this case."""
    guest = containers.serving_guest()
    guest.trigger("/crash")
    vtapd.await_state(guest.name, "backoff")
    assert vtapd.command("stop", guest.name).stdout == f"{guest.name} is exited\n"
    holds_for(guest.is_running, "the container runs on", 0.5)
    assert has_its_address(guest)


@pytest.mark.parametrize(("path", "state"), [("/crash", "failed"), ("/exit", "exited")])
def test_start_after_the_guests_end(vtapd: Daemon, containers: Containers, path: str, state: str) -> None:
    guest = containers.serving_guest(restart="no", on_exit="keep")
    guest.trigger(path)
    vtapd.await_state(guest.name, state)
    vtapd.command("start", guest.name)
    guest.await_page()
    assert vtapd.inspect(guest.name).state == "running"


def test_restart_stops_and_starts(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    assert vtapd.command("restart", guest.id12[:6]).stdout == f"{guest.name} is running\n"
    guest.await_page()
    assert guest.qemu() != qemu
    view = vtapd.inspect(guest.name).only_guest
    assert (view.restarts, view.ordered_restarts) == (0, 1), "an operator's restart counts as that of a crash"
    assert [ending.reason for ending in view.history] == ["stopped"]
    assert vtapd.metrics().restarts(guest.name) == 0


def test_restarted_container_has_its_guest_again(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    vtapd.command("stop", guest.name)
    guest.machine.docker("restart", "-t", "0", guest.id)
    guest.restarted().await_page()


TRAPS_TERM = ("sh", "-c", "trap 'echo caught' TERM; while :; do sleep 0.2; done")


def test_stop_signal_that_the_container_survives(vtapd: Daemon, containers: Containers) -> None:
    """Docker reports it like a stop. The guest is back at once by order, or by itself, also under another daemon."""
    labels = {"vtapd.kernel": "/hello.bin"}
    ordered = containers.run(labels=labels, command=TRAPS_TERM)
    alone = containers.run("--stop-timeout", "1", labels={**labels, "vtapd.stop-timeout": "1s"}, command=TRAPS_TERM)
    for guest in (alone, ordered):
        guest.await_page()
        vtapd.machine.docker("kill", "-s", "TERM", guest.id)
        view = vtapd.await_state(guest.name, "exited")
        assert "stop signal" in view.message
    vtapd.kill()
    vtapd.start()
    holds_for(lambda: not qemus_of(alone.id), "it is not started while Docker may be stopping it", 1.0)
    vtapd.machine.docker("kill", "-s", "TERM", ordered.id)
    eventually(lambda: "stop signal" in vtapd.inspect(ordered.name).message, "the daemon has noticed the signal")
    assert vtapd.command("start", ordered.name).stdout == f"{ordered.name} is running\n"
    for guest in (ordered, alone):
        guest.await_page()
        assert vtapd.metrics().exits(guest.name, "stopped") == 1
        guest.stop(1)
        assert not guest.is_running()


def test_start_calls_off_the_end_of_the_container(vtapd: Daemon, containers: Containers) -> None:
    """The guest is done, and the init got its stop signal, but an operator starts the guest before the kill."""
    labels = {"vtapd.kernel": "/hello.bin", "vtapd.restart": "no"}
    guest = containers.run("--stop-timeout", "2", labels=labels, command=TRAPS_TERM)
    guest.await_page()
    guest.trigger("/exit")
    vtapd.await_state(guest.name, "exited")
    vtapd.command("start", guest.name)
    guest.await_page()
    holds_for(lambda: guest.is_running() and vtapd.inspect(guest.name).state == "running", "both run on", 3.0)


def test_docker_stop_of_a_stopped_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    vtapd.command("stop", guest.name)
    guest.stop(30)
    assert not guest.is_running()


def test_impossible_operation_is_refused_with_the_reason(vtapd: Daemon, containers: Containers) -> None:
    plain = containers.run().await_attached()
    vtapd.await_state(plain.name, "attached")
    rejected = containers.guest(memory="lots")
    vtapd.await_state(rejected.name, "rejected")
    detached, paused = containers.serving_guest(), containers.serving_guest()
    vtapd.command("detach", detached.name)
    paused.machine.docker("pause", paused.id)
    eventually(lambda: refused(vtapd, "stop", paused.name, "docker unpause"), "the daemon has noticed the pause")
    assert refused(vtapd, "stop", plain.name, "asks for no guest")
    assert refused(vtapd, "start", rejected.name, "vtapd.memory")
    assert refused(vtapd, "start", detached.name, "vtapd attach")
    skipped = containers.run(labels={"vtapd.enable": "false"})
    vtapd.await_state(skipped.name, "skipped")
    assert refused(vtapd, "attach", skipped.name, "label vtapd.enable=false")
    assert refused(vtapd, "start", skipped.name, "vtapd-labels(7)")
    assert refused(vtapd, "restart", "no-such-container", "vtapd ps")
    assert refused(vtapd, "stop", "x\x1b[2J", r"x\x1b[2J")


def refused(vtapd: Daemon, verb: str, name: str, words: str) -> bool:
    answer = vtapd.command(verb, name, check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.isprintable() or answer.stderr.rstrip("\n").isprintable()
    return words in answer.stderr


def test_long_operation_shows_progress_on_a_terminal(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    with Terminal.of(vtapd, "stop", guest.name) as terminal:
        assert terminal.wait() == 0
        assert re.search(
            rf"stopping {guest.name} … done after \d+\.\d s\r\n{guest.name} is exited\r\n", terminal.text()
        )


def test_killed_guest_stays_stopped(vtapd: Daemon, containers: Containers) -> None:
    """It is not asked to stop, which this one would ignore."""
    guest = containers.guest(guest="raw", stop_timeout="60s")
    vtapd.await_state(guest.name, "running")
    assert vtapd.command("kill", guest.name).stdout == f"{guest.name} is exited\n"
    view = vtapd.inspect(guest.name)
    assert (view.state, view.only_guest.last_exit and view.only_guest.last_exit.reason) == ("exited", "stopped")
    holds_for(lambda: guest.is_running() and not qemus_of(guest.id), "the guest stays stopped", 0.5)
    assert vtapd.command("kill", guest.name).returncode == 0, "killing a stopped guest is an error"
    vtapd.command("start", guest.name)
    assert vtapd.inspect(guest.name).state == "running"


def test_kill_ends_a_stop_that_takes_long(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(guest="raw", stop_timeout="600s")
    vtapd.await_state(guest.name, "running")
    with Terminal.of(vtapd, "stop", guest.name) as stopping:
        eventually(lambda: "guest_stop_ordered" in vtapd.log_file.read_text(), "it is being stopped")
        vtapd.command("kill", guest.name)
        assert stopping.wait() == 0
        assert f"{guest.name} is exited" in stopping.text()


@pytest.mark.vtapd_config(**SLOW)
def test_kill_ends_a_backoff(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    vtapd.await_state(guest.name, "backoff")
    assert "its guest ended (guest-reset), and starts again after 60 s" in vtapd.inspect(guest.name).message
    assert vtapd.command("kill", guest.name).stdout == f"{guest.name} is exited\n"


def test_operations_take_several_names_and_do_what_can_be_done(vtapd: Daemon, containers: Containers) -> None:
    """Each guest ignores its stop for three seconds: they are stopped at the same time."""
    guests = [containers.guest(guest="raw", stop_timeout="3s") for _ in range(3)]
    for guest in guests:
        vtapd.await_state(guest.name, "running")
    names = [guest.name for guest in guests]
    answer = vtapd.command("stop", names[0], "missing", *names[1:], check=False)
    assert answer.returncode == 1
    assert answer.stdout.splitlines() == [f"{name} is exited" for name in names]
    assert "no container is called 'missing'" in answer.stderr
    ends = [vtapd.inspect(name).only_guest.history[-1].at for name in names]
    first, *_, last = sorted(map(datetime.fromisoformat, ends))
    assert (last - first).total_seconds() < 3, "they were stopped one after the other"
    assert vtapd.command("detach", *names).stdout.splitlines() == [f"{name} is detached" for name in names]
