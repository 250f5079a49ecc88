"""The cpio format that Linux unpacks as an initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).

It is written here because `cpio` is not on every machine, and cannot add device nodes that do not exist on it.
"""

import stat
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """One file; `data` is the target of a symlink."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Node:
    return Node(name, stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, mode: int = 0o755) -> Node:
    return Node(name, stat.S_IFREG | mode, data)


def symlink(name: str, target: str) -> Node:
    return Node(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int) -> Node:
    return Node(name, stat.S_IFCHR | 0o600, device=(major, minor))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _member(inode: int, node: Node) -> bytes:
    name = node.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (inode, node.mode, 0, 0, links, 0, len(node.data), 0, 0, *node.device, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(node.data)


def archive(nodes: list[Node]) -> bytes:
    """Join nodes in the given order: a folder must come before its contents."""
    members = [_member(inode, node) for inode, node in enumerate(nodes, 1)]
    return b"".join((*members, _member(0, Node("TRAILER!!!", 0))))
