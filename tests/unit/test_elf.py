import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guests.elf import Note, notes_of

from .images import elf, elf_with_notes, note

NOTES = note(b"Solo5", 7, b"abcde") + note(b"X", 1, b"")
READ = (Note(b"Solo5", 7, b"abcde"), Note(b"X", 1, b""))


@pytest.mark.parametrize("wide", [True, False])
def test_notes_are_read_in_both_widths(wide: bool) -> None:
    assert notes_of(elf_with_notes(NOTES, wide=wide)) == READ


def test_what_has_none_has_none() -> None:
    assert notes_of(elf()) == notes_of(b"") == notes_of(b"\x7fELF") == notes_of(b"MZ" + bytes(100)) == ()
    load = bytearray(elf_with_notes(NOTES))
    load[64] = 1  # PT_LOAD
    assert notes_of(bytes(load)) == ()


def test_what_lies_past_the_beginning_is_not_read() -> None:
    whole = elf_with_notes(NOTES)
    assert notes_of(whole[:100]) == ()
    assert notes_of(whole[: len(whole) - len(note(b"X", 1, b""))]) == READ[:1]


@given(st.binary(max_size=200), st.integers(0, 200), st.booleans())
def test_any_bytes_can_be_looked_at(noise: bytes, at: int, wide: bool) -> None:
    whole = elf_with_notes(NOTES, wide=wide)
    assert isinstance(notes_of(whole[:at] + noise + whole[at + len(noise) :]), tuple)
