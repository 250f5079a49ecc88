"""Parse `vtapd.ready` and `vtapd.alive`: when a guest is ready, and what it has to keep answering."""

import re
from dataclasses import dataclass

from supervisor.core.guest.regex import compile_pattern
from supervisor.core.units import parse_duration

_OVER_TCP = re.compile(r"(?:tcp:([0-9]{1,5})|http:([0-9]{1,5})(/[!-+\--~]{0,255}))")  # no comma: it ends a probe
_FAILS = re.compile(r"[1-9][0-9]{0,2}")
_ALIVE = "tcp:PORT, http:PORT/PATH or ping, then ,every=5s and ,fails=3 if need be"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a guest has to answer over the network."""

    port: int | None = None
    """A TCP port that it accepts connections on; None for an ICMP echo."""
    path: str | None = None
    """What a GET on that port has to succeed for; None if a connection is enough."""

    def __str__(self) -> str:
        if self.port is None:
            return "ping"
        return f"tcp:{self.port}" if self.path is None else f"http:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What makes a guest ready: the answer to a probe, or a pattern on its console."""

    probe: Probe | None = None
    pattern: str = ""

    def __str__(self) -> str:
        return str(self.probe) if self.probe else f"console:{self.pattern}"


@dataclass(frozen=True, slots=True)
class Aliveness:
    """How often a guest is probed. It hangs once it leaves `fails` probes in a row unanswered."""

    probe: Probe
    every_s: float = 5.0
    fails: int = 3

    def __str__(self) -> str:
        return f"{self.probe},every={self.every_s:g}s,fails={self.fails}"


def parse_ready(text: str) -> Readiness | None:
    """Parse `vtapd.ready`. Raises ValueError that says what is allowed."""
    if text == "none":
        return None
    kind, _, pattern = text.partition(":")
    if kind == "console":
        compile_pattern(pattern)
        return Readiness(pattern=pattern)
    probe = _parse_probe(text)
    if probe is None:
        raise ValueError("none, tcp:PORT, http:PORT/PATH, ping or console:REGEX")
    return Readiness(probe)


def parse_alive(text: str) -> Aliveness:
    """Parse `vtapd.alive`. Raises ValueError that says what is allowed."""
    first, *rest = text.split(",")
    probe = _parse_probe(first)
    options = dict(option.partition("=")[::2] for option in rest)
    if probe is None or len(options) != len(rest) or not options.keys() <= {"every", "fails"}:
        raise ValueError(_ALIVE)
    fails = options.get("fails", "3")
    every_s = parse_duration(options.get("every", "5s"))
    if not _FAILS.fullmatch(fails) or every_s < 0.1:
        raise ValueError(f"{_ALIVE}; at least every 100ms, 1 to 999 fails")
    return Aliveness(probe, every_s, int(fails))


def _parse_probe(text: str) -> Probe | None:
    if text == "ping":
        return Probe()
    match = _OVER_TCP.fullmatch(text)
    port = int(match[1] or match[2]) if match else 0
    return Probe(port, match[3]) if match and 1 <= port <= 65535 else None
