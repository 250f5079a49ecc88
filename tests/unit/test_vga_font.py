"""The VGA card's font in what QEMU answers."""

import pytest

from supervisor.core.formats.vga_font import FONT_BYTES, find_vga_memory, font_command, parse_font

VGA = {"class_info": {"class": 0x300}, "regions": [{"bar": 0, "address": 0xFD000000}, {"bar": 2, "address": 1}]}
NIC = {"class_info": {"class": 0x200}, "regions": [{"bar": 0, "address": 5}]}


def test_memory_is_the_first_region_of_the_vga_card() -> None:
    assert find_vga_memory([{"devices": [NIC, VGA]}]) == 0xFD000000
    assert find_vga_memory([{"devices": []}, {"devices": [VGA]}]) == 0xFD000000


@pytest.mark.parametrize(
    "answer",
    [
        None, {}, [], [None], [{}], [{"devices": None}], [{"devices": [None, NIC]}],
        [{"devices": [VGA | {"regions": []}]}], [{"devices": [VGA | {"regions": [{"address": -1}]}]}],
        [{"devices": [VGA | {"regions": [{"address": "x"}]}]}],
    ],
)  # fmt: skip
def test_card_without_memory(answer: object) -> None:
    assert find_vga_memory(answer) is None


def test_font_is_in_the_third_byte_of_each_word() -> None:
    assert font_command(0xFD000000) == "xp /8192xw 0xfd000000"
    lines = [
        f"00000000fd{at * 4:06x}: " + " ".join(f"0x00{(at + word) % 251:02x}0720" for word in range(4)) + "\r\n"
        for at in range(0, FONT_BYTES, 4)
    ]
    assert parse_font("".join(lines)) == bytes(at % 251 for at in range(FONT_BYTES))
    assert parse_font("".join(lines[1:])) is None


@pytest.mark.parametrize("printed", ["", "unknown command: 'xp'", "Cannot access memory"])
def test_anything_else_is_no_font(printed: str) -> None:
    assert parse_font(printed) is None
