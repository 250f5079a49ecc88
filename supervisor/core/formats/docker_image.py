"""An image's configuration in Docker's JSON: what a container of it runs.

(Docker Engine API v1.41, GET /images/NAME/json)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from supervisor.core.formats.docker_api import signal_number

_PORT = re.compile(r"([0-9]{1,5})/tcp")


@dataclass(frozen=True, slots=True)
class ImageProgram:
    """What an image says about its program."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    """Each as K=V."""
    folder: str = "/"
    user: str = ""
    """Docker's USER: a name or a uid, and after a colon a group's name or gid."""
    stop_signal: int = 15
    ports: tuple[int, ...] = ()
    """TCP ports of EXPOSE."""


class _Config(msgspec.Struct, rename="pascal"):
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    exposed_ports: Mapping[str, object] | None = None


class _Image(msgspec.Struct, rename="pascal"):
    config: _Config | None = None


def parse_image_program(answer: object) -> ImageProgram:
    """Return what an image says about its program. Raises msgspec.ValidationError if the answer is not understood."""
    config = msgspec.convert(answer, _Image).config or _Config()
    ports = [int(match[1]) for match in map(_PORT.fullmatch, config.exposed_ports or ()) if match]
    return ImageProgram(
        entrypoint=tuple(config.entrypoint or ()),
        command=tuple(config.cmd or ()),
        variables=tuple(config.env or ()),
        folder=config.working_dir or "/",
        user=config.user,
        stop_signal=signal_number(config.stop_signal),
        ports=tuple(sorted(ports)),
    )
