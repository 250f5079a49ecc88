"""A reload builds new settings, and keeps what the new configuration does not change."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import msgspec
import pytest

from supervisor.config import Config, GuestTable
from supervisor.core.container import Pid, User
from supervisor.edges.kernel.process import start_ticks
from supervisor.errors import Permanent, Step
from supervisor.guest.confinement import Confinement
from supervisor.guest.reaper import Reaper
from supervisor.guest.settings import Settings
from supervisor.guest.uids import UidPool

USER = User("vtapd-guest", os.getuid(), os.getgid(), ())
ANOTHER = User("nobody", 65534, 65534, ())
REAPER = Reaper(Path("/nowhere"))


def config(**guest: str) -> Config:
    table = {"qemu": "/usr/bin/qemu", "sandbox": "off", "uids": ""} | guest
    return Config(guest=msgspec.structs.replace(GuestTable(), **table))


def reconfigured(to: Config, user: User = USER) -> tuple[Settings, Settings]:
    async def change() -> tuple[Settings, Settings]:
        before = await Settings.of(config(), USER, REAPER)
        return before, await before.reconfigured(to, user)

    return anyio.run(change)


def test_configuration_that_changes_nothing_for_qemu_keeps_its_sandbox_and_accelerator() -> None:
    before, after = reconfigured(config(memory="128M"))
    assert after.config.guest.memory != before.config.guest.memory
    assert after.confinement is before.confinement
    assert after.accelerator is before.accelerator


@pytest.mark.parametrize(
    ("to", "user"), [(config(qemu="/opt/qemu"), USER), (config(), ANOTHER), (config(sandbox="auto"), USER)]
)
def test_another_program_user_or_mode_gets_another_sandbox(to: Config, user: User) -> None:
    before, after = reconfigured(to, user)
    assert after.confinement is not before.confinement
    assert (after.accelerator is before.accelerator) == (to.guest.sandbox == "auto")
    assert (after.config, after.user) == (to, user)


def test_guests_that_run_keep_their_uids() -> None:
    me = Pid(os.getpid())
    running = UidPool(USER, range(7, 9), {7: (me, start_ticks(me))})

    async def change() -> User:
        before = replace(await Settings.of(config(), USER, REAPER), uids=running)
        return (await before.reconfigured(config(uids="7-8"), USER)).uids.next_user()

    assert anyio.run(change).uid == 8


def test_guests_that_are_starting_keep_their_uids() -> None:
    """A guest has its UID from before its process is there, and a reload may come in between."""
    pool = UidPool(USER, range(7, 10))
    given = pool.next_user().uid
    assert pool.reconfigured(USER, range(7, 10)).next_user().uid != given


def test_required_sandbox_that_cannot_be_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_confinement: Confinement, _owned: ExitStack) -> None:
        raise Permanent("QEMU does not run in a file system of its own", step=Step.SANDBOX)

    monkeypatch.setattr(Confinement, "launch_environment", refuse)
    with pytest.raises(Permanent):
        reconfigured(config(sandbox="required"))
    reconfigured(config(sandbox="auto"))
