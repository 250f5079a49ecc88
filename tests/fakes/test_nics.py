"""Network cards that are added to a guest while it runs."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.qemu_inputs import Card
from supervisor.core.kinds.kind import Machine
from supervisor.errors import Transient
from supervisor.guest.nics import Nics
from supervisor.guest.qmp_monitor import QmpMonitor

from .qmp import FakeQmp, fake_qmp

pytestmark = pytest.mark.anyio
TAKEN = ("getfd", "qom-list", "netdev_add", "netdev_del", "device_del")


@pytest.fixture
def card() -> Iterator[Card]:
    queue = os.open(os.devnull, os.O_RDWR)
    yield Card(64, (queue,), "02:42:ac:12:00:05", 1400)
    os.close(queue)


@asynccontextmanager
async def nics(server: FakeQmp, machine: Machine) -> AsyncIterator[Nics]:
    monitor = QmpMonitor(server.path, Cgroup({}, None), patience_s=10.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(monitor.run, lambda: None)
        yield Nics(monitor, machine)
        tasks.cancel_scope.cancel()


async def test_plugged_card_is_of_the_machine_s_model(tmp_path: Path, card: Card) -> None:
    async with fake_qmp(tmp_path / "qmp") as server, nics(server, Machine(nic="virtio-net-device")) as cards:
        server.takes = (*TAKEN, "device_add")
        await cards.plug(card)
    assert server.arguments[server.commands.index("device_add")] == {
        "driver": "virtio-net-device",
        "id": "nic64",
        "netdev": "net64",
        "mac": "02:42:ac:12:00:05",
        "host_mtu": 1400,
        "romfile": "",
    }


async def test_card_that_the_machine_refuses_leaves_no_netdev(tmp_path: Path, card: Card) -> None:
    async with fake_qmp(tmp_path / "qmp") as server, nics(server, Machine()) as cards:
        server.takes = TAKEN
        with pytest.raises(Transient, match="device_add"):
            await cards.plug(card)
    assert server.commands[-2:] == ["device_add", "netdev_del"]


async def test_unplugged_card_loses_its_tap_before_it_is_released(tmp_path: Path) -> None:
    async with fake_qmp(tmp_path / "qmp") as server, nics(server, Machine()) as cards:
        server.takes = TAKEN
        await cards.unplug(64)
    assert server.commands[-2:] == ["netdev_del", "device_del"]
