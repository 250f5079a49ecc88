"""Find a VGA card's font in what QEMU answers, to read text back from pictures of the screen.

In text modes the card draws characters with the font in plane 2 of its memory, in 32 bytes for each of 256 characters.
The card's first PCI region is that memory as it is, four planes side by side. To read it there changes nothing in the
card, unlike a read at 0xb8000 or of its registers (hw/display/vga.c: vga_mem_readb, vga_draw_text).
"""

import re
from collections.abc import Iterator

CHARACTERS, SLOT_BYTES = 256, 32
FONT_BYTES = CHARACTERS * SLOT_BYTES
_VGA_CLASS = 0x0300  # PCI Code and ID Assignment Specification: display controller, VGA-compatible
_WORD = re.compile(r"0x([0-9a-f]{8})\b")
_PLANE_SHIFT = 16


def find_vga_memory(answer: object) -> int | None:
    """Return the physical address of the VGA card's memory, from the answer of QMP `query-pci`; None if it has none."""
    for device in _devices(answer):
        match device:
            case {"class_info": {"class": int(number)}, "regions": [{"address": int(address)}, *_]} if (
                number == _VGA_CLASS and address > 0
            ):
                return address
    return None


def _devices(answer: object) -> Iterator[object]:
    for bus in answer if isinstance(answer, list) else []:
        devices = bus.get("devices") if isinstance(bus, dict) else None
        yield from devices if isinstance(devices, list) else []


def font_command(address: int) -> str:
    """Return the command of QEMU's monitor that prints the memory that the font is in."""
    return f"xp /{FONT_BYTES}xw {address:#x}"


def parse_font(printed: str) -> bytes | None:
    """Return the font in what that command printed; None if it printed something else."""
    words = [int(word, 16) for line in printed.splitlines() for word in _WORD.findall(line.partition(":")[2])]
    return bytes(word >> _PLANE_SHIFT & 0xFF for word in words) if len(words) == FONT_BYTES else None
