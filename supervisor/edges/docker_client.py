"""Open a client of Docker's API, and say why Docker cannot be reached. For the edges that ask Docker."""

import aiohttp
from aiodocker import Docker as Client
from aiodocker.exceptions import DockerError

from supervisor.errors import ConfigError, Step, Transient


def open_client(host: str) -> Client:
    """Return a client, which the caller closes. Raises ConfigError for an address of no known form."""
    try:
        return Client(url=host)
    except (ValueError, DockerError, AssertionError) as error:
        remedy = "write it as unix:///path or tcp://host:port in [docker] host or DOCKER_HOST"
        raise ConfigError(f"Docker's address {host!a} is not understood", remedy=remedy) from error


def remedy_of(host: str) -> str:
    """Return what to do if Docker at this address does not answer."""
    return f"is Docker running? its address is {host}, set by [docker] host or DOCKER_HOST"


def connection_failure(host: str, what: str, error: DockerError) -> Transient | None:
    """Return the error to raise if Docker could not be reached, without what aiodocker and aiohttp say of themselves.

    None if Docker answered.
    """
    if not isinstance(error.__context__, aiohttp.ClientConnectorError):
        return None
    why = error.__context__.os_error.strerror
    return Transient(f"cannot ask Docker ({what}): {why}", step=Step.DOCKER, remedy=remedy_of(host))
