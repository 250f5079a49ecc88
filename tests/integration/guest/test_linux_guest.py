"""How a Linux guest ends. Its labels come from the image; test_foreign_guests.py tests its crashes."""

import json
import time

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine, built
from tests.harness.observe import network, qemus_of
from tests.harness.processes import is_alive
from tests.harness.waiting import eventually

BOOT_S = 40.0
DOCKERS_PATIENCE_S = 60

pytestmark = pytest.mark.timeout(150)


def booted(machine: Machine, containers: Containers, **labels: str) -> Container:
    changes = {f"vtapd.{name.replace('_', '-')}": value for name, value in labels.items()}
    guest = containers.run(labels=changes, image=machine.linux_image)
    guest.await_page(BOOT_S)
    return guest


def test_vmlinux_is_recognised_boots_and_is_restarted(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """This is the ELF file inside Debian's bzImage; QEMU starts it by its PVH note."""
    labels = {"vtapd.kernel": "/vmlinux", "vtapd.guest": "auto", "vtapd.memory": "160M"}
    guest = containers.create(labels=labels, image=machine.linux_image)
    machine.put(built("vmlinux")[0].read_bytes(), guest.id, "/vmlinux")
    guest.start()
    guest.await_page(BOOT_S)
    view = vtapd.inspect(guest.name).only_guest
    assert (view.kind, view.kind_because) == ("linux", "the image has a PVH note and Linux's banner")
    info = json.loads(guest.get("/cgi-bin/info").body)
    assert (info["mac"], info["mtu"]) == (guest.endpoint.mac, 1500)
    eventually(lambda: "linux-guest: serving" in guest.logs(), "its console is in docker logs")
    guest.trigger("/cgi-bin/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted after the panic", BOOT_S)
    guest.await_page(BOOT_S)


def test_power_off_is_a_clean_end(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    guest = booted(machine, containers, on_exit="keep")
    guest.trigger("/cgi-bin/poweroff")
    view = vtapd.await_state(guest.name, "exited")
    assert (view.only_guest.kind, view.only_guest.restarts) == ("linux", 0)
    eventually(
        lambda: any(address.startswith(guest.address) for address in network(guest.pid).addresses),
        "the container has its address back",
    )


def test_docker_stop_presses_the_power_button(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    guest = booted(machine, containers, stop_timeout=f"{DOCKERS_PATIENCE_S}s")
    qemu, began = guest.qemu(), time.monotonic()
    guest.stop(DOCKERS_PATIENCE_S)
    assert time.monotonic() - began < DOCKERS_PATIENCE_S / 2, "the stop took longer than the guest"
    assert not is_alive(qemu)
    assert "linux-guest: power button" in guest.logs()
    assert "Power down" in guest.logs()
    eventually(lambda: not qemus_of(guest.id), "QEMU is gone")
    assert not guest.is_running()
