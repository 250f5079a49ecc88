"""When a guest counts as ready, and what it must go on answering: `vtapd.ready` and `vtapd.alive`."""

import re
from dataclasses import dataclass

from supervisor.core.guest.regex import compile_pattern
from supervisor.core.units import parse_duration

_TCP = re.compile(r"tcp:([0-9]{1,5})")
_FAILS = re.compile(r"[1-9][0-9]{0,2}")
_ALIVE = "tcp:PORT or ping, then ,every=5s and ,fails=3 if need be"


@dataclass(frozen=True, slots=True)
class Question:
    """What a guest is asked over the network."""

    port: int | None = None
    """A TCP port that it accepts connections on; None for an ICMP echo."""

    def __str__(self) -> str:
        return "ping" if self.port is None else f"tcp:{self.port}"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What makes a guest ready: an answer, or a line on its console."""

    question: Question | None = None
    pattern: str = ""

    def __str__(self) -> str:
        return str(self.question) if self.question else f"console:{self.pattern}"


@dataclass(frozen=True, slots=True)
class Aliveness:
    """A guest that leaves `fails` questions in a row unanswered hangs."""

    question: Question
    every_s: float = 5.0
    fails: int = 3

    def __str__(self) -> str:
        return f"{self.question},every={self.every_s:g}s,fails={self.fails}"


def parse_ready(text: str) -> Readiness | None:
    """ValueError says what is allowed."""
    if text == "none":
        return None
    kind, _, pattern = text.partition(":")
    if kind == "console":
        compile_pattern(pattern)
        return Readiness(pattern=pattern)
    question = _parse_question(text)
    if question is None:
        raise ValueError("none, tcp:PORT, ping or console:REGEX")
    return Readiness(question)


def parse_alive(text: str) -> Aliveness:
    """ValueError says what is allowed."""
    first, *rest = text.split(",")
    question = _parse_question(first)
    options = dict(option.partition("=")[::2] for option in rest)
    if question is None or len(options) != len(rest) or not options.keys() <= {"every", "fails"}:
        raise ValueError(_ALIVE)
    fails = options.get("fails", "3")
    every_s = parse_duration(options.get("every", "5s"))
    if not _FAILS.fullmatch(fails) or every_s < 0.1:
        raise ValueError(f"{_ALIVE}; at least every 100ms, 1 to 999 fails")
    return Aliveness(question, every_s, int(fails))


def _parse_question(text: str) -> Question | None:
    if text == "ping":
        return Question()
    match = _TCP.fullmatch(text)
    return Question(int(match[1])) if match and 1 <= int(match[1]) <= 65535 else None
