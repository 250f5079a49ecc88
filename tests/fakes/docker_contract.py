"""The contract of vtapd's Docker edge, for the fake in tests/fakes and for a real dockerd.

Inherit from DockerContract in a test class and give it a fixture `engine`. Each test removes what it made.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
import pytest

from supervisor.core.container import ContainerId
from supervisor.core.formats.docker_event import Event
from supervisor.edges.docker import Docker

DEADLINE_S = 20.0
UNKNOWN = ContainerId("0" * 64)


class Engine(Protocol):
    """A Docker daemon, and operations of others on its containers."""

    host: str

    async def run(self, labels: dict[str, str], name: str) -> str:
        """Start a container that lives until it is stopped, and return its full id."""

    async def start(self, container_id: str) -> None: ...
    async def kill(self, container_id: str) -> None: ...
    async def pause(self, container_id: str) -> None: ...
    async def remove(self, container_id: str) -> None:
        """Remove a container, running or not."""


class EventRecorder:
    """Records the events of one container."""

    def __init__(self, container_id: str) -> None:
        self.events: list[Event] = []
        self._container_id = container_id
        self._more = anyio.Event()

    def note(self, event: Event) -> None:
        if event.container == self._container_id:
            self.events.append(event)
            self._more.set()

    async def wait_for(self, *actions: str) -> list[Event]:
        """Wait for these actions in this order; others may come in between."""
        with anyio.fail_after(DEADLINE_S):
            while not _contains_in_order(actions, [event.action for event in self.events]):
                self._more = anyio.Event()
                await self._more.wait()
        return self.events


def _contains_in_order(wanted: tuple[str, ...], recorder: list[str]) -> bool:
    rest = iter(recorder)
    return all(action in rest for action in wanted)


@asynccontextmanager
async def following(docker: Docker, container_id: str, since_s: float) -> AsyncIterator[EventRecorder]:
    """Record one container's events as long as the context lasts."""
    recorder = EventRecorder(container_id)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(docker.follow, since_s, recorder.note)
        yield recorder
        tasks.cancel_scope.cancel()


class DockerContract:
    """Inherit, and give a fixture `engine`."""

    @pytest.fixture
    async def docker(self, engine: Engine) -> AsyncIterator[Docker]:
        docker = Docker(engine.host, DEADLINE_S)
        yield docker
        await docker.close()

    @pytest.fixture
    async def container(self, engine: Engine) -> AsyncIterator[ContainerId]:
        made = await engine.run({"vtapd.enable": "false", "other": "ä b"}, f"contract-{uuid.uuid4().hex[:8]}")
        yield ContainerId(made)
        await engine.remove(made)

    async def test_version_is_returned(self, docker: Docker) -> None:
        assert (await docker.engine()).version[0].isdecimal()

    async def test_running_containers_are_listed(self, docker: Docker, engine: Engine, container: ContainerId) -> None:
        assert container in await docker.list_running()
        await engine.kill(container)
        assert container not in await docker.list_running()

    async def test_container_that_has_ended_is_among_all(self, docker: Docker, engine: Engine) -> None:
        container = ContainerId(await engine.run({}, f"contract-{uuid.uuid4().hex[:8]}"))
        assert container in await docker.list_all()
        await engine.kill(container)
        assert container in await docker.list_all()
        ended = await docker.inspect(container)
        assert ended is not None
        assert ended.ended_at[:2] == "20"
        await engine.remove(container)
        assert container not in await docker.list_all()

    async def test_listing_changes_with_the_container(
        self, docker: Docker, engine: Engine, container: ContainerId
    ) -> None:
        listed = await docker.list_running()
        assert await docker.list_running() == listed
        await engine.pause(container)
        assert (await docker.list_running())[container] != listed[container]

    async def test_container_is_inspected(self, docker: Docker, container: ContainerId) -> None:
        known = await docker.inspect(container)
        assert known is not None
        assert known.id == container
        assert known.name.startswith("contract-")
        assert known.labels.items() >= {"vtapd.enable": "false", "other": "ä b"}.items()
        assert known.hostname == container[:12]
        assert (known.running, known.paused, known.memory_limit_bytes, known.stop_signal) == (True, False, 0, 15)
        assert known.pid > 0
        assert known.network_mode in ("default", "bridge")

    async def test_image_without_labels_gives_no_image_labels(self, docker: Docker, container: ContainerId) -> None:
        known = await docker.inspect(container)
        assert known is not None
        assert known.image_labels == frozenset()

    async def test_restarted_container_has_another_pid(
        self, docker: Docker, engine: Engine, container: ContainerId
    ) -> None:
        before = await docker.inspect(container)
        await engine.kill(container)
        ended = await docker.inspect(container)
        await engine.start(container)
        again = await docker.inspect(container)
        assert before is not None
        assert ended is not None
        assert again is not None
        assert (ended.running, ended.pid) == (False, 0)
        assert again.running
        assert again.pid not in (0, before.pid)

    async def test_paused_container_counts_as_running(
        self, docker: Docker, engine: Engine, container: ContainerId
    ) -> None:
        await engine.pause(container)
        paused = await docker.inspect(container)
        assert paused is not None
        assert (paused.running, paused.paused) == (True, True)

    async def test_unknown_container_gives_none(self, docker: Docker) -> None:
        assert await docker.inspect(UNKNOWN) is None

    async def test_log_of_a_quiet_container_is_empty(self, docker: Docker, container: ContainerId) -> None:
        assert await docker.log(container, since_s=0) == b""

    async def test_events_are_followed_with_past_ones(
        self, docker: Docker, engine: Engine, container: ContainerId
    ) -> None:
        async with following(docker, container, since_s=0) as recorder:
            await recorder.wait_for("connect", "start")
            await engine.kill(container)
            events = await recorder.wait_for("connect", "start", "kill", "die", "disconnect")
        assert [event.signal for event in events if event.action == "kill"] == [9]
        assert [event.network_type for event in events if event.action == "connect"] == ["bridge"]
        started = next(event for event in events if event.action == "start")
        assert started.name.startswith("contract-")
        assert started.labels.items() >= {"vtapd.enable": "false", "other": "ä b"}.items()
        assert not {"name", "image"} & started.labels.keys()
        started_ns = started.time_ns
        assert started_ns > 10**18
        async with following(docker, container, since_s=started_ns / 1e9 + 0.001) as later:
            await later.wait_for("die", "disconnect")
            assert "start" not in [event.action for event in later.events]
