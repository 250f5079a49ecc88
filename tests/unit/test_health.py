"""When a guest is probed."""

from collections.abc import Callable

import anyio
import pytest

from supervisor.core.container import ContainerHandles, Pid
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.health_spec import parse_alive
from supervisor.errors import Permanent
from supervisor.guest.activity import Activity
from supervisor.guest.health import Health

HANDLES = ContainerHandles(Pid(1), 0, 0, Cgroup({}, None))
ALIVE = parse_alive("ping,every=100ms")


def watch(falls_asleep: Callable[[], bool]) -> None:
    """Watch a guest without an address, which fails at its first probe."""
    health = Health(HANDLES, None, None, ALIVE, 0.0, adopted=True, activity=Activity(), falls_asleep=falls_asleep)

    async def run() -> None:
        with anyio.fail_after(10):
            await health.run(lambda: None, lambda: None, is_ready=True)

    with pytest.raises(Permanent, match="address is unknown"):
        anyio.run(run)


def test_guest_without_a_known_address_cannot_be_watched() -> None:
    watch(lambda: False)


def test_guest_that_falls_asleep_is_not_probed() -> None:
    """A probe would wake it again."""
    falling = [True, True, True]
    watch(lambda: falling.pop() if falling else False)
    assert falling == []
