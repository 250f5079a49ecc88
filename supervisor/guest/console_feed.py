"""Read one guest's console and pass the output on: to viewers, to the readiness check, to the scanner for its exit."""

from collections.abc import Awaitable, Callable, Iterable

import anyio
import anyio.abc

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.kind import ConsolePattern
from supervisor.edges.qemu import serial
from supervisor.guest.console_hub import ConsoleHub
from supervisor.guest.console_log import ConsoleLog
from supervisor.guest.container_input import ContainerInput
from supervisor.guest.health import Health
from supervisor.guest.qemu_process import RunningQemu
from supervisor.lazy_event import LazyEvent


class ConsoleFeed:
    """The output of one QEMU's console. `run` it in a task group; QEMU stays the caller's."""

    def __init__(
        self,
        qemu: RunningQemu,
        patterns: Iterable[ConsolePattern],
        hub: ConsoleHub,
        log: ConsoleLog,
        health: Health | None,
        container_input: ContainerInput | None,
        read_past_output: Callable[[], Awaitable[bytes]] | None,
    ) -> None:
        """`container_input` is typed into the console; None if the container's init reads it itself.

        `read_past_output` returns what an adopted guest printed before this daemon read its console."""
        self.ended = LazyEvent()
        """Set once all output is read."""
        self.has_printed = read_past_output is not None
        """Whether the guest has printed anything. One that is adopted may have."""
        self._qemu = qemu
        self._patterns = tuple(patterns)
        self._hub = hub
        self.log = log
        self._health = health
        self._container_input = container_input
        self._read_past_output = read_past_output
        self.scanner = ConsoleScanner(self._patterns)
        self._is_continued = False
        """Whether the guest goes on in another QEMU."""

    def go_on_from(self, before: "ConsoleFeed") -> None:
        """Take over what the guest printed in the QEMU that it comes from, such as a line that is not complete yet."""
        self.has_printed = before.has_printed
        self.scanner, before._is_continued = before.scanner, True

    async def run(self) -> None:
        """Read until QEMU has exited. End the QEMU of a guest that printed its last line: it halts and never exits."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.log.run)
                if self._read_past_output is not None:  # it begins after the reading, so no output is missed between
                    tasks.start_soon(self._scan_past, self._read_past_output)
                await self._read(tasks)
        finally:
            self.log.close()

    async def _read(self, tasks: anyio.abc.TaskGroup) -> None:
        process = self._qemu.process
        if self._qemu.console is not None:
            async with serial.opened(self._qemu.console, process.pid, process.pidfd) as console:
                with self._hub.typing_into(console):
                    if self._container_input is None:
                        await self._follow(console, tasks)
                    else:
                        async with anyio.create_task_group() as typing:
                            typing.start_soon(self._container_input.run)
                            await self._follow(console, tasks)
                            typing.cancel_scope.cancel()
        if not self._is_continued:
            self.scanner.close()
        self.ended.set()

    async def _follow(self, console: serial.Console, tasks: anyio.abc.TaskGroup) -> None:
        async for output in console.output():
            self._take(output, tasks)

    def _take(self, output: bytes, tasks: anyio.abc.TaskGroup) -> None:
        self.has_printed = True
        self._hub.publish(output)
        self.log.note_printed(len(output))
        if self.log.rests:
            tasks.start_soon(self.log.run)
        if self._health is not None:
            self._health.feed(output)
        if self.scanner.feed(output):
            tasks.start_soon(self._end_halted)

    async def _end_halted(self) -> None:
        await anyio.sleep(self.scanner.last_words_s)
        self._qemu.process.kill()

    async def _scan_past(self, read_past_output: Callable[[], Awaitable[bytes]]) -> None:
        """End QEMU if the guest printed its last line while no daemon ran."""
        past, output = ConsoleScanner(self._patterns), await read_past_output()
        self._hub.recall(output)
        if past.feed(output):
            self.scanner = past
            self._qemu.process.kill()
