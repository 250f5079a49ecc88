"""What the migration edge does with a QEMU that answers at the worst moment, or is of another version.

Only a scripted QEMU refuses `cont` and has finished the save before the next command, each time.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.edges.qemu import migration
from supervisor.errors import Transient
from supervisor.lazy_event import LazyEvent

pytestmark = pytest.mark.anyio
SAVING, SAVED = "finish-migrate", "postmigrate"


class ScriptedQemu:
    """Refuses `cont` as often as there are states, and gives one of them for each query."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.refusals = len(states)
        self.commands: list[str] = []

    async def execute(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        self.commands.append(command)
        if command == "query-status":
            return {"running": False, "status": self.states.pop(0)}
        if self.refusals:
            self.refusals -= 1
            raise Transient("Migration is not finalized yet")
        return {}


@pytest.mark.parametrize("states", [(), (SAVED,), (SAVING,), (SAVING, SAVING, SAVED)])
async def test_guest_runs_once_the_save_is_finished(states: tuple[str, ...]) -> None:
    qemu = ScriptedQemu(*states)
    await migration.resume(qemu.execute)
    assert qemu.commands == ["cont"] + ["query-status", "cont"] * len(states)


async def test_refusal_after_the_save_is_an_error() -> None:
    qemu = ScriptedQemu(SAVING, SAVED, SAVED)
    with pytest.raises(Transient, match="not finalized"):
        await migration.resume(qemu.execute)
    assert qemu.commands == ["cont", "query-status", "cont", "query-status", "cont"]


class SavingQemu:
    """Takes every command, and has finished a save or a load at once."""

    def __init__(self, *version: int) -> None:
        self.version = (version[0], version[1])
        self.migration_ended = LazyEvent()
        self.commands: list[tuple[str, object]] = []
        self.modes: list[int] = []

    async def add_descriptor(self, descriptor: int) -> int:
        self.modes.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
        return 7

    async def execute(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        self.commands.append((command, arguments.get("uri") or arguments.get("fdset-id")))
        return {"status": "completed"}


@pytest.mark.parametrize("version", [(9, 1), (11, 1)])
async def test_newer_qemu_gets_a_file_by_name(version: tuple[int, int], tmp_path: Path) -> None:
    """It refuses one as `fd:`, and a descriptor that was opened in another mode."""
    qemu = SavingQemu(*version)
    with (tmp_path / "state").open("w+b", buffering=0) as state:
        state.write(b"12345")
        await migration.save(qemu, state.fileno(), deadline_s=5)
        state.seek(2)
        await migration.load(qemu, state.fileno(), deadline_s=5)
    sent = [each for each in qemu.commands if each[0] != "query-migrate"]
    assert sent == [
        ("migrate", "file:/dev/fdset/7,offset=5"),
        ("remove-fd", 7),
        ("migrate-incoming", "file:/dev/fdset/7,offset=2"),
        ("remove-fd", 7),
    ]
    assert qemu.modes == [os.O_WRONLY, os.O_RDONLY]


async def test_older_qemu_gets_it_as_a_descriptor(tmp_path: Path) -> None:
    qemu = SavingQemu(9, 0)
    with (tmp_path / "state").open("w+b", buffering=0) as state:
        await migration.save(qemu, state.fileno(), deadline_s=5)
    assert qemu.commands == [("migrate", "fd:vtapd-state"), ("query-migrate", None)]
    assert qemu.modes == []
