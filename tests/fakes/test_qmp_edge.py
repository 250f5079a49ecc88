"""The QMP edge: a contract that a real QEMU and the fake fulfil, then the faults of the fake."""

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
    """The events of a session."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, object]]] = []
        self._more = anyio.Event()

    def note(self, name: str, data: dict[str, object]) -> None:
        self.received.append((name, data))
        self._more.set()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.received]

    async def wait_for(self, name: str) -> dict[str, object]:
        with anyio.fail_after(DEADLINE_S):
            while name not in self.names:
                self._more = anyio.Event()
                await self._more.wait()
        return dict(self.received)[name]


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def session(events: Events) -> AsyncIterator[QmpSession]:
    session = QmpSession(events.note)
    yield session
    session.hang_up()


async def connect(session: QmpSession, path: Path) -> None:
    with anyio.fail_after(DEADLINE_S):
        await session.connect(path)


@contextmanager
def real_qemu(path: Path) -> Iterator[int]:
    """Run a QEMU without a machine, and yield its pid. It answers QMP and runs nothing."""
    listener = listen(path).detach()
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
    """What holds for the fake and for QEMU."""

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

    async def test_command_is_answered(self, server: Path, session: QmpSession) -> None:
        await connect(session, server)
        status = await session.execute("query-status")
        assert isinstance(status, dict)
        assert status["status"] == "prelaunch"

    async def test_refused_command_is_transient(self, server: Path, session: QmpSession) -> None:
        await connect(session, server)
        with pytest.raises(Transient, match=r"QMP brew-coffee: .*has not been found"):
            await session.execute("brew-coffee", {"cups": 2})
        await session.execute("query-status")

    async def test_event_has_its_name(self, server: Path, session: QmpSession, events: Events) -> None:
        await connect(session, server)
        await session.execute("system_powerdown")
        assert await events.wait_for("POWERDOWN") == {}

    async def test_last_event_is_received_before_the_session_closes(
        self, server: Path, session: QmpSession, events: Events
    ) -> None:
        await connect(session, server)
        await session.execute("quit")
        await session.close()
        assert dict(events.received)["SHUTDOWN"]["reason"] == "host-qmp-quit"
        with pytest.raises(Transient):
            await session.execute("query-status")

    async def test_next_session_can_connect_after_a_hang_up(
        self, server: Path, session: QmpSession, events: Events
    ) -> None:
        await connect(session, server)
        session.hang_up()
        session.hang_up()
        later = QmpSession(events.note)
        await connect(later, server)
        assert await later.execute("query-status")
        later.hang_up()

    async def test_missing_socket_is_transient(self, tmp_path: Path, session: QmpSession) -> None:
        with pytest.raises(Transient, match=r"no QMP session on .*none"):
            await connect(session, tmp_path / "none")
        await session.close()


class TestFaults:
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
        assert await events.wait_for("SHUTDOWN") == {"guest": True, "reason": "guest-reset"}
        assert server.commands == ["qmp_capabilities", "query-status"]

    async def test_many_events_arrive_in_order_and_none_is_kept(
        self, server: FakeQmp, session: QmpSession, events: Events
    ) -> None:
        await connect(session, server.path)
        for number in range(200):
            await server.emit(f"EVENT_{number}")
        await events.wait_for("EVENT_199")
        assert events.names == [f"EVENT_{number}" for number in range(200)]

    @pytest.mark.parametrize(
        "greeting",
        [b"hello\r\n", b"{}\r\n", b"[]\r\n", b'{"QMP": 7}\r\n', b"\xff\r\n", b'{"QMP": \r\n', b'{"return": {}}\r\n'],
    )
    async def test_wrong_greeting_is_transient(self, server: FakeQmp, session: QmpSession, greeting: bytes) -> None:
        server.greeting = greeting
        with pytest.raises(Transient, match="no QMP session"):
            await connect(session, server.path)

    async def test_connecting_to_a_silent_server_can_time_out(self, server: FakeQmp, session: QmpSession) -> None:
        server.greeting = b""
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await session.connect(server.path)
        server.greeting = FakeQmp.greeting
        session.hang_up()
        await connect(session, server.path)

    async def test_command_without_an_answer_can_time_out(self, server: FakeQmp, session: QmpSession) -> None:
        await connect(session, server.path)
        server.silent = True
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await session.execute("query-status")
        server.silent = False
        assert await session.execute("query-status")

    @pytest.mark.parametrize("command", ["qmp_capabilities", "query-status"])
    async def test_close_instead_of_an_answer_is_transient(
        self, server: FakeQmp, session: QmpSession, command: str
    ) -> None:
        server.closes_on = command

        async def connect_and_execute() -> None:
            await connect(session, server.path)
            await session.execute(command)

        with pytest.raises(Transient):
            await connect_and_execute()
        await session.close()

    async def test_close_after_the_negotiation_is_transient(self, server: FakeQmp, session: QmpSession) -> None:
        """A QEMU that is killed at this moment does this; the library then fails an assertion of its own."""
        server.closes_after = "qmp_capabilities"

        async def connect_and_execute() -> None:
            await connect(session, server.path)
            await session.execute("query-status")

        for _ in range(20):
            with pytest.raises(Transient):
                await connect_and_execute()
            session.hang_up()

    @pytest.mark.parametrize(
        "garbage",
        [b"garbage\r\n", b"\xff\xfe\r\n", b"[1]\r\n", b"[" * 100_000 + b"\r\n", b'{"return": {}, "id": []}\r\n'],
        ids=["text", "bytes", "list", "deep nesting", "odd id"],
    )
    async def test_garbage_ends_only_the_session(
        self, server: FakeQmp, session: QmpSession, events: Events, garbage: bytes
    ) -> None:
        await connect(session, server.path)
        await server.emit("STOP")
        await events.wait_for("STOP")
        await server.write(garbage)
        with anyio.fail_after(DEADLINE_S):
            await session.close()
        with pytest.raises(Transient):
            await session.execute("query-status")

    @pytest.mark.parametrize("data", ["text", 7, None, []])
    async def test_malformed_event_data_is_dropped(
        self, server: FakeQmp, session: QmpSession, events: Events, data: object
    ) -> None:
        await connect(session, server.path)
        line = f'{{"event": "SHUTDOWN", "data": {data!r}, "timestamp": {{}}}}\r\n'
        await server.write(line.replace("'", '"').replace("None", "null").encode())
        assert await events.wait_for("SHUTDOWN") == {}

    async def test_hanging_up_works_after_a_cancelled_close(self, server: FakeQmp, session: QmpSession) -> None:
        await connect(session, server.path)
        with anyio.fail_after(DEADLINE_S), anyio.CancelScope() as scope:
            scope.cancel()
            await session.close()
        session.hang_up()
        with pytest.raises(Transient):
            await session.execute("query-status")

    async def test_two_may_hang_up_while_a_third_connects(
        self, server: FakeQmp, session: QmpSession, events: Events
    ) -> None:
        """This happens if a QEMU ends while its monitor is being connected again."""

        async def connect_again() -> None:
            while not over:
                with contextlib.suppress(Transient):
                    await session.connect(server.path)
                session.hang_up()

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


async def test_descriptors_passed_concurrently_are_not_exchanged(tmp_path: Path, session: QmpSession) -> None:
    """QEMU keeps only one descriptor for the next command."""
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


async def test_wrong_answer_to_add_fd_is_transient(tmp_path: Path, session: QmpSession) -> None:
    async with fake_qmp(tmp_path / "qmp") as server:
        server.takes = ("add-fd",)
        await connect(session, server.path)
        with pytest.raises(Transient, match=r"QMP add-fd: QEMU answered \{\}"):
            await session.add_descriptor(0)


GIVEN_UP_AFTER_TURNS = 60
"""Turns of the event loop: enough to connect, with the greeting in pieces."""


@pytest.mark.parametrize("closes_on", [None, "qmp_capabilities"])
async def test_connection_attempt_can_be_cancelled_at_any_moment(tmp_path: Path, closes_on: str | None) -> None:
    """As when a QEMU ends while it is connected to: the waiting task sees only the cancel, and another try succeeds."""
    async with fake_qmp(tmp_path / "qmp") as server:
        server.fragment_bytes = 16
        for turns in range(GIVEN_UP_AFTER_TURNS):
            server.closes_on = closes_on
            session = QmpSession(lambda _name, _data: None)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_connect_or_not, session, server.path)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            server.closes_on = None
            session.hang_up()
            await connect(session, server.path)
            assert await session.execute("query-status")
            session.hang_up()


async def _connect_or_not(session: QmpSession, path: Path) -> None:
    with contextlib.suppress(Transient):
        await session.connect(path)
