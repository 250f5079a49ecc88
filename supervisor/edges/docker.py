"""Docker's API: the event stream, the list, one container, and its log. The only module that uses aiodocker.

aiodocker does not reconnect, and sets no deadline: each call here has one. Its answers are untyped, so they are
converted by core.formats.docker_api before they go any further.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NoReturn

import aiohttp
import anyio
import msgspec
from aiodocker.exceptions import DockerError
from aiodocker.networks import DockerNetwork

from supervisor.core.attach.selection import are_ours_among
from supervisor.core.container import Container, ContainerId
from supervisor.core.formats.docker_api import LISTED, Engine, digest, parse_container, parse_engine, parse_image_labels
from supervisor.core.formats.docker_event import Event, parse_event
from supervisor.core.formats.docker_network import GATEWAY_NETWORK, may_have_way_out, parse_way_out
from supervisor.edges.docker_client import connection_failure, open_client, remedy_of
from supervisor.errors import Permanent, Step, Transient

DEFAULT_HOST = "unix:///var/run/docker.sock"

_CONTAINER_EVENTS = ("start", "die", "kill", "pause", "unpause", "rename", "update", "oom", "destroy")
"""What changes a container. Health checks and execs are left out: they would only wake the daemon."""
_NETWORK_EVENTS = ("connect", "disconnect")
_NOT_AN_EVENT = (ValueError, TypeError, OverflowError)
"""What aiodocker raises for JSON that is no event, and for text that is no JSON."""
_MOST_IMAGES = 256
_LOG_LINES = 100
_LOGS_AT_ONCE = 2


class Docker:
    """A client of one Docker daemon. The owner calls `close`."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self.host = host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self.timeout_s = timeout_s
        self._labels_of_images: dict[str, dict[str, str]] = {}
        """By image id, which identifies the image's whole content."""
        self._image_lock = anyio.Lock()
        self._log_places = anyio.Semaphore(_LOGS_AT_ONCE)
        self._client = open_client(self.host)

    async def close(self) -> None:
        await self._client.close()

    async def engine(self) -> Engine:
        """Return what Docker says about itself. Raises Transient if Docker does not answer."""
        async with self._translated("info"):
            said = await self._client.system.info()
        try:
            return parse_engine(said)
        except msgspec.ValidationError as error:
            raise Transient(f"Docker's answer about itself is not understood: {error}", step=Step.DOCKER) from error

    async def follow(self, since_s: float, on_event: Callable[[Event], None]) -> NoReturn:
        """Call `on_event` for every event from `since_s` (seconds since the epoch) on. Never returns.

        Docker replays the events since then, so none is missed before the stream is open. Raises Transient when the
        stream is lost.
        """
        filters = {"type": ["container", "network"], "event": [*_CONTAINER_EVENTS, *_NETWORK_EVENTS]}
        params = {"since": f"{since_s:.9f}", "filters": json.dumps(filters)}
        asked_ns = time.time_ns()
        subscriber = self._client.events.subscribe(create_task=False)
        lost = "Docker ended its event stream"

        async def pump() -> None:
            nonlocal lost
            try:
                await self._client.events.run(**params)
            except (aiohttp.ClientError, DockerError, OSError, *_NOT_AN_EVENT) as error:
                lost = f"Docker's event stream broke: {error}"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pump)
            while (data := await subscriber.get()) is not None:
                event = parse_event(data, time.time_ns())
                if event is not None:
                    on_event(replace(event, replayed=since_s * 1e9 <= event.time_ns < asked_ns))
        raise Transient(lost, step=Step.DOCKER)

    async def list_running(self) -> dict[ContainerId, int]:
        """Return all running containers, each with a number that changes when its entry in the list changes.

        This is one request, while `inspect` is one for each container. The list does not show what `docker update`
        changes; that has its own event.
        """
        async with self._translated("list"):
            listed = await self._client.containers.list()
            entries = {each.id: {key: each[key] for key in LISTED if key in each} for each in listed}
            return {ContainerId(container): digest(entry) for container, entry in entries.items()}

    async def list_all(self) -> set[ContainerId]:
        """Return all containers that Docker knows, running or not."""
        async with self._translated("list"):
            return {ContainerId(each.id) for each in await self._client.containers.list(all=True)}

    async def inspect(self, container_id: ContainerId) -> Container | None:
        """Return a container, or None if Docker does not know it."""
        try:
            answer = await self._ask("inspect", self._client.containers.container(container_id).show())
            if answer is None:
                return None
            container, image = parse_container(answer)
            if may_have_way_out(container):
                container = await self._with_way_out(container)
            if are_ours_among(container.labels):
                return replace(container, image_labels=await self._image_labels(image, container.labels))
            return container
        except msgspec.ValidationError as error:
            raise Transient(
                f"Docker's answer about {container_id} is not understood: {error}", step=Step.DOCKER
            ) from error

    async def _with_way_out(self, container: Container) -> Container:
        """Return the container with its endpoint in the network that Docker does not list for it, if it has one."""
        answer = await self._ask("network", DockerNetwork(self._client, GATEWAY_NETWORK).show())
        found = parse_way_out(answer, container.id) if answer is not None else None
        return replace(container, endpoints=(*container.endpoints, found)) if found else container

    async def log(self, container_id: ContainerId, since_s: float) -> bytes:
        """Return the last lines of the container's log, from `since_s` (seconds since the epoch) on.

        A daemon that adopts hundreds of guests asks for all their logs: what is more urgent has its turn in between.
        """
        async with self._log_places, self._translated("logs"):
            container = self._client.containers.container(container_id)
            try:
                pieces = await container.log(stdout=True, stderr=True, since=f"{since_s:.9f}", tail=str(_LOG_LINES))
            except (LookupError, TypeError) as error:  # aiodocker reads Docker's JSON unchecked
                raise Transient(f"Docker's answer about {container_id} is not understood", step=Step.DOCKER) from error
            return "".join(pieces).encode()

    async def _image_labels(self, image: str, labels: dict[str, str]) -> frozenset[str]:
        """Return which of a container's labels come from its image; all of them if the image is gone."""
        async with self._image_lock:  # many containers of one image start at once: the first asks, the others wait
            if image not in self._labels_of_images:
                data = await self._ask("image", self._client.images.inspect(image))
                if data is None:
                    return frozenset(labels)
                if len(self._labels_of_images) >= _MOST_IMAGES:
                    self._labels_of_images.clear()
                self._labels_of_images[image] = parse_image_labels(data)
        from_image = self._labels_of_images[image].items() & labels.items()
        return frozenset(label for label, _ in from_image)

    async def _ask(self, what: str, question: Awaitable[Any]) -> Any:
        """Return Docker's answer, or None if Docker does not know the object."""
        async with self._translated(what):
            try:
                return await question
            except DockerError as error:
                if error.status == 404:
                    return None
                raise

    @asynccontextmanager
    async def _translated(self, what: str) -> AsyncIterator[None]:
        remedy = remedy_of(self.host)
        try:
            with anyio.fail_after(self.timeout_s):
                yield
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            said = str(error) or f"no answer within {self.timeout_s:g} s"
            raise Transient(f"cannot ask Docker ({what}): {said}", step=Step.DOCKER, remedy=remedy) from error
        except DockerError as error:
            if (failure := connection_failure(self.host, what, error)) is not None:
                raise failure from error
            kind = Permanent if error.status in (401, 403) else Transient
            raise kind(f"Docker refused ({what}): {error.message}", step=Step.DOCKER, remedy=remedy) from error
