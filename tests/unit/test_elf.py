import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.kinds.elf import MAX_NOTE_BYTES, MAX_SEGMENTS, Note, read_elf

from .images import LOAD, PT_NOTE, Part, answered, elf, multiboot, note, notes, read

NOTES = note(b"Solo5", 7, b"abcde") + note(b"X", 1, b"")
READ = (Note(b"Solo5", 7, b"abcde"), Note(b"X", 1, b""))


@pytest.mark.parametrize("wide", [True, False])
def test_notes_are_read_in_both_widths(wide: bool) -> None:
    assert read(elf(notes(NOTES), wide=wide)).notes == READ


@pytest.mark.parametrize("wide", [True, False])
def test_notes_are_read_anywhere_in_the_file(wide: bool) -> None:
    text = Part(1, bytes(5_000_000))
    parsed = read(elf(notes(NOTES), text, notes(NOTES), wide=wide))
    assert parsed.notes_by_segment == (READ, READ)
    assert parsed.notes == READ + READ
    assert [segment.memory_bytes for segment in parsed.loads] == [5_000_000]
    assert parsed.note_segments[1].file.offset > 5_000_000


def test_content_that_is_not_elf_gives_none() -> None:
    for content in (b"", b"\x7fELF", b"\x7fELF\x02".ljust(63), b"\x7fELF\x01".ljust(51), b"MZ".ljust(100), multiboot()):
        assert answered(read_elf(content, len(content)), content) is None


def test_file_without_notes_has_none() -> None:
    assert read(elf()).notes == read(elf(LOAD)).notes == read(elf(notes(b"short"))).notes == ()


def test_truncated_notes_are_not_read() -> None:
    whole = elf(notes(NOTES))
    assert read(whole[:100]).notes == ()
    assert read(whole[: len(whole) - len(note(b"X", 1, b""))]).notes == READ[:1]


@pytest.mark.parametrize("offset", [1 << 20, (1 << 64) - 8])
def test_spans_beyond_the_file_are_not_requested(offset: int) -> None:
    """`answered` asserts it."""
    parsed = read(elf(notes(NOTES, offset=offset, size=(1 << 64) - 1), table=64))
    assert parsed.notes == ()
    assert parsed.note_segments[0].file.is_beyond(1 << 63)
    assert read(elf(notes(NOTES), table=offset)).segments == ()


def test_file_that_shrinks_during_the_read_is_read_to_its_end() -> None:
    whole = elf(notes(NOTES))
    reading = read_elf(whole, len(whole))
    assert next(reading).size == 56
    with pytest.raises(StopIteration) as done:
        reading.send(b"")
    assert done.value.value.segments == ()


@pytest.mark.parametrize(("align", "padded"), [(4, 4), (0, 4), (1, 1), (8, 8)])
def test_notes_are_padded_to_the_alignment_of_their_segment(align: int, padded: int) -> None:
    """QEMU does so too. 0 has no meaning, and is read as the usual 4."""
    first = (4).to_bytes(4, "little") + (5).to_bytes(4, "little") + bytes([9, 0, 0, 0])
    first += b"abc\0".ljust(-(-4 // padded) * padded, b"\0") + b"12345".ljust(-(-5 // padded) * padded, b"\0")
    second = bytes(8) + bytes([7, 0, 0, 0])
    assert read(elf(notes(first, second, align=align))).notes == (Note(b"abc", 9, b"12345"), Note(b"", 7, b""))


def test_entry_size_in_the_header_is_ignored() -> None:
    whole = bytearray(elf(notes(NOTES)))
    whole[54:56] = (99).to_bytes(2, "little")
    assert read(bytes(whole)).notes == READ


def test_amount_read_is_bounded() -> None:
    many = elf(*[notes(bytes(12) * 1000)] * 200)
    parsed = read(many)
    assert len(parsed.segments) == MAX_SEGMENTS
    assert parsed.segment_count == 200
    assert len(parsed.notes) * 12 <= MAX_NOTE_BYTES
    assert len(parsed.notes) * 12 > MAX_NOTE_BYTES - 12 * MAX_SEGMENTS
    overlapping = elf(*[Part(PT_NOTE, offset=0, size=1 << 40)] * 100) + bytes(1 << 20)
    assert len(read(overlapping).notes) * 12 <= MAX_NOTE_BYTES


@given(st.binary(max_size=200), st.integers(0, 200), st.booleans())
def test_random_bytes_do_not_break_the_reader(noise: bytes, at: int, wide: bool) -> None:
    whole = elf(notes(NOTES), wide=wide)
    spoiled = whole[:at] + noise + whole[at + len(noise) :]
    parsed = answered(read_elf(spoiled, len(spoiled)), spoiled)
    assert parsed is None or len(parsed.segments) <= MAX_SEGMENTS
