"""A guest whose state was just saved runs again, whatever QEMU says at which moment.

Only a scripted QEMU refuses `cont` and has finished the save before the next command, each time.
"""

from collections.abc import Mapping

import pytest

from supervisor.edges.qemu import migration
from supervisor.errors import Transient

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
