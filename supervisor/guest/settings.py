"""Everything that follows from one configuration. A reload builds new settings, and then replaces the old ones."""

from contextlib import ExitStack
from dataclasses import dataclass

from supervisor.config import Config
from supervisor.core.container import User
from supervisor.guest.accelerator import Accelerator
from supervisor.guest.confinement import Confinement
from supervisor.guest.reaper import Reaper
from supervisor.guest.trials import Trials
from supervisor.guest.uids import UidPool


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of guests that start from now on. Guests that run keep what they were started with."""

    config: Config
    user: User
    confinement: Confinement
    uids: UidPool
    accelerator: Accelerator
    trials: Trials
    reaper: Reaper
    """Stays for the life of the daemon."""

    @classmethod
    async def of(cls, config: Config, user: User, reaper: Reaper) -> "Settings":
        """Build them. Raises a VtapdError if the configuration requires a sandbox, and QEMU cannot have one."""
        confinement = await _confinement(config, user, reaper)
        accelerator, trials = Accelerator(config.guest.qemu, user), Trials(config.guest.qemu, user)
        return cls(config, user, confinement, UidPool(user, config.uids), accelerator, trials, reaper)

    async def reconfigured(self, config: Config, user: User) -> "Settings":
        """Build settings for another configuration. What stays the same is kept, and guests that run keep their UIDs.

        Raises as `of` does, and then nothing has changed.
        """
        old, new = self.config.guest, config.guest
        same_program = (old.qemu, self.user) == (new.qemu, user)
        same_sandbox = same_program and old.sandbox == new.sandbox
        confinement = self.confinement if same_sandbox else await _confinement(config, user, self.reaper)
        accelerator = self.accelerator if same_program else Accelerator(new.qemu, user)
        trials = self.trials if same_program else Trials(new.qemu, user)
        uids = self.uids.reconfigured(user, config.uids)
        return Settings(config, user, confinement, uids, accelerator, trials, self.reaper)


async def _confinement(config: Config, user: User, reaper: Reaper) -> Confinement:
    confinement = Confinement(config.guest.qemu, config.guest.sandbox, config.run_dir, user, reaper)
    if config.guest.sandbox == "required":
        with ExitStack() as owned:
            await confinement.launch_environment(owned)
    return confinement
