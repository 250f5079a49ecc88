"""Read a container image by Docker's API: its configuration, and its files as one archive.

A container of the image is created for that, as `docker export` needs one. It is never started, and removed again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

import aiohttp
import anyio
import msgspec
from aiodocker import Docker as Client
from aiodocker.exceptions import DockerError

from supervisor.core.formats.docker_image import ImageProgram, parse_image_program
from supervisor.edges.docker_client import connection_failure, open_client
from supervisor.errors import Permanent, Step, Transient

_SILENCE_S = 600.0
"""How long Docker may say nothing."""
_CONNECT_S = 10.0
_REMOVE_S = 30.0
_CHUNK_BYTES = 1 << 20
_NO_COMMAND = ["/"]
"""An image without a command has no container; this one is never run."""


async def export_image(host: str, image: str, archive: IO[bytes]) -> ImageProgram:
    """Write the image's files to `archive`, as a tar file, and return what it says about its program.

    Raises Transient if Docker cannot be reached, Permanent if it has no such image, ConfigError for an address of no
    known form.
    """
    async with _client(host, image) as client:
        try:
            program = parse_image_program(await client.images.inspect(image))
        except msgspec.ValidationError as error:
            raise Transient(
                f"Docker's answer about image {image} is not understood: {error}", step=Step.DOCKER
            ) from error
        words = {} if program.entrypoint or program.command else {"Cmd": _NO_COMMAND}
        container = await client.containers.create({"Image": image, "Labels": {"vtapd.enable": "false"}, **words})
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
            async with client._query(f"containers/{container.id}/export", timeout=timeout) as answer:
                async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                    archive.write(chunk)
        finally:
            with anyio.move_on_after(_REMOVE_S, shield=True):
                await container.delete(force=True, v=True)
        return program


@asynccontextmanager
async def _client(host: str, image: str) -> AsyncIterator[Client]:
    """Yield a client, and translate the errors of what is done with it."""
    client = open_client(host)
    try:
        yield client
    except DockerError as error:
        if (failure := connection_failure(host, "export", error)) is not None:
            raise failure from error
        remedy = f"get it first: docker pull {image}" if error.status == 404 else ""
        raise Permanent(
            f"Docker cannot export image {image}: {error.message}", step=Step.DOCKER, remedy=remedy
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        said = str(error) or f"no answer within {_SILENCE_S:g} s"
        raise Transient(f"cannot ask Docker (export): {said}", step=Step.DOCKER) from error
    except OSError as error:
        raise Permanent(
            f"cannot store the files of image {image}: {error.strerror}",
            step=Step.ROOTFS,
            remedy="leave room for them in the folder for temporary files (TMPDIR)",
        ) from error
    finally:
        await client.close()
