"""The real dockerd fulfils the contract that the fake must fulfil."""

from dataclasses import dataclass

import anyio.to_thread
import pytest

from tests.fakes.docker_contract import DockerContract
from tests.harness.machine import Machine

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class RealDocker:
    """tests.fakes.docker_contract.Engine, with the docker command."""

    machine: Machine

    @property
    def host(self) -> str:
        return self.machine.docker_host

    async def run(self, labels: dict[str, str], name: str) -> str:
        options = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        return await self._docker("run", "-d", "--name", name, *options, self.machine.image)

    async def start(self, container_id: str) -> None:
        await self._docker("start", container_id)

    async def kill(self, container_id: str) -> None:
        await self._docker("kill", container_id)

    async def pause(self, container_id: str) -> None:
        await self._docker("pause", container_id)

    async def remove(self, container_id: str) -> None:
        await self._docker("rm", "-f", container_id)

    async def _docker(self, *words: str) -> str:
        return await anyio.to_thread.run_sync(lambda: self.machine.docker(*words))


@pytest.fixture
def engine(machine: Machine) -> RealDocker:
    return RealDocker(machine)


class TestRealDocker(DockerContract):
    """All tests of the contract."""
