"""Save the test guest's state in one QEMU and load it into another one: what restart, standby and sleep are built on.

QEMU's user network has no state that could go along, so each test asks the guest again over another connection.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from supervisor.edges.qemu import migration
from supervisor.edges.qemu.qmp import QmpSession
from supervisor.errors import Permanent, Transient
from supervisor.lazy_event import LazyEvent

from .booting import CONFIG, DEADLINE_S, Guest, booted

pytestmark = pytest.mark.anyio
MEMORY_MIB = 8


class Qmp:
    """What the migration edge needs of one QEMU."""

    def __init__(self) -> None:
        self.session = QmpSession(self._note_event)
        self.migration_ended = LazyEvent()

    @property
    def version(self) -> tuple[int, int]:
        return self.session.version

    async def add_descriptor(self, descriptor: int) -> int:
        return await self.session.add_descriptor(descriptor)

    def _note_event(self, name: str, data: dict[str, object]) -> None:
        if migration.is_end(name, data):
            self.migration_ended.set()
            self.migration_ended = LazyEvent()

    async def execute(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        return await self.session.execute(command, arguments, descriptors)


@asynccontextmanager
async def connected(guest: Guest) -> AsyncIterator[Qmp]:
    qmp = Qmp()
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                await qmp.session.connect(guest.qmp)
                break
            except Transient:
                qmp.session.hang_up()
                await anyio.sleep(0.01)
    try:
        yield qmp
    finally:
        qmp.session.hang_up()


def in_file(path: Path, *, share: bool) -> tuple[str, ...]:
    ram = f"memory-backend-file,id=ram,size={MEMORY_MIB}M,mem-path={path},share={'on' if share else 'off'}"
    return ("-object", ram, "-machine", "memory-backend=ram")


class Qemus:
    """Boots guests with the same words, each in a folder of its own."""

    def __init__(self, folder: Path, owned: ExitStack) -> None:
        self._folder = folder
        self._owned = owned
        self._count = 0
        self.memory = folder / "memory"
        self.state = folder / "state"

    def boot(self, *more: str) -> Guest:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return self._owned.enter_context(booted(folder, "-append", CONFIG, *more))

    def waiting(self, *more: str) -> Guest:
        return self.boot("-incoming", "defer", *more)

    @contextmanager
    def opened(self, flags: int) -> Iterator[int]:
        descriptor = os.open(self.state, flags, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@pytest.fixture
def qemus(tmp_path: Path) -> Iterator[Qemus]:
    with ExitStack() as owned:
        yield Qemus(tmp_path, owned)


def requests(guest: Guest) -> int:
    return int(guest.info()["requests"])


async def save(qemus: Qemus, qmp: Qmp, *, with_memory: bool, deadline_s: float = DEADLINE_S) -> None:
    with qemus.opened(os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as target:
        await migration.prepare(qmp.execute, with_memory=with_memory)
        await migration.save(qmp, target, deadline_s=deadline_s)


async def load(qemus: Qemus, qmp: Qmp, *, with_memory: bool) -> None:
    with qemus.opened(os.O_RDONLY) as source:
        await migration.prepare(qmp.execute, with_memory=with_memory)
        await migration.load(qmp, source, deadline_s=DEADLINE_S)


@pytest.mark.parametrize("with_memory", [True, False])
async def test_guest_goes_on_in_another_qemu(qemus: Qemus, with_memory: bool) -> None:
    writing, reading = (() if with_memory else in_file(qemus.memory, share=share) for share in (True, False))
    first, second = qemus.boot(*writing), qemus.waiting(*reading)
    first.wait_for("serving on")
    asked = [requests(first) for _ in range(3)][-1]
    async with connected(first) as source, connected(second) as target:
        assert await migration.is_running(source.execute)
        assert not await migration.is_running(target.execute)
        await migration.pause(source.execute)
        await save(qemus, source, with_memory=with_memory)
        first.process.kill()
        await load(qemus, target, with_memory=with_memory)
        assert not await migration.is_running(target.execute)
        await migration.resume(target.execute)
        assert await migration.is_running(target.execute)
    assert requests(second) == asked + 1
    assert "serving on" not in second.console(), "it was not booted"


async def test_state_serves_again_and_again(qemus: Qemus) -> None:
    first = qemus.boot(*in_file(qemus.memory, share=True))
    first.wait_for("serving on")
    asked = requests(first)
    async with connected(first) as source:
        await migration.pause(source.execute)
        await save(qemus, source, with_memory=False)
    first.process.kill()
    for _ in range(2):
        restored = qemus.waiting(*in_file(qemus.memory, share=False))
        async with connected(restored) as target:
            await load(qemus, target, with_memory=False)
            await migration.resume(target.execute)
        assert [requests(restored) for _ in range(3)] == [asked + 1, asked + 2, asked + 3]


async def test_guest_runs_on_if_its_state_is_not_saved_in_time(qemus: Qemus) -> None:
    guest = qemus.boot()
    guest.wait_for("serving on")
    reading, writing = os.pipe()
    try:
        async with connected(guest) as qmp:
            await migration.prepare(qmp.execute, with_memory=True)
            await migration.pause(qmp.execute)
            with pytest.raises(Transient, match=r"does not save the guest's state within 0\.2 s"):
                await migration.save(qmp, writing, deadline_s=0.2)  # no process reads the pipe
            await migration.resume(qmp.execute)
            assert requests(guest) > 0
    finally:
        os.close(reading)
        os.close(writing)


async def test_state_that_is_cut_off_is_refused(qemus: Qemus) -> None:
    first, second = qemus.boot(), qemus.waiting()
    first.wait_for("serving on")
    async with connected(first) as source, connected(second) as target:
        await migration.pause(source.execute)
        await save(qemus, source, with_memory=True)
        os.truncate(qemus.state, qemus.state.stat().st_size // 2)
        with pytest.raises((Permanent, Transient)):
            await load(qemus, target, with_memory=True)
        await migration.resume(source.execute)
    assert requests(first) > 0


async def test_state_of_another_machine_is_refused(qemus: Qemus) -> None:
    first, second = qemus.boot(), qemus.waiting("-device", "pvpanic")
    first.wait_for("serving on")
    async with connected(first) as source, connected(second) as target:
        await migration.pause(source.execute)
        await save(qemus, source, with_memory=True)
        qemus.state.write_bytes(qemus.state.read_bytes().replace(b"virtio-net", b"another-net"))
        with pytest.raises((Permanent, Transient)):
            await load(qemus, target, with_memory=True)
