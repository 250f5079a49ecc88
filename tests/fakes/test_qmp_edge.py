"""The edge to QMP: what holds against a real QEMU and the fake alike, then the fake's bad manners."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from supervisor.edges.qemu.qmp import QmpSession
from supervisor.edges.unix_sockets import listen
from supervisor.errors import Transient

from .qmp import FakeQmp, fake_qmp

pytestmark = pytest.mark.anyio
DEADLINE_S = 10.0
QEMU = "qemu-system-x86_64"


class Events:
    """What a session told, to be waited for."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []
        self._more = anyio.Event()

    def note(self, name: str, data: dict[str, object]) -> None:
        self.told.append((name, data))
        self._more.set()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.told]

    async def until(self, name: str) -> dict[str, object]:
        with anyio.fail_after(DEADLINE_S):
            while name not in self.names:
                self._more = anyio.Event()
                await self._more.wait()
        return dict(self.told)[name]


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def session(events: Events) -> AsyncIterator[QmpSession]:
    session = QmpSession("test", events.note)
    yield session
    await session.hang_up()


async def connect(session: QmpSession, path: Path) -> None:
    with anyio.fail_after(DEADLINE_S):
        await session.connect(path)


@contextmanager
def real_qemu(path: Path) -> Iterator[int]:
    """The pid of a QEMU without a machine: it converses and runs nothing. It listens where a guest's does."""
    listener = listen(path)
    with subprocess.Popen(
        [QEMU, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S",
         "-chardev", f"socket,id=qmp,fd={listener},server=on,wait=off", "-mon", "chardev=qmp,mode=control"],
        stdin=subprocess.DEVNULL, pass_fds=[listener],
    ) as qemu:  # fmt: skip
        os.close(listener)
        try:
            yield qemu.pid
        finally:
            qemu.kill()


class TestContract:
    """Whoever answers."""

    @pytest.fixture(params=["fake", "qemu"])
    async def server(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path]:
        path = tmp_path / "qmp"
        if request.param == "fake":
            async with fake_qmp(path):
                yield path
            return
        if shutil.which(QEMU) is None:
            pytest.skip(f"{QEMU} is not installed; `make test` installs it")
        with real_qemu(path):
            yield path

    async def test_a_command_has_its_answer(self, server: Path, session: QmpSession) -> None:
        await connect(session, server)
        status = await session.execute("query-status")
        assert isinstance(status, dict)
        assert status["status"] == "prelaunch"

    async def test_a_command_that_is_refused(self, server: Path, session: QmpSession) -> None:
        await connect(session, server)
        with pytest.raises(Transient, match=r"QMP brew-coffee: .*has not been found"):
            await session.execute("brew-coffee", {"cups": 2})
        await session.execute("query-status")

    async def test_an_event_comes_with_its_name(self, server: Path, session: QmpSession, events: Events) -> None:
        await connect(session, server)
        await session.execute("system_powerdown")
        assert await events.until("POWERDOWN") == {}

    async def test_the_last_words_are_heard_before_it_is_closed(
        self, server: Path, session: QmpSession, events: Events
    ) -> None:
        await connect(session, server)
        await session.execute("quit")
        await session.close()
        assert dict(events.told)["SHUTDOWN"]["reason"] == "host-qmp-quit"
        with pytest.raises(Transient):
            await session.execute("query-status")

    async def test_who_hangs_up_leaves_it_to_the_next(self, server: Path, session: QmpSession, events: Events) -> None:
        await connect(session, server)
        await session.hang_up()
        await session.hang_up()
        later = QmpSession("later", events.note)
        await connect(later, server)
        assert await later.execute("query-status")
        await later.hang_up()

    async def test_nobody_there(self, tmp_path: Path, session: QmpSession) -> None:
        with pytest.raises(Transient, match=r"no QMP session on .*none"):
            await connect(session, tmp_path / "none")
        await session.close()


class TestBadManners:
    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[FakeQmp]:
        async with fake_qmp(tmp_path / "qmp") as server:
            yield server

    @pytest.mark.parametrize("size", [1, 2, 7, 64])
    async def test_odd_fragments(self, server: FakeQmp, session: QmpSession, events: Events, size: int) -> None:
        server.fragment_bytes = size
        await connect(session, server.path)
        assert await session.execute("query-status")
        await server.emit("SHUTDOWN", guest=True, reason="guest-reset")
        assert await events.until("SHUTDOWN") == {"guest": True, "reason": "guest-reset"}
        assert server.commands == ["qmp_capabilities", "query-status"]

    async def test_many_events_come_in_their_order_and_none_is_kept(
        self, server: FakeQmp, session: QmpSession, events: Events
    ) -> None:
        await connect(session, server.path)
        for number in range(200):
            await server.emit(f"EVENT_{number}")
        await events.until("EVENT_199")
        assert events.names == [f"EVENT_{number}" for number in range(200)]
        assert session._client.events.empty()

    @pytest.mark.parametrize(
        "greeting",
        [b"hello\r\n", b"{}\r\n", b"[]\r\n", b'{"QMP": 7}\r\n', b"\xff\r\n", b'{"QMP": \r\n', b'{"return": {}}\r\n'],
    )
    async def test_a_greeting_that_is_none(self, server: FakeQmp, session: QmpSession, greeting: bytes) -> None:
        server.greeting = greeting
        with pytest.raises(Transient, match="no QMP session"):
            await connect(session, server.path)

    async def test_silence_lasts_until_the_callers_deadline_and_no_longer(
        self, server: FakeQmp, session: QmpSession
    ) -> None:
        server.greeting = b""
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await session.connect(server.path)
        server.greeting = FakeQmp.greeting
        await session.hang_up()
        await connect(session, server.path)

    async def test_a_command_without_an_answer_can_be_given_up(self, server: FakeQmp, session: QmpSession) -> None:
        await connect(session, server.path)
        server.silent = True
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await session.execute("query-status")
        server.silent = False
        assert await session.execute("query-status")

    @pytest.mark.parametrize("command", ["qmp_capabilities", "query-status"])
    async def test_a_close_instead_of_an_answer(self, server: FakeQmp, session: QmpSession, command: str) -> None:
        server.closes_on = command

        async def converse() -> None:
            await connect(session, server.path)
            await session.execute(command)

        with pytest.raises(Transient):
            await converse()
        await session.close()

    async def test_a_close_at_the_end_of_the_negotiation(self, server: FakeQmp, session: QmpSession) -> None:
        """As of a QEMU that is killed then: the library finds a state that it asserts cannot be."""
        server.closes_after = "qmp_capabilities"

        async def converse() -> None:
            await connect(session, server.path)
            await session.execute("query-status")

        for _ in range(20):
            with pytest.raises(Transient):
                await converse()
            await session.hang_up()

    @pytest.mark.parametrize(
        "garbage",
        [b"garbage\r\n", b"\xff\xfe\r\n", b"[1]\r\n", b"[" * 100_000 + b"\r\n", b'{"return": {}, "id": []}\r\n'],
        ids=["text", "bytes", "a list", "depth", "an odd id"],
    )
    async def test_garbage_ends_the_session_and_nothing_else(
        self, server: FakeQmp, session: QmpSession, events: Events, garbage: bytes
    ) -> None:
        await connect(session, server.path)
        await server.emit("STOP")
        await events.until("STOP")
        await server.write(garbage)
        with anyio.fail_after(DEADLINE_S):
            await session.close()
        with pytest.raises(Transient):
            await session.execute("query-status")

    @pytest.mark.parametrize("data", ["text", 7, None, []])
    async def test_an_event_with_odd_data_has_none(
        self, server: FakeQmp, session: QmpSession, events: Events, data: object
    ) -> None:
        await connect(session, server.path)
        line = f'{{"event": "SHUTDOWN", "data": {data!r}, "timestamp": {{}}}}\r\n'
        await server.write(line.replace("'", '"').replace("None", "null").encode())
        assert await events.until("SHUTDOWN") == {}

    async def test_closing_a_session_that_goes_on_is_bounded(self, server: FakeQmp, session: QmpSession) -> None:
        await connect(session, server.path)
        with anyio.fail_after(DEADLINE_S), anyio.CancelScope() as scope:
            scope.cancel()
            await session.hang_up()
        await session.hang_up()

    async def test_two_may_hang_up_at_once_while_a_third_connects(
        self, server: FakeQmp, session: QmpSession, events: Events
    ) -> None:
        """As when a QEMU ends whose monitor is just being connected again."""

        async def connect_again() -> None:
            while not over:
                with contextlib.suppress(Transient):
                    await session.connect(server.path)
                await session.hang_up()

        over = False
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connect_again)
                for _ in range(20):
                    await session.close()
                    await server.hang_up()
                over = True
        await connect(session, server.path)
        assert await session.execute("query-status")


async def test_descriptors_that_are_passed_at_once_are_not_exchanged(tmp_path: Path, session: QmpSession) -> None:
    """QEMU holds but one of them for the next command."""
    arrived: dict[str, str] = {}

    async def add(name: str) -> None:
        descriptor = os.memfd_create(name)
        try:
            number = await session.add_descriptor(descriptor)
        finally:
            os.close(descriptor)
        sets = await session.execute("query-fdsets")
        assert isinstance(sets, list)
        (there,) = (each["fds"][0]["fd"] for each in sets if each["fdset-id"] == number)
        arrived[name] = os.readlink(f"/proc/{pid}/fd/{there}")  # noqa: PTH115  # reading a link in /proc does not block

    with real_qemu(tmp_path / "qmp") as pid:
        await connect(session, tmp_path / "qmp")
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(add, f"file-{number}")
        assert arrived == {name: f"/memfd:{name} (deleted)" for name in (f"file-{number}" for number in range(10))}


async def test_an_odd_answer_to_a_descriptor(tmp_path: Path, session: QmpSession) -> None:
    async with fake_qmp(tmp_path / "qmp") as server:
        server.takes = ("add-fd",)
        await connect(session, server.path)
        with pytest.raises(Transient, match=r"QMP add-fd: QEMU answered \{\}"):
            await session.add_descriptor(0)


GIVEN_UP_AFTER_TURNS = 60
"""Of the loop: by then a connection is made, one piece of the greeting after another."""


@pytest.mark.parametrize("closes_on", [None, "qmp_capabilities"])
async def test_a_connection_may_be_given_up_at_any_moment(tmp_path: Path, closes_on: str | None) -> None:
    """A QEMU that ends while it is connected to: whoever waits is told nothing but that, and another try succeeds."""
    async with fake_qmp(tmp_path / "qmp") as server:
        server.fragment_bytes = 16
        for turns in range(GIVEN_UP_AFTER_TURNS):
            server.closes_on = closes_on
            session = QmpSession("test", lambda _name, _data: None)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_connect_or_not, session, server.path)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            server.closes_on = None
            await session.hang_up()
            await connect(session, server.path)
            assert await session.execute("query-status")
            await session.hang_up()


async def _connect_or_not(session: QmpSession, path: Path) -> None:
    with contextlib.suppress(Transient):
        await session.connect(path)
