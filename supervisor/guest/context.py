"""What all guests share: the configuration, Docker, the counters, and what decides how a QEMU is started."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.config import Config
from supervisor.edges.docker import Docker
from supervisor.guest.accelerator import Accelerator
from supervisor.guest.confinement import Confinement
from supervisor.guest.uids import UidPool
from supervisor.observability.metrics import Counters


@dataclass(kw_only=True)
class GuestContext:
    """The part of the daemon's context that guests use. A reload replaces what it changes."""

    config: Config
    docker: Docker
    counters: Counters
    confinement: Confinement
    uids: UidPool
    accelerator: Accelerator
    chance: Callable[[], float] = random.random
    """Spreads restart delays; in [0, 1)."""
