"""The health check of a guest whose address is not known."""

import anyio
import pytest

from supervisor.core.container import ContainerHandles, Pid
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.health_spec import parse_alive
from supervisor.errors import Permanent
from supervisor.guest.activity import Activity
from supervisor.guest.health import Health


def test_guest_without_a_known_address_cannot_be_watched() -> None:
    handles = ContainerHandles(Pid(1), 0, 0, Cgroup({}, None))
    health = Health(handles, None, None, parse_alive("ping,every=100ms"), 0.0, adopted=True, activity=Activity())

    async def run() -> str | None:
        with anyio.fail_after(10):
            return await health.run(lambda: None, lambda: None, is_ready=True)

    with pytest.raises(Permanent, match="address is unknown"):
        anyio.run(run)
