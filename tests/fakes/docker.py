"""A fake Docker daemon: one dict of containers, the answers of the API that vtapd reads, and ways to fail.

It answers on a Unix socket as Docker Engine API v1.41 does. It also does what a real daemon does by itself: events of
starts and stops, replay of past events, filters. Its attributes request what only a broken daemon does.
"""

import asyncio
import itertools
import json
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any  # Docker's JSON

from aiohttp import web

API_VERSION = "1.41"
JSON = {"Content-Type": "application/json"}  # without a charset, as Docker writes it: aiodocker looks for just this
IMAGE = "sha256:" + "1" * 64
_pids = itertools.count(30_000)


@dataclass
class FakeContainer:
    """The state that `docker inspect` reports."""

    id: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    network_mode: str = "default"
    memory_bytes: int = 0
    stop_signal: str | None = None
    hostname: str = ""
    running: bool = False
    paused: bool = False
    pid: int = 0
    started_at: str = "0001-01-01T00:00:00Z"
    finished_at: str = "0001-01-01T00:00:00Z"
    log: bytes = b""
    """The container's log."""

    def as_json(self) -> dict[str, Any]:
        config: dict[str, Any] = {"Hostname": self.hostname, "Labels": self.labels, "Image": "busybox", "Tty": False}
        if self.stop_signal is not None:
            config["StopSignal"] = self.stop_signal
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Image": IMAGE,
            "State": {
                "Running": self.running, "Paused": self.paused, "Pid": self.pid, "StartedAt": self.started_at,
                "FinishedAt": self.finished_at,
                "Status": "running" if self.running else "exited",
            },
            "Config": config,
            "HostConfig": {"NetworkMode": self.network_mode, "Memory": self.memory_bytes},
        }  # fmt: skip

    def as_listed(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "State": "paused" if self.paused else "running" if self.running else "exited",
            "Status": f"Up {time.monotonic_ns()} nanoseconds",
            "HostConfig": {"NetworkMode": self.network_mode},
        }


class FakeDocker:
    """Use as an asynchronous context manager; call `vanish` and `appear` in between as often as needed."""

    def __init__(self, socket: Path) -> None:
        self.host = f"unix://{socket}"
        self.containers: dict[str, FakeContainer] = {}
        self.delay_s = 0.0
        """The delay before every answer."""
        self.failures: dict[str, int] = {}
        """Route name (version, info, events, list, inspect, image, log) → HTTP status to fail with."""
        self.answers: dict[str, bytes] = {}
        """Route name → a body to answer with, valid or not."""
        self.image_labels: dict[str, str] | None = {}
        """The labels of the one image; None if the image was removed."""
        self.requests: list[str] = []
        self._socket = socket
        self._past: list[dict[str, Any]] = []
        self._streams: list[web.StreamResponse] = []
        self._subscribed = asyncio.Event()
        self._ids = (f"{number:x}".rjust(64, "f") for number in itertools.count(1))
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeDocker":
        await self.appear()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.vanish()

    # Appearing and vanishing

    async def appear(self) -> None:
        app = web.Application()
        for prefix in ("", f"/v{API_VERSION}"):
            app.router.add_get(f"{prefix}/version", self._version)
            app.router.add_get(f"{prefix}/info", self._info)
            app.router.add_get(f"{prefix}/events", self._events)
            app.router.add_get(f"{prefix}/containers/json", self._list)
            app.router.add_get(f"{prefix}/containers/{{id}}/json", self._inspect)
            app.router.add_get(f"{prefix}/containers/{{id}}/logs", self._log)
            app.router.add_get(f"{prefix}/images/{IMAGE}/json", self._image)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, self._socket).start()

    async def vanish(self) -> None:
        """End as by kill -9: cut every connection and leave the socket file."""
        self.cut_streams()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            leave_socket_file(self._socket)

    def cut_streams(self) -> None:
        """Cut the event streams in the middle, without the last chunk."""
        while self._streams:
            transport = self._streams.pop()._req.transport  # type: ignore[union-attr]  # set while it streams
            if transport is not None:
                transport.abort()
        self._subscribed.clear()

    async def await_subscriber(self) -> None:
        """Wait until a client follows the events."""
        await self._subscribed.wait()

    # Changes of its containers

    async def run(self, labels: Mapping[str, str], name: str) -> str:
        made = FakeContainer(next(self._ids), name, dict(labels))
        made.hostname = made.id[:12]
        self.containers[made.id] = made
        await self.start(made.id)
        return made.id

    async def start(self, container_id: str) -> None:
        each = self.containers[container_id]
        each.running, each.pid = True, next(_pids)
        each.started_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        await self._emit_network_event("connect", container_id)
        await self.emit("start", container_id, **each.labels, name=each.name, image="test")

    async def kill(self, container_id: str) -> None:
        await self.emit("kill", container_id, signal="9")
        await self._end(container_id)

    async def pause(self, container_id: str) -> None:
        self.containers[container_id].paused = True
        await self.emit("pause", container_id)

    async def remove(self, container_id: str) -> None:
        del self.containers[container_id]
        await self.emit("destroy", container_id)

    async def _end(self, container_id: str) -> None:
        each = self.containers[container_id]
        each.running, each.paused, each.pid = False, False, 0
        each.finished_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        await self.emit("die", container_id, exitCode="137")
        await self._emit_network_event("disconnect", container_id)

    # Events

    async def emit(self, action: str, container_id: str, **attributes: str) -> dict[str, Any]:
        """Send an event of a container, and keep it for clients that ask for past events, as Docker does."""
        return await self._emit({"Type": "container", "Actor": {"ID": container_id, "Attributes": attributes}}, action)

    async def _emit_network_event(self, action: str, container_id: str) -> None:
        attributes = {"container": container_id, "name": "bridge", "type": "bridge"}
        await self._emit({"Type": "network", "Actor": {"ID": "b" * 64, "Attributes": attributes}}, action)

    async def _emit(self, event: dict[str, Any], action: str) -> dict[str, Any]:
        now_ns = time.time_ns()
        event |= {"Action": action, "time": now_ns // 10**9, "timeNano": now_ns}
        self._past.append(event)
        await self.send(event)
        return event

    async def send(self, event: object) -> None:
        """Send any JSON to all clients that follow the events."""
        await self.write(json.dumps(event).encode() + b"\n")

    async def write(self, data: bytes) -> None:
        """Send any bytes, for example half an event."""
        for stream in self._streams:
            await stream.write(data)

    # Answers

    async def _forced_answer(self, route: str) -> web.Response | None:
        self.requests.append(route)
        await asyncio.sleep(self.delay_s)
        if route in self.failures:
            return _json({"message": f"{route} fails"}, self.failures[route])
        if route in self.answers:
            return web.Response(body=self.answers[route], headers=JSON)
        return None

    async def _version(self, _request: web.Request) -> web.Response:
        return await self._forced_answer("version") or _json({"Version": "20.10.24-fake", "ApiVersion": API_VERSION})

    async def _info(self, _request: web.Request) -> web.Response:
        said = {"ID": "fake", "ServerVersion": "20.10.24-fake", "DockerRootDir": "/var/lib/docker"}
        return await self._forced_answer("info") or _json(said)

    async def _list(self, request: web.Request) -> web.Response:
        also_ended = request.query.get("all") in ("1", "true", "True")
        shown = [each.as_listed() for each in self.containers.values() if each.running or also_ended]
        return await self._forced_answer("list") or _json(shown)

    async def _inspect(self, request: web.Request) -> web.Response:
        each = self.containers.get(request.match_info["id"])
        known = _json(each.as_json()) if each else _unknown(request.match_info["id"])
        return await self._forced_answer("inspect") or known

    async def _log(self, request: web.Request) -> web.Response:
        """Return each line in its own frame; the first byte names the stream."""
        each = self.containers.get(request.match_info["id"])
        if each is None:
            return _unknown(request.match_info["id"])
        frames = (struct.pack(">BxxxL", 1, len(line)) + line for line in each.log.splitlines(keepends=True))
        return await self._forced_answer("log") or web.Response(body=b"".join(frames))

    async def _image(self, _request: web.Request) -> web.Response:
        labels = self.image_labels
        gone = _json({"message": f"No such image: {IMAGE}"}, 404)
        return await self._forced_answer("image") or (gone if labels is None else _json({"Config": {"Labels": labels}}))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        forced = await self._forced_answer("events")
        if forced is not None:
            return forced
        wanted = json.loads(request.query.get("filters", "{}"))
        since_ns = float(request.query.get("since", time.time())) * 1e9
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        for event in self._past:
            if event["timeNano"] >= since_ns and event["Action"] in wanted.get("event", [event["Action"]]):
                await stream.write(json.dumps(event).encode() + b"\n")
        self._streams.append(stream)
        self._subscribed.set()
        try:
            await asyncio.Event().wait()
        finally:
            if stream in self._streams:
                self._streams.remove(stream)
        return stream


def leave_socket_file(path: Path) -> None:
    """Leave what a killed server leaves: a socket on which no one listens. Python 3.13 removes that of a server."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def _json(answer: object, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(answer).encode(), status=status, headers=JSON)


def _unknown(container_id: str) -> web.Response:
    return _json({"message": f"No such container: {container_id}"}, 404)
