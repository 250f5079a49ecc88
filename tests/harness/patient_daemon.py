"""`vtapd run`, except that Docker answers it late about containers with the label `late`.

python -m tests.harness.patient_daemon run --config FILE
"""

import sys

import anyio

from supervisor.cli import main
from supervisor.core.container import Container, ContainerId
from supervisor.edges.docker import Docker

LATE = {"late": "true"}
LATE_S = 3.0
PATIENT = (sys.executable, "-m", "tests.harness.patient_daemon")

_inspect = Docker.inspect


async def inspect_late(self: Docker, container_id: ContainerId) -> Container | None:
    container = await _inspect(self, container_id)
    if container is not None and "late" in container.labels:
        await anyio.sleep(LATE_S)
    return container


if __name__ == "__main__":
    Docker.inspect = inspect_late  # type: ignore[method-assign]  # the product is the same but for this
    main.main()
