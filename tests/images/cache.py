"""Keeps built files while they are current: a stamp file has the digest of everything that a file was made from."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

SOURCES = Path(__file__).parent
BUILD = SOURCES.parents[1] / "build" / "images"


class ImageError(Exception):
    """An image cannot be built; the message says what is missing and what would help."""


def digest_of(inputs: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in inputs:
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def sources() -> list[Path]:
    """Return the builders themselves: a changed builder makes new images."""
    return sorted(path for path in SOURCES.rglob("*") if path.is_file() and path.suffix != ".pyc")


def cached(target: Path, inputs: Iterable[Path], build: Callable[[Path], None]) -> Path:
    """Call `build` with a temporary path unless `target` was made from these inputs."""
    key = digest_of(inputs)
    stamp = target.with_name(target.name + ".made-from")
    if target.exists() and stamp.exists() and stamp.read_text() == key:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    build(partial)
    partial.replace(target)
    stamp.write_text(key)
    return target
