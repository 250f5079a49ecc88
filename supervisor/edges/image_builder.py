"""Build an image by Docker's API (POST /build), from a build context that is written here.

The classic builder behind that call is part of every Docker Engine. It needs no BuildKit, no client program and no
registry.
"""

import io
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import aiohttp
from aiodocker.exceptions import DockerError

from supervisor.core.guest.image_recipe import FILES, ImageFile
from supervisor.edges.docker_client import connection_failure, open_client, remedy_of
from supervisor.errors import Permanent, Step, Transient

_SILENCE_S = 600.0
"""How long Docker may say nothing. It says nothing while it copies a file, however large."""
_CONNECT_S = 10.0
_DOCKERFILE = "Dockerfile"


def write_context(dockerfile: str, files: Iterable[ImageFile]) -> IO[bytes]:
    """Return a temporary file with the build context, at its beginning. The caller closes it.

    Everything belongs to root. Raises Permanent if a file cannot be read.
    """
    context = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        with tarfile.open(fileobj=context, mode="w") as archive:
            entry = tarfile.TarInfo(_DOCKERFILE)
            entry.size = len(dockerfile.encode())
            archive.addfile(entry, io.BytesIO(dockerfile.encode()))
            for file in files:
                archive.add(Path(file.source).resolve(), f"{FILES}{file.target}", filter=_as_root)
        context.seek(0)
    except OSError as error:
        context.close()
        where = f" {error.filename!a}" if error.filename else ""
        raise Permanent(
            f"cannot put together the image's files:{where} {error.strerror}",
            step=Step.DOCKER,
            remedy="name files that you may read, and leave room for a copy of them in the folder for temporary files",
        ) from error
    except BaseException:
        context.close()
        raise
    return context


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= stat.S_IRUSR
    return entry


async def build(host: str, context: IO[bytes], tag: str, on_progress: Callable[[str], None]) -> str:
    """Build the image and return its id. `on_progress` gets Docker's lines.

    Raises Transient if Docker cannot be reached, Permanent if it refuses, ConfigError for an address of no known form.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
    client = open_client(host)
    image = ""
    try:
        steps = client.images.build(fileobj=context, encoding="identity", tag=tag, timeout=timeout, stream=True)
        async for step in steps:
            on_progress(str(step.get("stream", step.get("status", ""))))
            image = str(step.get("aux", {}).get("ID", image))
    except DockerError as error:
        if (failure := connection_failure(host, "build", error)) is not None:
            raise failure from error
        raise Permanent(f"Docker refused to build {tag}: {error.message}", step=Step.DOCKER) from error
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        said = str(error) or f"no answer within {_SILENCE_S:g} s"
        raise Transient(f"cannot ask Docker (build): {said}", step=Step.DOCKER, remedy=remedy_of(host)) from error
    finally:
        await client.close()
    if not image:
        raise Permanent(f"Docker ended the build of {tag} without an image", step=Step.DOCKER)
    return image
