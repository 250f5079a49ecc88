"""`vtapd ps` and `vtapd inspect` agree with the kernel and with Docker."""

import re

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.processes import run
from tests.harness.views import InspectView, PsView, parse_inspect, parse_ps
from tests.harness.waiting import CommandFailed, eventually


def shown(vtapd: Daemon, name: str) -> InspectView:
    return parse_inspect(vtapd.command("inspect", name, "--json").stdout)


def listed(vtapd: Daemon) -> dict[str, PsView]:
    return {row.name: row for row in parse_ps(vtapd.command("ps", "--json").stdout)}


def test_inspect_of_a_plain_container(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    vtapd.await_state(container.name, "attached")
    view = shown(vtapd, container.name)
    assert view == vtapd.inspect(container.name), "the command prints something else than the control socket answers"
    assert (view.id, view.name, view.pid, view.guest) == (container.id, container.name, container.pid, None)
    assert view.netns in {f"/var/run/netns/{container.id12}", f"/proc/{container.pid}/ns/net"}
    (eth0,) = view.interfaces
    endpoint = container.endpoint
    assert (eth0.name, eth0.mac, eth0.mtu, eth0.gateway) == ("eth0", endpoint.mac, 1500, endpoint.gateway)
    assert eth0.addresses == [f"{endpoint.address}/{endpoint.prefix}"]
    assert eth0.tap is not None
    link = container.macvtap()
    assert (eth0.tap.name, eth0.tap.mac, eth0.tap.node) == (link.name, link.mac, "/dev/tap0")
    assert (eth0.tap.device, eth0.tap.rule) == (container.tap_device(), True)
    assert view.cgroup
    assert container.id in view.cgroup


def test_inspect_shows_the_kernel_as_it_is_now(vtapd: Daemon, containers: Containers) -> None:
    """Neither an event nor a check comes between the change and the question."""
    container = containers.run().await_attached()
    vtapd.await_state(container.name, "attached")
    entered = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip"]
    run([*entered, "address", "add", "10.77.0.1/24", "dev", "eth0"])
    run([*entered, "route", "delete", "default"])
    (eth0,) = vtapd.inspect(container.name).interfaces
    assert "10.77.0.1/24" in eth0.addresses
    assert eth0.gateway is None


def test_inspect_of_a_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(args="hi there")
    vtapd.await_state(guest.name, "running", "ready")
    view = shown(vtapd, guest.name)
    assert view == vtapd.inspect(guest.name), "the command prints something else than the control socket answers"
    its = view.only_guest
    assert (its.kind, its.kernel, its.pid) == ("rumprun", "/hello.bin", guest.qemu())
    assert (its.memory_mib, its.cpus, its.restarts, its.last_exit, its.history) == (64, 1, 0, None, [])
    assert any(guest.id in word for word in its.command), "the command line does not name the container"
    (eth0,) = view.interfaces
    assert eth0.addresses == [f"{guest.address}/{guest.endpoint.prefix}"], "the addresses are not the guest's"
    assert eth0.tap is not None
    assert eth0.tap.mac == guest.endpoint.mac


def test_inspect_of_a_rejected_container_shows_its_interface(vtapd: Daemon, containers: Containers) -> None:
    rejected = containers.guest(memory="lots")
    vtapd.await_state(rejected.name, "rejected")
    endpoint = rejected.endpoint
    (eth0,) = shown(vtapd, rejected.name).interfaces
    assert (eth0.name, eth0.mac, eth0.tap) == ("eth0", endpoint.mac, None)
    assert eth0.addresses == [f"{endpoint.address}/{endpoint.prefix}"]
    assert rejected.is_untouched()


@pytest.mark.parametrize("by", ["name", "id", "short id"])
def test_container_is_found_by_name_and_id(vtapd: Daemon, containers: Containers, by: str) -> None:
    container = containers.run().await_attached()
    asked = {"name": container.name, "id": container.id, "short id": container.id12}[by]
    assert shown(vtapd, asked).id == container.id


def test_ps_lists_all_containers(vtapd: Daemon, containers: Containers) -> None:
    plain, guest = containers.run().await_attached(), containers.serving_guest()
    rejected = containers.run(labels={"vtapd.kernel": "/hello.bin", "vtapd.memory": "lots"})
    vtapd.await_state(rejected.name, "rejected")
    rows = listed(vtapd)
    assert rows[plain.name].state == "attached"
    assert rows[rejected.name].state == "rejected"
    row = rows[guest.name]
    assert row.id in {guest.id, guest.id12}
    assert row.state in {"running", "ready"}
    assert row.address is not None
    assert guest.address in row.address
    assert row.guest == "rumprun"
    assert row.uptime_s is not None
    assert 0 <= row.uptime_s < 60
    assert row.restarts == 0


def test_tables_contain_the_essentials(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    table = vtapd.command("ps").stdout
    assert re.search(rf"{guest.name}.*(running|ready)", table), table
    assert guest.address in table
    details = vtapd.command("inspect", guest.name).stdout
    for word in (guest.tap_name, guest.endpoint.mac, guest.address, "/hello.bin"):
        assert word in details, details


def test_inspect_of_an_unknown_container_fails(vtapd: Daemon) -> None:
    answer = vtapd.command("inspect", "missing", check=False)
    assert answer.returncode == 1
    assert "missing" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_removed_container_is_forgotten(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    container.remove()
    eventually(lambda: container.name not in listed(vtapd), "ps lists it no longer")
    with pytest.raises(CommandFailed):
        shown(vtapd, container.name)


def test_log_lines_are_json_events(vtapd: Daemon, containers: Containers) -> None:
    """One event a line, named in snake_case, with the container that it is about."""
    container = containers.run().await_attached()
    lines = vtapd.log_lines()
    assert not [line for line in lines if "raw" in line]
    about = [line for line in lines if container.name in line.values() or container.id in str(line)]
    assert about
    for line in about:
        assert re.fullmatch(r"[a-z0-9_]+", str(line["event"])), line


def test_control_socket_is_not_open_to_everyone(vtapd: Daemon) -> None:
    at = vtapd.control_socket.stat()
    assert at.st_mode & 0o007 == 0
    assert at.st_uid == 0
