"""Pass on what is typed into a container to its guest's console: `docker run -i`, `docker attach`.

Only an init that never reads its standard input leaves it to the guest: vtapd-init. The input waits in the pipe or
terminal between Docker and the container while the guest does not read it, and while no daemon runs.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import anyio

from supervisor.container_log.files import write_line
from supervisor.core.container import Incarnation
from supervisor.core.formats.terminal import make_raw
from supervisor.edges.kernel import process
from supervisor.edges.kernel.standard_input import StandardInput, open_input
from supervisor.guest.console_hub import ConsoleHub
from supervisor.text import escape_controls


class ContainerInput:
    """The standard input of one run of a container. `run` it while a guest runs."""

    def __init__(self, incarnation: Incarnation, hub: ConsoleHub) -> None:
        self._incarnation = incarnation
        self._hub = hub
        self._noted_writer: str | None = None

    def terminal_settings(self) -> str:
        """Return how its terminal is set, for the record. Empty if it has none."""
        with self._opened() as stream:
            return ((stream and stream.settings()) or b"").hex()

    def make_raw(self, settings: str) -> None:
        """Have its terminal pass on each key at once, also Ctrl-C, and echo none. `settings` are those on record."""
        if settings:
            self.restore(make_raw(bytes.fromhex(settings)).hex())

    def restore(self, settings: str) -> None:
        """Set its terminal to the settings that are on record, if there are any."""
        if not settings:
            return
        with self._opened() as stream:
            if stream is not None:
                stream.change_settings(bytes.fromhex(settings))

    async def run(self) -> None:
        """Type what arrives into the console of the hub. Return at the end of the input, which means nothing."""
        with self._opened() as stream:
            while stream is not None and await self._pass_on(stream):
                pass

    @contextmanager
    def _opened(self) -> Iterator[StandardInput | None]:
        stream = open_input(self._incarnation.pid)
        if stream is None:
            yield None
            return
        with closing(stream):
            yield stream if process.is_same(self._incarnation) else None

    async def _pass_on(self, stream: StandardInput) -> bool:
        """Pass on one piece. Return whether there may be more."""
        await anyio.wait_readable(stream.descriptor)
        writer = self._hub.writer
        if writer is None:
            self._noted_writer = None
            return await self._hub.type_next(stream.read)
        if stream.is_terminal:
            self._note_writer(writer.who)
            return stream.read() != b""
        await self._hub.await_no_writer()
        return True

    def _note_writer(self, who: str) -> None:
        """Explain once to the person at the terminal why nothing happens."""
        if self._noted_writer != who:
            self._noted_writer = who
            text = f"{who} writes to the console (vtapd console); what is typed here is lost until it leaves"
            write_line(self._incarnation.pid, f"\r\n[vtapd: {escape_controls(text)}]\r")
