"""The cpio format of an initial RAM disk."""

import re

from supervisor.core.formats import newc

_MEMBER = re.compile(rb"070701((?:[0-9a-f]{8}){13})([^\0]+)\0")


def test_members_are_aligned_and_a_trailer_ends_them() -> None:
    nodes = [newc.folder("bin"), newc.file("bin/sh", b"abcde"), newc.symlink("bin/ash", "sh")]
    made = newc.archive([*nodes, newc.character_device("console", 5, 1)])
    found = {match[2]: [int(match[1][at : at + 8], 16) for at in range(0, 104, 8)] for match in _MEMBER.finditer(made)}
    assert list(found) == [b"bin", b"bin/sh", b"bin/ash", b"console", b"TRAILER!!!"]
    assert [fields[1] for fields in found.values()] == [0o040755, 0o100755, 0o120777, 0o020600, 0]
    assert found[b"bin/sh"][6] == 5
    assert found[b"console"][9:11] == [5, 1]
    assert all(match.start() % 4 == 0 for match in _MEMBER.finditer(made))
    assert b"abcde" + bytes(3) + b"070701" in made
