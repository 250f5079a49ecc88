"""What all guests share: the settings, Docker, and the counters."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from supervisor.config import Config
from supervisor.core.guest.name_lookup import Places
from supervisor.edges.docker import Docker
from supervisor.edges.qemu.state_files import StateFiles
from supervisor.guest.accelerator import Accelerator
from supervisor.guest.confinement import Confinement
from supervisor.guest.name_server import MOST_IN_FLIGHT
from supervisor.guest.reaper import Reaper
from supervisor.guest.settings import Settings
from supervisor.guest.trials import Trials
from supervisor.guest.uids import UidPool
from supervisor.observability.metrics import Counters

MOST_WAKING, MOST_FALLING_ASLEEP = 8, 2
"""A storm of packets for many guests that sleep must not slow down each of them until none answers in time."""
MOST_LOGS = 2
"""Reading what many guests printed before must not slow down their adoption."""


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
    wake_places: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MOST_WAKING))
    """Those of all guests that are woken at the same time."""
    sleep_places: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MOST_FALLING_ASLEEP))
    """Those of all guests whose states are saved at the same time."""
    log_places: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MOST_LOGS))
    """Those of all adopted guests whose logs are read at the same time."""

    standbys: int = 0
    """How many QEMUs wait to restore a guest."""

    def has_room_for_standby(self) -> bool:
        """Whether one more QEMU may wait to restore a guest."""
        return self.standbys < self.config.limits.standbys

    @property
    def config(self) -> Config:
        return self.settings.config

    @property
    def state_files(self) -> StateFiles:
        """Where the states of guests that sleep are kept."""
        return StateFiles(Path(self.config.guest.sleep_dir))

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
