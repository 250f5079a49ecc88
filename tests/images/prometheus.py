"""Debian's Prometheus and promtool: unpacked, not installed, since an installed one would start and listen."""

from pathlib import Path

from .cache import ImageError
from .packages import unpacked


def build() -> list[Path]:
    commands = [unpacked("prometheus") / "usr/bin" / name for name in ("prometheus", "promtool")]
    if not commands[1].is_file():  # a package of its own since Debian 13
        commands[1] = unpacked("promtool") / "usr/bin/promtool"
    for command in commands:
        if not command.is_file():
            raise ImageError(f"package prometheus holds no {command.name}")
    return commands
