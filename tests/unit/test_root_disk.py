"""Which commands put an image's files on a disk, and how large the disk is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.root_disk import BLOCK_BYTES, Entry, FileType, commands_for, size_of
from supervisor.core.units import MIB
from supervisor.errors import Rejected


def made(entry: Entry) -> list[str]:
    """Return the commands that make it, without those for its owner and time."""
    return [line for line in commands_for([entry]) if not line.startswith("sif")]


def test_each_type_of_file_is_made() -> None:
    assert made(Entry("/a", FileType.FOLDER)) == ['mkdir "/a"']
    assert made(Entry("/a/b c", FileType.FILE, source="/tmp/7")) == ['write "/tmp/7" "/a/b c"']
    assert made(Entry("/a/l", FileType.SYMLINK, target="../b")) == ['symlink "/a/l" "../b"']
    assert made(Entry("/a/p", FileType.FIFO)) == ['cd "/a"', 'mknod "p" p', 'cd "/"']
    assert made(Entry("/c", FileType.CHARACTER_DEVICE, device=(1, 3))) == ['cd "/"', 'mknod "c" c 1 3', 'cd "/"']
    assert made(Entry("/b", FileType.BLOCK_DEVICE, device=(8, 0))) == ['cd "/"', 'mknod "b" b 8 0', 'cd "/"']


def test_mode_owner_and_time_are_the_images() -> None:
    entry = Entry("/su", FileType.FILE, 0o4755, 70000, 5, 1234, source="/tmp/0")
    assert list(commands_for([entry]))[1:] == [
        'sif "/su" mode 0104755', 'sif "/su" uid 70000', 'sif "/su" gid 5', 'sif "/su" mtime @1234',
    ]  # fmt: skip
    assert 'sif "/" mode 041777' in list(commands_for([Entry("/", FileType.FOLDER, 0o1777)]))
    assert 'sif "/old" mtime @0' in list(commands_for([Entry("/old", FileType.FOLDER, mtime_s=-1)]))
    assert made(Entry("/", FileType.FOLDER)) == []


def test_links_are_made_when_all_folders_are_there() -> None:
    entries = [Entry("/a", FileType.FILE, source="/tmp/0", links=("/f/b", "/c")), Entry("/f", FileType.FOLDER)]
    assert list(commands_for(entries))[-3:] == ['ln "/a" "/f/b"', 'ln "/a" "/c"', 'sif "/a" links_count 3']


@given(st.text(st.characters(exclude_characters="\n\r\0/"), min_size=1, max_size=40))
def test_any_other_name_is_one_word(name: str) -> None:
    (line,) = made(Entry(f"/{name}", FileType.FOLDER))
    quoted = line.removeprefix("mkdir ")
    assert re.fullmatch(r'"([^"]|"")*"', quoted)
    assert quoted[1:-1].replace('""', '"') == f"/{name}"


@pytest.mark.parametrize(
    "entry",
    [
        Entry("/two\nlines", FileType.FOLDER),
        Entry("/link", FileType.SYMLINK, target="a\rb"),
        Entry("/link", FileType.SYMLINK, target='"' * 4000),
        Entry("/" + "a/" * 4000, FileType.FILE, source="/tmp/0"),
    ],
)
def test_name_that_debugfs_cannot_read_is_refused(entry: Entry) -> None:
    with pytest.raises(Rejected, match="cannot be put on a disk"):
        list(commands_for([entry]))


def test_disk_has_room_for_more() -> None:
    small = size_of([Entry("/a", FileType.FILE, size_bytes=1)], None)
    assert 64 * MIB < small.bytes < 96 * MIB
    assert small.bytes % BLOCK_BYTES == 0
    files = [Entry(f"/{n}", FileType.FILE, size_bytes=100 * MIB) for n in range(20)]
    large = size_of(files, None)
    assert 2400 * MIB < large.bytes < 2800 * MIB
    assert large.inodes > 20
    middle = size_of(files[:2], None)
    assert 264 * MIB < middle.bytes < 320 * MIB


def test_asked_size_is_checked() -> None:
    files = [Entry("/a", FileType.FILE, size_bytes=100 * MIB)]
    assert size_of(files, 200 * MIB).bytes == 200 * MIB
    with pytest.raises(Rejected, match="do not fit on a disk of 99 MiB") as refused:
        size_of(files, 99 * MIB)
    assert re.fullmatch(r"name a --size of 1\d\dM or more", refused.value.remedy)
