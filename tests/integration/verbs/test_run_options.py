"""The options of docker run, as a guest meets them."""

import shutil
import time

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import tap_name
from tests.images.container import GUEST

from ..guest.test_exit_status import KILLED, TERMINATED, await_status

MAC, ADDRESS, ADDRESS6 = "02:42:ac:77:00:09", "192.168.74.9", "fd00:74::9"
NETWORK = ("--subnet", "192.168.74.0/24", "--ipv6", "--subnet", "fd00:74::/64")
USER = "1234:1234"


def assert_ends_of_a_process(guest: Container) -> None:
    """Assert that the guest's exit code is the container's, and that docker stop is graceful."""
    guest.trigger("/exit?code=7")
    assert await_status(guest) == 7
    again = guest.start()
    again.await_page()
    again.stop(60)
    assert again.docker_state()["ExitCode"] == TERMINATED


def test_init_that_forwards_signals(vtapd: Daemon, containers: Containers) -> None:
    """With vtapd-init below it, docker stop is as graceful, and the exit status is the guest's."""
    guest = containers.guest_behind_init("--init", restart="no")
    guest.await_page()
    assert guest.exec("cat", "/proc/1/comm") == "docker-init"
    assert_ends_of_a_process(guest)


def test_init_whose_command_ends_at_once_takes_its_guest_along(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--init")
    began = time.monotonic()
    guest.stop(60)
    assert time.monotonic() - began < 30
    assert guest.docker_state()["ExitCode"] == TERMINATED
    ends = [line["reason"] for line in vtapd.log_lines() if line.get("event") == "guest_exited"]
    assert ends[-1] in ("stopped", "container-gone")


def test_entrypoint_replaces_the_first_process(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """The command is that process's own then, and not the guest's."""
    image, sleep = machine.init_image, ("--entrypoint", "/bin/sleep")
    guest = containers.run(*sleep, labels={"vtapd.kernel": "/hello.bin"}, image=image, command=("infinity",))
    guest.await_page()
    assert "infinity" not in guest.info()["cmdline"]
    assert guest.exec("cat", "/proc/1/comm") == "sleep"


def test_user_is_that_of_the_first_process_alone(vtapd: Daemon, containers: Containers) -> None:
    """QEMU has a user of its own, and vtapd-init needs no rights to wait for it."""
    guest = containers.guest_behind_init("--user", USER, restart="no")
    guest.await_page()
    assert guest.exec("id", "-u") == USER.split(":", maxsplit=1)[0]
    assert_ends_of_a_process(guest)


def test_read_only_container_has_a_guest(vtapd: Daemon, containers: Containers) -> None:
    """A disk that the guest would write to must be in a volume, or be `:ro`; the message says so."""
    disk = "/hello-nanos.img"
    guest = containers.guest_behind_init("--read-only", restart="no", **{"disk.0": f"{disk}:ro"})
    refused = containers.guest_behind_init("--read-only", **{"disk.0": disk})
    message = vtapd.await_state(refused.name, "rejected").message
    assert f"label vtapd.disk.0: cannot use '{disk}' of the container: Read-only file system" in message
    assert "put it into a volume, or add :ro to its path if it is a disk" in message
    guest.await_page()
    guest.trigger("/exit?code=7")
    assert await_status(guest) == 7


def test_stop_timeout_bounds_the_time_for_a_guest(vtapd: Daemon, containers: Containers) -> None:
    """It goes before the label's: Docker kills the container, and the guest with it."""
    guest = containers.guest_behind_init("--stop-timeout", "1", guest="raw", stop_timeout="60s")
    vtapd.await_state(guest.name, "running")
    began = time.monotonic()
    guest.machine.docker("stop", guest.id)
    assert time.monotonic() - began < 30
    assert guest.docker_state()["ExitCode"] == KILLED


def test_mac_is_the_guests(vtapd: Daemon, containers: Containers) -> None:
    network = {"EndpointsConfig": {"bridge": {"MacAddress": MAC}}}
    guest = containers.run_by_api({"vtapd.kernel": "/hello.bin"}, MacAddress=MAC, NetworkingConfig=network)
    guest.await_page()
    assert guest.endpoint.mac == guest.info()["mac"] == MAC
    assert guest.macvtap(tap_name(MAC)).mac == MAC


def test_addresses_are_the_guests(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--network", containers.network(*NETWORK), "--ip", ADDRESS, "--ip6", ADDRESS6)
    info = guest.info()
    assert (info["addr"], info["ip6"]) == (ADDRESS, f"{ADDRESS6}/64")


def test_kernel_of_a_volume_is_booted(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    folder = machine.home / "kernels"
    folder.mkdir(exist_ok=True)
    shutil.copy(GUEST, folder / "app.bin")
    containers.serving_guest("-v", f"{folder}:/kernels:ro", kernel="/kernels/app.bin")


def test_all_exposed_ports_reach_the_guest(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    guest = containers.serving_guest("--expose", "80", "-P")
    where = machine.docker("port", guest.id, "80").splitlines()[0]
    assert machine.http(f"http://127.0.0.1:{where.rpartition(':')[2]}/").status == 200


def test_container_in_a_guests_network_has_none(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """The guest has taken over the addresses. It is not disturbed when the other container starts and ends."""
    guest = containers.serving_guest()
    qemu = guest.qemu()
    other = containers.run("--network", f"container:{guest.id}")
    assert "another container's network" in vtapd.await_state(other.name, "skipped").message
    assert guest.address not in other.exec("ip", "address")
    second = containers.guest("--network", f"container:{guest.id}")
    assert "asks for a guest, but" in vtapd.await_state(second.name, "rejected").message
    assert guest.get().status == 200
    for each in (other, second):
        each.remove()
    assert guest.get().status == 200
    assert guest.qemu() == qemu
