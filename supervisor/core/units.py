"""Sizes and durations as people write them: `64M` as Docker does, `100ms` as systemd does."""

import re

_SIZE = re.compile(r"([0-9]{1,15})\s?([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

MIB = 1 << 20


def parse_size(text: str) -> int:
    """Return the bytes of `64M`, `1g`, `65536`; factors are powers of 1024. Raises ValueError with what is allowed."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError("a size such as 64M or 1G")
    return int(match[1]) * _FACTORS[match[2].lower()]


def parse_duration(text: str) -> float:
    """Return the seconds of `100ms`, `10s`, `1.5m`, `1h`. Raises ValueError with what is allowed."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("a duration such as 100ms, 10s or 5m")
    return float(match[1]) * _SECONDS[match[2]]
