"""A service on demand has a task while there is something to read, and closes its sockets whichever way it ends."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from supervisor.container.on_demand import OnDemand
from supervisor.errors import Step, Transient

LONG_S = 60.0
_OPENED: list[socket.socket] = []


class Service:
    """Counts what it reads from one end of a pair of sockets."""

    def __init__(self, tasks: anyio.abc.TaskGroup, serve: Callable[["Service"], Awaitable[None]]) -> None:
        self.near, self.far = socket.socketpair()
        _OPENED.append(self.far)
        self.near.setblocking(False)
        self.served: list[bytes] = []
        self.changed = anyio.Event()
        self.demand = OnDemand(tasks, (self.near,), lambda: serve(self))

    def read(self) -> None:
        self.served.append(self.near.recv(100))
        self.changed.set()

    async def send(self, data: bytes) -> None:
        """Return when it was read."""
        self.changed = anyio.Event()
        self.far.send(data)
        await self.changed.wait()

    async def await_closed(self) -> None:
        while self.near.fileno() != -1:  # there is no event for it
            await anyio.lowlevel.checkpoint()


async def read_once(service: Service) -> None:
    service.read()


async def read_for_ever(service: Service) -> None:
    service.read()
    await anyio.sleep_forever()


async def read_and_fail(service: Service) -> None:
    service.read()
    raise Transient("the interface is gone", step=Step.LINK)


def run(test: Callable[[anyio.abc.TaskGroup], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with anyio.fail_after(LONG_S):
            async with anyio.create_task_group() as tasks:
                await test(tasks)

    try:
        anyio.run(bounded)
    finally:
        while _OPENED:
            _OPENED.pop().close()


def test_it_has_a_task_only_while_it_serves() -> None:
    async def test(tasks: anyio.abc.TaskGroup) -> None:
        service, idle = Service(tasks, read_once), len(asyncio.all_tasks())
        for data in (b"one", b"two"):
            await service.send(data)
            await anyio.wait_all_tasks_blocked()
            assert len(asyncio.all_tasks()) == idle
        assert service.served == [b"one", b"two"]
        service.demand.close()
        assert service.near.fileno() == -1

    run(test)


def test_closing_it_ends_the_task_before_the_sockets() -> None:
    async def test(tasks: anyio.abc.TaskGroup) -> None:
        service = Service(tasks, read_for_ever)
        await service.send(b"one")
        service.demand.close()
        service.demand.close()
        assert service.near.fileno() != -1
        await service.await_closed()

    run(test)


def test_failure_ends_it() -> None:
    async def test(tasks: anyio.abc.TaskGroup) -> None:
        service = Service(tasks, read_and_fail)
        await service.send(b"one")
        await service.await_closed()
        assert service.demand.ended

    run(test)


def test_cancelled_group_closes_its_sockets() -> None:
    async def test(_: anyio.abc.TaskGroup) -> None:
        async with anyio.create_task_group() as tasks:
            service = Service(tasks, read_for_ever)
            await service.send(b"one")
            tasks.cancel_scope.cancel()
        assert service.near.fileno() == -1

    run(test)


def test_bug_is_not_caught() -> None:
    async def fail(service: Service) -> None:
        service.read()
        raise KeyError("a bug")

    async def test(tasks: anyio.abc.TaskGroup) -> None:
        await Service(tasks, fail).send(b"one")
        await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup, match="unhandled"):
        run(test)
