"""The expected state of each container, changed by operations and never by observations."""

from dataclasses import dataclass, field
from random import Random

MAX_CONTAINERS = 8
"""The maximum number of containers at any time."""

# Not /hang: vtapd notices a guest that only falls silent only if a label requests it.
FAILING = ("/crash", "/panic", "/abort", "/trap", "/exit?code=7")
CLEAN = ("/poweroff", "/exit?code=0")


@dataclass
class ExpectedContainer:
    """The expected state of one container."""

    number: int
    guest: bool
    restart: str
    """vtapd.restart, if it has a guest: always, on-failure or no."""
    on_exit: str
    docker_restarts: bool
    """Docker restarts it (--restart unless-stopped)."""
    running: bool = True
    paused: bool = False
    detached: bool = False
    done: bool = False
    """Its guest has ended for good, in this run of the container."""
    connected: bool = False
    """Whether it is connected to a second network."""
    removed: bool = False
    settling: bool = False
    """No operations until the next checkpoint: vtapd itself will end it."""
    letter: str = ""
    """A suffix that makes its present name differ from earlier ones."""

    @property
    def name(self) -> str:
        return f"soak{self.number}{self.letter}"

    @property
    def attached(self) -> bool:
        return self.running and not self.detached

    @property
    def has_guest(self) -> bool:
        """Whether a QEMU should run for it, or be starting."""
        return self.attached and self.guest and not self.done

    @property
    def taps(self) -> int:
        return (1 + self.connected) * self.attached

    def comes_back(self, path: str) -> bool:
        """Whether its guest is restarted after this end."""
        return self.restart == "always" or (self.restart == "on-failure" and path in FAILING)

    def begin_run(self) -> None:
        """Expect a new run of the container, without the history of the last one."""
        self.running, self.paused, self.detached, self.done = True, False, False, False

    def end_run(self) -> None:
        self.running = self.paused = self.detached = self.done = False

    def finish(self) -> None:
        """Expect that its guest is done, and ends the container if its label says so. Docker may start it again."""
        if self.on_exit == "stop":
            if self.docker_restarts:
                self.begin_run()
            else:
                self.end_run()
            self.settling = True
        else:
            self.done = True

    def __str__(self) -> str:
        states = ("running", "paused", "detached", "done", "connected", "settling")
        is_so = [state for state in states if getattr(self, state)] or ["stopped"]
        kind = f"guest restart={self.restart} on-exit={self.on_exit}" if self.guest else "plain"
        return f"#{self.number} ({kind}{', unless-stopped' if self.docker_restarts else ''}): {' '.join(is_so)}"


@dataclass
class Model:
    """All containers, and whether the daemon runs."""

    containers: list[ExpectedContainer] = field(default_factory=list)
    daemon_runs: bool = True
    made: int = 0

    def make_container(self, random: Random) -> ExpectedContainer:
        self.made += 1
        restart = random.choices(("on-failure", "always", "no"), (4, 2, 2))[0]
        expected = ExpectedContainer(
            self.made,
            guest=random.random() < 0.7,
            restart=restart,
            on_exit=random.choice(("stop", "keep")),
            docker_restarts=random.random() < 0.3,
        )
        self.containers.append(expected)
        return expected

    def forget_removed(self) -> None:
        self.containers = [expected for expected in self.containers if not expected.removed]

    def settle(self) -> None:
        """Expect that everything under way has ended."""
        for expected in self.containers:
            expected.settling = False
