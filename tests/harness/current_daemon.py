"""Which daemon runs just now: starting one takes longer than most tests, so those that can share it do."""

from .daemon import Daemon, Tables
from .machine import Machine


class CurrentDaemon:
    """At most one daemon runs at a time, since each would attach the containers of the other."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.daemon: Daemon | None = None
        self._asked: Tables = {}

    def get(self, config: Tables) -> Daemon:
        """The running one if it has this configuration, else a new one."""
        if self.daemon is None or not self.daemon.is_running() or self._asked != config:
            self.stop()
            self.daemon, self._asked = Daemon(self.machine, config).start(), config
        return self.daemon

    def stop(self) -> None:
        if self.daemon is not None and self.daemon.is_running():
            self.daemon.stop()
        self.daemon = None
