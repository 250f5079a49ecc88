"""A fake QMP server with a few commands and many faults: odd fragments, garbage, silence, a sudden close.

Reference: docs/interop/qmp-spec.rst of QEMU.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # JSON

import anyio
import anyio.abc
import anyio.lowlevel

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "fake"}, "capabilities": []}}


@dataclass
class FakeQmp:
    """What the server sends and leaves out; tests change it at any time."""

    path: Path
    greeting: bytes = json.dumps(GREETING).encode() + b"\r\n"
    """Empty for a QEMU that accepts the connection and sends nothing."""
    fragment_bytes: int = 0
    """Every write is cut into pieces of this size; 0 means whole."""
    silent: bool = False
    """Commands get no answer."""
    closes_on: str | None = None
    """The command at which the connection is closed instead of answered."""
    closes_after: str | None = None
    """The connection is closed after the answer to this command."""
    takes: tuple[str, ...] = ()
    """Further commands that get an empty answer."""
    answers: dict[str, object] = field(default_factory=dict)
    """Further commands, and what they return."""
    commands: list[str] = field(default_factory=list)
    """What was asked, of all connections."""
    arguments: list[dict[str, Any]] = field(default_factory=list)
    """The arguments of each of these commands."""
    _streams: list[anyio.abc.SocketStream] = field(default_factory=list)

    async def emit(self, name: str, **data: object) -> None:
        """Send an event to all connected clients."""
        event: dict[str, object] = {"event": name, "timestamp": {"seconds": 1, "microseconds": 0}}
        if data:
            event["data"] = data
        await self.write(json.dumps(event).encode() + b"\r\n")

    async def write(self, data: bytes) -> None:
        """Send any bytes to all connected clients."""
        for stream in list(self._streams):
            await self._send(stream, data)

    async def hang_up(self) -> None:
        """Close every connection; new ones are accepted."""
        while self._streams:
            await self._streams.pop().aclose()

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            self._streams.append(stream)
            try:
                if self.greeting:
                    await self._send(stream, self.greeting)
                async for message in _messages(stream):
                    await self._answer(stream, message)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            finally:
                if stream in self._streams:
                    self._streams.remove(stream)

    async def _answer(self, stream: anyio.abc.SocketStream, message: dict[str, Any]) -> None:
        command: str = message["execute"]
        self.commands.append(command)
        self.arguments.append(message.get("arguments", {}))
        if command == self.closes_on:
            await stream.aclose()
            raise anyio.ClosedResourceError
        if self.silent:
            return
        if command == "system_powerdown":
            await self.emit("POWERDOWN")
        answer: dict[str, object] = {"return": {}}
        if command == "query-status":
            answer = {"return": {"status": "prelaunch", "running": False}}
        elif command in self.answers:
            answer = {"return": self.answers[command]}
        elif command not in ("qmp_capabilities", "system_powerdown", "quit", *self.takes):
            answer = {"error": {"class": "CommandNotFound", "desc": f"The command {command} has not been found"}}
        await self._send(stream, json.dumps(answer | {"id": message.get("id")}).encode() + b"\r\n")
        if command == "quit":
            await self.emit("SHUTDOWN", guest=False, reason="host-qmp-quit")
        if command in ("quit", self.closes_after):
            await self.hang_up()
            raise anyio.ClosedResourceError

    async def _send(self, stream: anyio.abc.SocketStream, data: bytes) -> None:
        step = self.fragment_bytes or len(data)
        for start in range(0, len(data), step):
            await stream.send(data[start : start + step])
            await anyio.lowlevel.checkpoint()  # so that the reader sees the pieces


@asynccontextmanager
async def fake_qmp(path: Path) -> AsyncIterator[FakeQmp]:
    """Serve on this path as long as the context lasts."""
    server = FakeQmp(path)
    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        yield server
        for _ in range(2):  # anyio fails if a stream is cancelled in the turn of the loop in which its client hangs up
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def _messages(stream: anyio.abc.SocketStream) -> AsyncIterator[dict[str, Any]]:
    """Yield JSON objects one after another; QMP puts nothing between them."""
    decoder, rest = json.JSONDecoder(), ""
    async for chunk in stream:
        rest += chunk.decode()
        while rest := rest.lstrip():
            try:
                message, end = decoder.raw_decode(rest)
            except json.JSONDecodeError:
                break
            rest = rest[end:]
            yield message
