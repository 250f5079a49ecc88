"""A container that has ended is known as long as Docker knows it: `vtapd ps -a` and `vtapd inspect`."""

import os
from datetime import datetime

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.views import InspectView, PsView, parse_inspect, parse_ps
from tests.harness.waiting import CommandFailed, eventually

KERNEL = {"vtapd.kernel": "/hello.bin", "vtapd.memory": "16M", "vtapd.restart": "no"}


def guest_behind_init(containers: Containers) -> Container:
    """Start a guest whose container ends with it."""
    guest = containers.run(image=containers.machine.init_image, labels=KERNEL)
    guest.await_page()
    return guest


def listed(vtapd: Daemon, *options: str) -> dict[str, PsView]:
    return {row.name: row for row in parse_ps(vtapd.command("ps", "--json", *options).stdout)}


def shown(vtapd: Daemon, name: str) -> InspectView:
    return parse_inspect(vtapd.command("inspect", name, "--json").stdout)


def await_ended(vtapd: Daemon, container: Container) -> PsView:
    def row() -> PsView:
        found = listed(vtapd, "-a")[container.name]
        assert found.ended_at is not None, found
        return found

    return eventually(row, f"{container.name} has ended")


def test_how_a_guest_ended_is_known_afterwards(vtapd: Daemon, containers: Containers) -> None:
    guest = guest_behind_init(containers)
    endpoint = guest.endpoint
    guest.trigger("/exit?code=7")
    row = await_ended(vtapd, guest)
    assert (row.state, row.guest, row.address, row.uptime_s) == ("failed", "rumprun", None, None)
    assert row.last_exit is not None
    assert (row.last_exit.reason, row.last_exit.code) == ("guest-exit", 7)
    assert guest.name not in listed(vtapd)
    view = shown(vtapd, guest.name)
    assert view == shown(vtapd, guest.id12)
    assert (view.pid, view.netns, view.only_guest.kernel) == (None, None, "/hello.bin")
    (eth0,) = view.interfaces
    assert (eth0.name, eth0.mac, eth0.addresses) == ("eth0", endpoint.mac, [f"{endpoint.address}/{endpoint.prefix}"])
    assert (eth0.gateway, eth0.tap) == (endpoint.gateway, None)
    assert view.reason is not None
    assert "vtapd.restart=no" in view.reason
    assert view.last_output is not None
    assert view.last_output == guest.logs().splitlines()[-20:]
    assert view.last_output[-1].startswith("vtapd: guest-exit 7")
    table = vtapd.command("inspect", guest.name).stdout
    assert "\n  vtapd: guest-exit 7" in table


def test_it_is_known_to_the_next_daemon(no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers) -> None:
    daemon = current_daemon.get({})
    guest, plain = guest_behind_init(containers), containers.run().await_attached()
    guest.trigger("/panic")
    plain.stop()
    before = [await_ended(daemon, each) for each in (guest, plain)]
    daemon.kill()
    daemon.start()
    assert [await_ended(daemon, each) for each in (guest, plain)] == before
    assert [row.state for row in before] == ["failed", "exited"]


def test_end_that_no_daemon_saw_is_known(no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers) -> None:
    daemon = current_daemon.get({})
    killed, crashed, plain = (
        containers.serving_guest(), guest_behind_init(containers), containers.run().await_attached(),
    )  # fmt: skip
    daemon.kill()
    crashed.trigger("/panic")
    eventually(lambda: (daemon.run_dir / f"{crashed.id12}.exit").exists() or not crashed.is_running(), "it has crashed")
    for each in (killed, crashed, plain):
        each.stop()
    daemon.start()
    rows = [await_ended(daemon, each) for each in (killed, crashed, plain)]
    assert [(row.state, row.last_exit and row.last_exit.reason) for row in rows] == [
        ("exited", "container-gone"),
        ("failed", "guest-panic"),
        ("exited", None),
    ]
    ended_at = [datetime.fromisoformat(row.ended_at or "") for row in rows]
    finished_at = [datetime.fromisoformat(each.docker_state()["FinishedAt"]) for each in (killed, crashed, plain)]
    assert ended_at == finished_at


def test_docker_start_replaces_it_and_docker_rm_removes_it(vtapd: Daemon, containers: Containers) -> None:
    guest = guest_behind_init(containers)
    file = vtapd.run_dir / f"{guest.id}.ended"
    guest.trigger("/exit?code=7")
    await_ended(vtapd, guest)
    assert file.exists()
    again = guest.start()
    again.await_page()
    assert listed(vtapd, "-a")[guest.name].ended_at is None
    assert shown(vtapd, guest.name).last_output is None
    assert not file.exists()
    again.trigger("/exit?code=8")
    last = await_ended(vtapd, again).last_exit
    assert last is not None
    assert last.code == 8
    guest.remove()
    eventually(lambda: guest.name not in listed(vtapd, "-a"), "it is forgotten")
    assert not file.exists()
    with pytest.raises(CommandFailed, match="no container is called"):
        shown(vtapd, guest.name)


def test_container_that_docker_removed_while_no_daemon_ran_is_forgotten(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    daemon = current_daemon.get({})
    gone, stays = containers.run().await_attached(), containers.run().await_attached()
    for each in (gone, stays):
        each.stop()
        await_ended(daemon, each)
    daemon.kill()
    gone.remove()
    (daemon.run_dir / f"{stays.id}.ended").write_bytes(os.urandom(100))
    daemon.start()
    eventually(lambda: not list(daemon.run_dir.glob("*.ended")), "their files are gone")
    assert listed(daemon, "-a") == {}


def test_renamed_container_is_found_by_its_new_name(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    container.stop()
    await_ended(vtapd, container)
    container.machine.docker("rename", container.id, f"{container.name}-old")
    eventually(lambda: f"{container.name}-old" in listed(vtapd, "-a"), "it has its new name")


def test_operation_on_it_says_that_it_has_ended(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    container.stop()
    await_ended(vtapd, container)
    for verb in ("stop", "attach", "console", "screen -o -"):
        answer = vtapd.command(*verb.split(), container.name, check=False)
        assert answer.returncode == 1
        assert f"container {container.name} has ended; start it again: docker start" in answer.stderr


def test_rejected_container_keeps_its_reason(vtapd: Daemon, containers: Containers) -> None:
    rejected = containers.run(labels={"vtapd.kernel": "/hello.bin", "vtapd.memory": "lots"})
    vtapd.await_state(rejected.name, "rejected")
    rejected.stop()
    row = await_ended(vtapd, rejected)
    assert row.state == "rejected"
    assert "vtapd.memory" in (row.reason or "")


def test_container_that_was_left_alone_is_not_listed(vtapd: Daemon, containers: Containers) -> None:
    alone = containers.run(labels={"vtapd.enable": "false"})
    vtapd.await_state(alone.name, "skipped")
    last = containers.run().await_attached()
    for each in (alone, last):
        each.stop()
    await_ended(vtapd, last)
    assert alone.name not in listed(vtapd, "-a")
