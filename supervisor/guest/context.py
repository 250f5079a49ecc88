"""What all guests share: the settings, Docker, and the counters."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.config import Config
from supervisor.core.guest.name_lookup import Places
from supervisor.edges.docker import Docker
from supervisor.guest.accelerator import Accelerator
from supervisor.guest.confinement import Confinement
from supervisor.guest.name_server import MOST_IN_FLIGHT
from supervisor.guest.reaper import Reaper
from supervisor.guest.settings import Settings
from supervisor.guest.trials import Trials
from supervisor.guest.uids import UidPool
from supervisor.observability.metrics import Counters


@dataclass(kw_only=True)
class GuestContext:
    """The part of the daemon's context that guests use."""

    settings: Settings
    """A reload replaces them as a whole; the rest stays for the life of the daemon."""
    docker: Docker
    counters: Counters
    chance: Callable[[], float] = random.random
    """Spreads restart delays; in [0, 1)."""
    query_places: Places = field(default_factory=lambda: Places(MOST_IN_FLIGHT))
    """Those of all guests' DNS queries."""

    @property
    def config(self) -> Config:
        return self.settings.config

    @property
    def confinement(self) -> Confinement:
        return self.settings.confinement

    @property
    def uids(self) -> UidPool:
        return self.settings.uids

    @property
    def reaper(self) -> Reaper:
        return self.settings.reaper

    @property
    def accelerator(self) -> Accelerator:
        return self.settings.accelerator

    @property
    def trials(self) -> Trials:
        return self.settings.trials
