"""The state of a guest that falls asleep is kept in a file, and the guest goes on in another QEMU."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from supervisor.core.container import ContainerId
from supervisor.core.record import Sleep
from supervisor.edges.qemu import migration
from supervisor.edges.qemu.state_files import StateFiles
from supervisor.errors import Permanent, Transient
from supervisor.guest.kept_state import load_state, save_state

from .test_saved_state import Qemus, connected, requests

pytestmark = pytest.mark.anyio
ID = ContainerId("c0ffee" + "0" * 58)
MEMORY_BYTES = 8 << 20


@pytest.fixture
def qemus(tmp_path: Path) -> Iterator[Qemus]:
    with ExitStack() as owned:
        yield Qemus(tmp_path, owned)


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    return StateFiles(tmp_path / "a" / "folder")


def kept(size_bytes: int) -> Sleep:
    return Sleep("suspend", "no packets", ends=True, state_bytes=size_bytes)


async def test_guest_goes_on_from_its_file(qemus: Qemus, files: StateFiles, tmp_path: Path) -> None:
    first, second = qemus.boot(), qemus.waiting()
    first.wait_for("serving on")
    asked = requests(first)
    async with connected(first) as source, connected(second) as target:
        size = await save_state(files, ID, source, MEMORY_BYTES)
        (file,) = (tmp_path / "a" / "folder").iterdir()
        assert (file.stat().st_size, file.stat().st_mode & 0o777) == (size, 0o600)
        first.process.kill()
        await migration.prepare(target.execute, with_memory=True)
        await load_state(files, ID, target, kept(size))
        assert requests(second) == asked + 1
    files.remove(ID)
    assert not file.exists()


async def test_state_that_is_saved_again_is_that_of_now(qemus: Qemus, files: StateFiles) -> None:
    """A daemon may be killed after a save, and the next one saves again."""
    first, second = qemus.boot(), qemus.waiting()
    first.wait_for("serving on")
    async with connected(first) as source, connected(second) as target:
        await save_state(files, ID, source, MEMORY_BYTES)
        await migration.resume(source.execute)
        asked = requests(first)
        await save_state(files, ID, source, MEMORY_BYTES)
        size = await save_state(files, ID, source, MEMORY_BYTES)
        first.process.kill()
        await migration.prepare(target.execute, with_memory=True)
        await load_state(files, ID, target, kept(size))
        assert requests(second) == asked + 1


async def test_guest_runs_on_if_its_state_is_too_large(
    qemus: Qemus, files: StateFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.guest.kept_state._DEVICES_BYTES", 1000)
    guest = qemus.boot()
    guest.wait_for("serving on")
    asked = requests(guest)
    async with connected(guest) as qmp:
        with pytest.raises(Transient, match="larger than 1000 bytes"):
            await save_state(files, ID, qmp, 0)
        assert list((tmp_path / "a" / "folder").iterdir()) == []
        await migration.resume(qmp.execute)
        assert requests(guest) == asked + 1


@pytest.mark.parametrize("size", [1000, 0])
async def test_file_of_another_size_is_not_loaded(qemus: Qemus, files: StateFiles, size: int) -> None:
    with files.writing(ID) as target:
        os.write(target, bytes(500))
    waiting = qemus.waiting()
    async with connected(waiting) as qmp:
        with pytest.raises(Permanent, match=f"has 500 bytes instead of {size}"):
            await load_state(files, ID, qmp, kept(size))


async def test_files_of_other_containers_are_swept(files: StateFiles) -> None:
    files.sweep(())
    other = ContainerId("f" * 64)
    for each in (ID, other):
        with files.writing(each) as target:
            os.write(target, b"state")
    files.sweep({ID})
    with files.reading(ID, 5), pytest.raises(Permanent, match="No such file"), files.reading(other, 5):
        pass
