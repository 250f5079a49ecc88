"""What is read from the archive of a container image, which may have been made to do harm."""

import io
import tarfile
from pathlib import Path

import pytest

from supervisor.core.guest.root_disk import FileType
from supervisor.edges.image_files import unpack
from supervisor.errors import Permanent


def archive(*members: tuple[str, bytes, bytes | str]) -> io.BytesIO:
    """Return a tar file: name, type, and content of a file or target of a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as files:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid = kind, 0o4755, 70000
            if isinstance(content, str):
                entry.linkname = content
            else:
                entry.size = len(content)
            files.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    made.seek(0)
    return made


def test_folders_come_before_their_files_and_links_belong_to_one_entry(tmp_path: Path) -> None:
    made = archive(
        ("a/b/f", tarfile.REGTYPE, b"text"), ("a/b", tarfile.DIRTYPE, b""), ("a", tarfile.DIRTYPE, b""),
        ("z", tarfile.LNKTYPE, "a/b/f"), ("s", tarfile.SYMTYPE, "/etc/passwd"), ("p", tarfile.FIFOTYPE, b""),
    )  # fmt: skip
    entries = unpack(made, tmp_path)
    assert [entry.path for entry in entries] == ["/a", "/p", "/s", "/a/b", "/a/b/f"]
    file = entries[-1]
    assert (file.mode, file.uid, file.links, Path(file.source).read_bytes()) == (0o4755, 70000, ("/z",), b"text")
    assert [entry.target for entry in entries if entry.type is FileType.SYMLINK] == ["/etc/passwd"]


def test_no_name_of_an_image_is_a_path_on_the_host(tmp_path: Path) -> None:
    """Only numbered files are made, whatever the archive says."""
    made = archive(
        ("../../out", tarfile.REGTYPE, b"1"), ("//abs", tarfile.REGTYPE, b"2"), ("l", tarfile.SYMTYPE, str(tmp_path)),
        ("l/in", tarfile.REGTYPE, b"3"), ("disk", tarfile.BLKTYPE, b""), ("same", tarfile.REGTYPE, b"4"),
        ("same", tarfile.REGTYPE, b"5"), ("last", tarfile.REGTYPE, b"6"), ("loop", tarfile.LNKTYPE, "loop"),
    )  # fmt: skip
    folder = tmp_path / "files"
    folder.mkdir()
    found = {entry.path: entry for entry in unpack(made, folder)}
    assert sorted(found) == ["/abs", "/disk", "/l", "/last", "/out", "/same"]
    assert Path(found["/same"].source).read_bytes() == b"5"
    assert Path(found["/last"].source).read_bytes() == b"6"
    assert sorted(path.name for path in folder.iterdir()) == [str(number) for number in range(6)]
    assert all(path.is_file() and not path.is_symlink() for path in folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def test_files_of_dockers_own_are_left_out(tmp_path: Path) -> None:
    made = archive((".dockerenv", tarfile.REGTYPE, b""), ("dev", tarfile.DIRTYPE, b""), ("dev/x", tarfile.CHRTYPE, b""))
    assert [entry.path for entry in unpack(made, tmp_path)] == ["/dev"]


def test_broken_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot unpack the image's files"):
        unpack(io.BytesIO(b"no archive" * 100), tmp_path)
