"""Parse `vtapd.idle`: after how long without packets a guest falls asleep, and in which way."""

from dataclasses import dataclass

from supervisor.core.units import parse_duration

_ALLOWED = "off, or a duration of at least 1s such as 5m, then ,suspend or ,stop if need be"
SUSPEND, STOP = "suspend", "stop"
"""With the first its state is kept, and it goes on where it was. With the second it boots when it is woken."""


@dataclass(frozen=True, slots=True)
class Idle:
    """When a guest falls asleep, and in which way."""

    after_s: float
    mode: str

    def __str__(self) -> str:
        return f"{self.after_s:g}s,{self.mode}"


def parse_idle(text: str) -> Idle | None:
    """Parse `vtapd.idle`. Raises ValueError that says what is allowed."""
    if text == "off":
        return None
    duration, comma, mode = text.partition(",")
    try:
        after_s = parse_duration(duration)
    except ValueError:
        raise ValueError(_ALLOWED) from None
    if after_s < 1.0 or (comma and mode not in (SUSPEND, STOP)):
        raise ValueError(_ALLOWED)
    return Idle(after_s, mode or SUSPEND)
