"""A guest that changes its MAC: QEMU's event is followed, and QEMU is asked no more often than needed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.guest import mac_watch
from supervisor.guest.mac_watch import MacWatch
from supervisor.guest.qmp_monitor import QmpMonitor

from .qmp import FakeQmp, fake_qmp

pytestmark = pytest.mark.anyio
GIVEN, OTHER = "02:42:ac:11:00:02", "02:00:00:00:00:99"
COMMAND = ("qemu", "-device", f"virtio-net-pci,id=nic0,netdev=net0,mac={GIVEN},romfile=")
ASK = "query-rx-filter"


@asynccontextmanager
async def watching(server: FakeQmp, changes: list[str], *, ask_first: bool) -> AsyncIterator[MacWatch]:
    monitor = QmpMonitor(server.path, Cgroup({}, None), patience_s=10.0)
    watch = MacWatch(monitor, COMMAND, lambda: changes.append("changed"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(monitor.run, lambda: None)
        watch.start(tasks, ask_first=ask_first)
        await monitor.answered.wait()
        yield watch
        tasks.cancel_scope.cancel()


async def await_asked(server: FakeQmp, count: int) -> None:
    with anyio.fail_after(10):
        while server.commands.count(ASK) < count:  # noqa: ASYNC110  # the server has no event for it
            await anyio.sleep(0.01)
    await anyio.wait_all_tasks_blocked()


async def test_changed_mac_is_one_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mac_watch, "_PAUSE_S", 0.0)
    changes: list[str] = []
    async with fake_qmp(tmp_path / "qmp") as server, watching(server, changes, ask_first=False) as watch:
        assert ASK not in server.commands, "a start of a guest costs no question"
        with capture_logs() as logged:
            for count, mac in enumerate((GIVEN, OTHER, OTHER), 1):
                server.answers[ASK] = [{"name": "nic0", "main-mac": mac}]
                await server.emit("NIC_RX_FILTER_CHANGED", path="/machine/peripheral/nic0/virtio-backend")
                await await_asked(server, count)
        assert watch.changed == {0: OTHER}
    events = [each for each in logged if each["event"] == "guest_mac_changed"]
    assert [(each["slot"], each["mac"], each["given"]) for each in events] == [(0, OTHER, GIVEN)]
    assert changes == ["changed"]


async def test_adopted_guest_is_asked_at_once(tmp_path: Path) -> None:
    changes: list[str] = []
    async with fake_qmp(tmp_path / "qmp") as server:
        server.answers[ASK] = [{"name": "nic0", "main-mac": OTHER}]
        async with watching(server, changes, ask_first=True) as watch:
            await await_asked(server, 1)
            assert watch.changed == {0: OTHER}


async def test_qemu_that_refuses_is_ignored(tmp_path: Path) -> None:
    changes: list[str] = []
    async with fake_qmp(tmp_path / "qmp") as server, watching(server, changes, ask_first=True) as watch:
        await await_asked(server, 1)
        assert (watch.changed, changes) == ({}, [])
