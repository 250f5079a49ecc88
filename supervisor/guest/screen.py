"""A guest's VGA card and keyboard: draw its screen, read its font, press its keys."""

from collections.abc import Sequence
from contextlib import closing

import anyio

from supervisor.core.formats.us_keyboard import key_events
from supervisor.core.formats.vga_font import find_vga_memory, font_command, parse_font
from supervisor.edges.qemu.memory_file import MemoryFile
from supervisor.errors import Step, Transient
from supervisor.guest.qmp_monitor import QmpMonitor

_PICTURE_S = 10.0


class GuestScreen:
    """The screen of one QEMU. All methods raise Transient if QEMU refuses, is gone, or does not answer."""

    def __init__(self, monitor: QmpMonitor) -> None:
        self._monitor = monitor

    async def draw(self) -> bytes:
        """Return what is on the screen, as PPM.

        Ignores cancellation for a while: QEMU would keep a file that it was given before the caller learned its number.
        """
        with closing(MemoryFile()) as picture, anyio.move_on_after(_PICTURE_S, shield=True):
            await self._monitor.screendump(picture.writer)
            return picture.read()
        raise Transient(f"QEMU did not draw its screen within {_PICTURE_S:g} s", step=Step.SCREEN)

    async def read_font(self) -> bytes:
        """Return the font of the card's text modes. The guest does not notice."""
        address = find_vga_memory(await self._monitor.execute("query-pci", {}))
        if address is None:
            raise Transient("the VGA card's memory is not mapped", step=Step.SCREEN)
        command = {"command-line": font_command(address)}
        printed = await self._monitor.execute("human-monitor-command", command)
        font = parse_font(printed) if isinstance(printed, str) else None
        if font is None:
            raise Transient("QEMU did not print the VGA card's memory", step=Step.SCREEN)
        return font

    async def press(self, keys: Sequence[str]) -> None:
        """Press these keys one after the other, and release them in the reverse order."""
        await self._monitor.execute("input-send-event", key_events(keys))
