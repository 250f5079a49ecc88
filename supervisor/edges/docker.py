"""Docker's API: the event stream, the list, one container, and the two things asked of Docker. Knows aiodocker alone.

aiodocker does not reconnect and sets no deadline, and its JSON is untyped: each call here has a deadline, and what is
used of an answer is converted into a struct before it goes any further (Docker Engine API v1.41).
"""

import ipaddress
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NoReturn

import aiohttp
import anyio
import msgspec
from aiodocker import Docker as Client
from aiodocker.containers import DockerContainer
from aiodocker.exceptions import DockerError

from supervisor.core.attach.selection import are_ours_among
from supervisor.core.model import Container, ContainerId, Endpoint, Pid
from supervisor.errors import ConfigError, Permanent, Step, Transient

DEFAULT_HOST = "unix:///var/run/docker.sock"

# What changes a container or its network; health checks and execs would only wake the daemon for nothing.
_CONTAINER_EVENTS = ("start", "die", "kill", "pause", "unpause", "rename", "update", "oom", "destroy")
_MOST_IMAGES = 256
_NETWORK_EVENTS = ("connect", "disconnect")

_LISTED = ("Names", "State", "HostConfig", "NetworkSettings")
"""What of a container's entry in the list is used here and may change while it runs."""

_LOG_LINES = 100

_SIGNAL = re.compile(r"[0-9]{1,3}")

_NOT_LABELS = frozenset({"name", "image"})
"""What Docker puts beside a container's labels into its events, in place of labels of these names."""

_NOT_AN_EVENT = (ValueError, TypeError, OverflowError)
"""What aiodocker raises about JSON that is no event, or no JSON."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a container."""

    action: str
    container: ContainerId
    time_ns: int
    """Docker's clock, since the epoch."""
    signal: int | None = None
    """Of a `kill`."""
    replayed: bool = False
    """It is from before its stream was asked for: it may have been told before, or be of an earlier run."""
    name: str = ""
    """The container's; empty where the event is a network's."""
    labels: dict[str, str] = field(default_factory=dict)
    """The container's; empty where the event is a network's."""
    network_type: str = ""
    """The driver of the network that it is about."""


class Engine(msgspec.Struct, frozen=True):
    """A Docker daemon, as it describes itself."""

    version: str = msgspec.field(name="ServerVersion", default="?")
    cgroup_version: str = msgspec.field(name="CgroupVersion", default="1")
    cgroup_driver: str = msgspec.field(name="CgroupDriver", default="?")


class _State(msgspec.Struct, rename="pascal"):
    running: bool = False
    paused: bool = False
    pid: int = 0
    started_at: str = ""


class _Config(msgspec.Struct, rename="pascal"):
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    env: list[str] | None = None


class _Device(msgspec.Struct, rename="pascal"):
    path_on_host: str = ""
    cgroup_permissions: str = ""


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str = ""
    memory: int = 0
    privileged: bool = False
    device_cgroup_rules: list[str] | None = None
    devices: list[_Device] | None = None
    dns: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None


class _Endpoint(msgspec.Struct, rename="pascal"):
    mac_address: str = ""
    ip_address: str = msgspec.field(name="IPAddress", default="")
    ip_prefix_len: int = msgspec.field(name="IPPrefixLen", default=0)
    gateway: str = ""
    global_ipv6_address: str = msgspec.field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = msgspec.field(name="GlobalIPv6PrefixLen", default=0)
    ipv6_gateway: str = msgspec.field(name="IPv6Gateway", default="")


class _NetworkSettings(msgspec.Struct, rename="pascal"):
    networks: dict[str, _Endpoint] | None = None


class _Image(msgspec.Struct, rename="pascal"):
    config: _Config | None = None


class _Inspect(msgspec.Struct, rename="pascal"):
    id: str
    name: str
    state: _State
    config: _Config
    host_config: _HostConfig
    image: str = ""
    network_settings: _NetworkSettings = msgspec.field(default_factory=_NetworkSettings)


class _Actor(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] | None = None


class _Event(msgspec.Struct):
    type: str = msgspec.field(name="Type", default="")
    action: str = msgspec.field(name="Action", default="")
    actor: _Actor = msgspec.field(name="Actor", default_factory=_Actor)
    time_ns: int = msgspec.field(name="timeNano", default=0)


class Docker:
    """One Docker daemon; `close` hangs up."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self.host = host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self.timeout_s = timeout_s
        self._labels_of_images: dict[str, dict[str, str]] = {}
        """By image id, which stands for the image's whole content."""
        self._asking_of_images = anyio.Lock()
        try:
            self._client = Client(url=self.host)
        except (ValueError, DockerError, AssertionError) as error:
            remedy = "write it as unix:///path or tcp://host:port in [docker] host or DOCKER_HOST"
            raise ConfigError(f"Docker's address {self.host!a} is not understood", remedy=remedy) from error

    async def close(self) -> None:
        await self._client.close()

    async def version(self) -> str:
        """The engine's version. Raises Transient where it does not answer."""
        async with self._translated("version"):
            return str((await self._client.version()).get("Version", "?"))

    async def engine(self) -> Engine:
        """What it is, and how it keeps its containers' cgroups. Raises Transient where it does not answer."""
        async with self._translated("info"):
            said = await self._client.system.info()
        try:
            return msgspec.convert(said, Engine)
        except msgspec.ValidationError as error:
            raise Transient(f"Docker's answer about itself is not understood: {error}", step=Step.DOCKER) from error

    async def follow(self, since_s: float, on_event: Callable[[Event], None]) -> NoReturn:
        """Call `on_event` for all that happens from `since_s` (seconds since the epoch) on.

        Docker replays what happened since then, so nothing is missed between the request and its taking effect.
        Raises Transient when the stream is lost; otherwise it never ends.
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
                event = _parse_event(data)
                if event is not None:
                    on_event(replace(event, replayed=since_s * 1e9 <= event.time_ns < asked_ns))
        raise Transient(lost, step=Step.DOCKER)

    async def list_running(self) -> dict[ContainerId, int]:
        """All containers that run; a number for each that is another one once the list says something else of it.

        One answer for all of them, where Docker would have to be asked of each. It tells of nothing that an `update`
        changes, which has an event of its own.
        """
        async with self._translated("list"):
            return {ContainerId(each.id): _digest(each) for each in await self._client.containers.list()}

    async def inspect(self, container_id: ContainerId) -> Container | None:
        """One container, or None when Docker does not know it."""
        try:
            answer = await self._ask("inspect", self._client.containers.container(container_id).show())
            if answer is None:
                return None
            data = msgspec.convert(answer, _Inspect)
            known = _container(data)
            if are_ours_among(known.labels):
                return replace(known, image_labels=await self._image_labels(data.image, known.labels))
            return known
        except msgspec.ValidationError as error:
            raise Transient(
                f"Docker's answer about {container_id} is not understood: {error}", step=Step.DOCKER
            ) from error

    async def log(self, container_id: ContainerId, since_s: float) -> bytes:
        """The last lines of the container's log, from `since_s` (seconds since the epoch) on."""
        async with self._translated("logs"):
            container = self._client.containers.container(container_id)
            try:
                pieces = await container.log(stdout=True, stderr=True, since=f"{since_s:.9f}", tail=str(_LOG_LINES))
            except (LookupError, TypeError) as error:  # of what aiodocker looks up in Docker's JSON
                raise Transient(f"Docker's answer about {container_id} is not understood", step=Step.DOCKER) from error
            return "".join(pieces).encode()

    async def _image_labels(self, image: str, labels: dict[str, str]) -> frozenset[str]:
        """Which of a container's labels are the image's; all of them, where that is not there any more."""
        async with self._asking_of_images:  # the first of many containers asks for all of them
            if image not in self._labels_of_images:
                data = await self._ask("image", self._client.images.inspect(image))
                if data is None:
                    return frozenset(labels)
                if len(self._labels_of_images) >= _MOST_IMAGES:
                    self._labels_of_images.clear()
                config = msgspec.convert(data, _Image).config
                self._labels_of_images[image] = (config.labels if config else None) or {}
        own = self._labels_of_images[image].items()
        return frozenset(label for label, _ in own & labels.items())

    async def _ask(self, what: str, question: Awaitable[Any]) -> Any:
        """Docker's answer, or None where there is no such thing."""
        async with self._translated(what):
            try:
                return await question
            except DockerError as error:
                if error.status == 404:
                    return None
                raise

    async def stop(self, container_id: ContainerId) -> None:
        """Stop the container as `docker stop` does; nothing when it is gone."""
        async with self._translated("stop", extra_s=60):
            try:
                await self._client.containers.container(container_id).stop()
            except DockerError as error:
                if error.status not in (304, 404):
                    raise

    @asynccontextmanager
    async def _translated(self, what: str, extra_s: float = 0) -> AsyncIterator[None]:
        remedy = f"is Docker running? its address is {self.host}, set by [docker] host or DOCKER_HOST"
        try:
            with anyio.fail_after(self.timeout_s + extra_s):
                yield
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            said = str(error) or f"no answer within {self.timeout_s:g} s"
            raise Transient(f"cannot ask Docker ({what}): {said}", step=Step.DOCKER, remedy=remedy) from error
        except DockerError as error:
            kind = Permanent if error.status in (401, 403) else Transient
            raise kind(f"Docker refused ({what}): {error.message}", step=Step.DOCKER, remedy=remedy) from error


def _digest(listed: DockerContainer) -> int:
    """Of what may change in a container's life, but for its age in words."""
    told = ((key, listed[key]) for key in _LISTED if key in listed)
    return hash(msgspec.json.encode([*told], order="deterministic"))


def _container(data: _Inspect) -> Container:
    return Container(
        id=ContainerId(data.id),
        name=data.name.removeprefix("/"),
        pid=Pid(data.state.pid),
        started_ns=_nanoseconds(data.state.started_at),
        running=data.state.running and data.state.pid > 0,
        paused=data.state.paused,
        network_mode=data.host_config.network_mode,
        hostname=data.config.hostname,
        domainname=data.config.domainname,
        extra_hosts=tuple(data.host_config.extra_hosts or ()),
        labels=data.config.labels or {},
        memory_limit_bytes=data.host_config.memory,
        stop_signal=_signal_number(data.config.stop_signal),
        privileged=data.host_config.privileged,
        device_rules=tuple(data.host_config.device_cgroup_rules or ()),
        devices=tuple((d.path_on_host, d.cgroup_permissions) for d in data.host_config.devices or ()),
        env=tuple(_variable(text) for text in data.config.env or ()),
        dns=tuple(data.host_config.dns or ()),
        dns_search=tuple(data.host_config.dns_search or ()),
        endpoints=tuple(_endpoint(n, e) for n, e in sorted((data.network_settings.networks or {}).items())),
    )


def _variable(text: str) -> tuple[str, str]:
    """K=V; Docker takes the variable away where there is no `=`, so here that is one without a value."""
    key, _, value = text.partition("=")
    return key, value


def _endpoint(network: str, data: _Endpoint) -> Endpoint:
    both = (
        (data.ip_address, data.ip_prefix_len, data.gateway),
        (data.global_ipv6_address, data.global_ipv6_prefix_len, data.ipv6_gateway),
    )
    return Endpoint(network, data.mac_address, tuple(each for each in both if _is_address(*each)))


def _is_address(ip: str, prefix: int, gateway: str) -> bool:
    try:
        ipaddress.ip_interface(f"{ip}/{prefix}")
        return not gateway or bool(ipaddress.ip_address(gateway))
    except ValueError:
        return False


def _nanoseconds(moment: str) -> int:
    """Since the epoch; 0 for what is no time, such as a container's that never ran."""
    try:
        return max(0, int(datetime.fromisoformat(moment).timestamp() * 1e6) * 1000)
    except ValueError:
        return 0


def _signal_number(name: str) -> int:
    """Docker takes SIGTERM, TERM and 15 alike, and SIGRTMIN+3 too."""
    if name.isdecimal():
        return int(name)
    match = re.fullmatch(r"(?:SIG)?([A-Z]+[12]?)([+-][0-9]{1,2})?", name.upper())
    try:
        return signal.Signals["SIG" + match[1]] + int(match[2] or 0) if match else signal.SIGTERM
    except KeyError:
        return signal.SIGTERM


def _parse_event(data: Any) -> Event | None:
    try:
        event = msgspec.convert(data, _Event)
    except msgspec.ValidationError:
        return None  # the next look, at the latest the resync, sees what it would have told
    attributes = event.actor.attributes or {}
    of_network = event.type == "network"
    container = attributes.get("container", "") if of_network else event.actor.id
    if not container or not event.action:
        return None
    number = attributes.get("signal", "")
    return Event(
        event.action,
        ContainerId(container),
        event.time_ns or time.time_ns(),
        int(number) if event.action == "kill" and _SIGNAL.fullmatch(number) else None,
        name="" if of_network else attributes.get("name", ""),
        labels={} if of_network else {key: value for key, value in attributes.items() if key not in _NOT_LABELS},
        network_type=attributes.get("type", "") if of_network else "",
    )
