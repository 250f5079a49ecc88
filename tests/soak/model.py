"""What should be: one small value for each container, changed by what is done and never by what is seen."""

from dataclasses import dataclass, field
from random import Random

CROWD = 8
"""So many containers at most, at any time."""

# Not /hang: a guest that only falls silent is no business of vtapd's unless a label asks for it.
FAILING = ("/crash", "/panic", "/abort", "/trap", "/exit?code=7")
CLEAN = ("/poweroff", "/exit?code=0")


@dataclass
class Member:
    """One container, as the storm has left it."""

    number: int
    guest: bool
    restart: str
    """vtapd.restart, for those with a guest: always, on-failure or no."""
    on_exit: str
    docker_restarts: bool
    """Docker starts it again by itself (--restart unless-stopped)."""
    running: bool = True
    paused: bool = False
    detached: bool = False
    done: bool = False
    """Its guest has ended for good, in this run of the container."""
    connected: bool = False
    """To a second network."""
    removed: bool = False
    settling: bool = False
    """Left in peace until the next checkpoint: vtapd itself is to stop it."""
    letter: str = ""
    """By which its present name differs from others that it had."""

    @property
    def name(self) -> str:
        return f"soak{self.number}{self.letter}"

    @property
    def attached(self) -> bool:
        return self.running and not self.detached

    @property
    def has_guest(self) -> bool:
        """Whether a QEMU should run for it, or be on its way."""
        return self.attached and self.guest and not self.done

    @property
    def taps(self) -> int:
        return (1 + self.connected) * self.attached

    def comes_back(self, path: str) -> bool:
        """Whether its guest is to be started again after this end."""
        return self.restart == "always" or (self.restart == "on-failure" and path in FAILING)

    def begin_run(self) -> None:
        """A new run of the container knows nothing of the one before."""
        self.running, self.paused, self.detached, self.done = True, False, False, False

    def end_run(self) -> None:
        self.running = self.paused = self.detached = self.done = False

    def finish(self) -> None:
        """Its guest is done, and takes the container with it if its label says so."""
        if self.on_exit == "stop":
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

    members: list[Member] = field(default_factory=list)
    daemon_runs: bool = True
    made: int = 0

    def make_member(self, random: Random) -> Member:
        self.made += 1
        restart = random.choices(("on-failure", "always", "no"), (4, 2, 2))[0]
        member = Member(
            self.made,
            guest=random.random() < 0.7,
            restart=restart,
            on_exit=random.choice(("stop", "keep")),
            docker_restarts=random.random() < 0.3,
        )
        self.members.append(member)
        return member

    def forget_removed(self) -> None:
        self.members = [member for member in self.members if not member.removed]

    def calm(self) -> None:
        """All that was under way has come to its end."""
        for member in self.members:
            member.settling = False
