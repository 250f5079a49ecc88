"""The record of a container is lost, broken or foreign: what the next daemon makes of it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .containers import Container, Containers
from .current_daemon import CurrentDaemon
from .daemon import Daemon
from .footprint import footprint
from .machine import Machine
from .observe import netns_links, network, node
from .processes import is_alive, kill_and_await
from .waiting import eventually


def _record(daemon: Daemon, container: Container) -> Path:
    return daemon.run_dir / f"{container.id}.json"


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _make_newer(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"version": content["version"] + 1, "unheard_of": {}}))


BROKEN: dict[str, Callable[[Path], object]] = {
    "unreadable": lambda path: path.write_bytes(os.urandom(500)),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncate,
    "of a newer version": _make_newer,
    "of another container": lambda path: path.write_text(path.read_text().replace(path.stem, "f" * 64)),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_record_is_lost_while_its_guest_runs(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, how: str
) -> None:
    """The guest goes on, untouched, and what the takeover changed is still given back."""
    daemon = current_daemon.get({})
    guest, plain = containers.guest(), containers.run().await_attached()
    eventually(lambda: guest.get("/").status == 200, "it serves")
    qemu = guest.qemu()
    before = network(plain.pid)
    daemon.kill()
    for container in (guest, plain):
        BROKEN[how](_record(daemon, container))
    daemon.start()
    daemon.await_state(guest.name, "running")
    assert guest.qemu() == qemu
    assert guest.get("/").status == 200
    assert daemon.inspect(guest.name).interfaces[0].addresses == [f"{guest.address}/{guest.endpoint.prefix}"]
    guest.tell("/crash")
    eventually(lambda: daemon.metrics().restarts(guest.name) == 1, "its crashes are seen and mended")
    guest.await_page()
    for container in (guest, plain):
        daemon.command("detach", container.name)
    assert network(plain.pid) == before
    assert network(guest.pid).mac == guest.endpoint.mac
    assert any(guest.address in address for address in network(guest.pid).addresses)


def test_detached_guest_has_the_network_that_docker_made(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """Address, broadcast and default route, rebuilt without a record, are what an untouched container has."""
    daemon = current_daemon.get({})
    daemon.stop()
    guest = containers.guest()
    before = network(guest.pid)
    daemon.start()
    guest.await_page()
    daemon.kill()
    _record(daemon, guest).unlink()
    daemon.start()
    daemon.await_state(guest.name, "running")
    daemon.command("detach", guest.name)
    assert network(guest.pid) == before


def test_a_record_from_before_lifetimes_were_noted(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """As version 0.1 wrote it."""
    daemon = current_daemon.get({})
    daemon.stop()
    guest = containers.guest()
    before = network(guest.pid)
    daemon.start()
    guest.await_page()
    daemon.kill()
    path = _record(daemon, guest)
    record = json.loads(path.read_text())
    (entry,) = record["taps"]
    for each in (*entry["original"]["addresses"], *entry["original"]["routes"]):
        del each["valid_until_s"]
    for address in entry["original"]["addresses"]:
        del address["flags"], address["preferred_until_s"]
    path.write_text(json.dumps(record))
    qemu = guest.qemu()
    daemon.start()
    daemon.await_state(guest.name, "running")
    assert guest.qemu() == qemu
    daemon.command("detach", guest.name)
    assert network(guest.pid) == before


def test_all_records_and_sockets_are_deleted(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """Without its socket QEMU cannot be talked to: it is ended as one that hangs, and started again."""
    daemon = current_daemon.get({"guest": {"hang_after": "500ms"}})
    guest = containers.serving_guest()
    qemu = guest.qemu()
    daemon.kill()
    shutil.rmtree(daemon.run_dir)
    daemon.start()
    eventually(lambda: daemon.metrics().exits(guest.name, "hang") == 1, "it is found to hang")
    guest.await_page()
    assert not is_alive(qemu)
    assert guest.qemu() != qemu


@pytest.mark.alone  # any daemon that starts removes symlinks that lead nowhere, whoever made them
def test_the_containers_of_records_are_gone(
    no_vtapd: None, machine: Machine, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """One with its record, one whose record is lost as well: nothing of either stays."""
    daemon = current_daemon.get({})
    gone, forgotten = containers.serving_guest(), containers.serving_guest()
    daemon.kill()
    for container in (gone, forgotten):
        container.remove()
    _record(daemon, forgotten).unlink()
    assert {gone.id12, forgotten.id12} <= set(netns_links())
    daemon.start()
    eventually(lambda: not {gone.id12, forgotten.id12} & set(netns_links()), "the symlinks are gone")
    eventually(lambda: not footprint(machine, daemon.run_dir).run_files, "so are records and sockets")


def test_a_record_of_an_earlier_run_of_the_container(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    daemon = current_daemon.get({})
    guest = containers.serving_guest()
    daemon.kill()
    guest.stop()
    again = guest.start()
    daemon.start()
    again.await_page()
    assert netns_links()[again.id12] == f"/proc/{again.pid}/ns/net"
    assert node(again.pid) is not None


def test_a_process_that_only_has_a_guests_name(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """In the container itself it is ended as the stray that it pretends to be; in another one nobody believes it."""
    daemon = current_daemon.get({})
    victim, other = containers.serving_guest(), containers.run().await_attached()
    qemu = victim.qemu()
    daemon.kill()
    for container in (victim, other):
        container.machine.docker(
            "exec", "-d", container.id, "sh", "-c", f"exec -a sh sh -c 'sleep 60; true' -name vtapd-{victim.id}"
        )
    daemon.start()
    daemon.await_state(victim.name, "running")
    assert victim.qemu() == qemu
    assert victim.get("/").status == 200
    listed = [other.machine.docker("top", one.id, "-eo", "pid,args").count("sleep 60; true") for one in (victim, other)]
    assert listed == [0, 1]
    kill_and_await(qemu)
    victim.await_page()
