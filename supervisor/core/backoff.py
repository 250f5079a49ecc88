"""Compute how long to wait between tries that fail: each delay is longer than the last, up to a limit."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that start at `first_s`, are multiplied by `growth` after each failure, and never exceed `last_s`."""

    first_s: float
    last_s: float
    growth: float = 2.0

    def delay_s(self, failures: int) -> float:
        """Return how long to wait after this many failures in a row; the first failure is number 1."""
        try:
            return min(self.first_s * self.growth ** (failures - 1), self.last_s)
        except OverflowError:
            return self.last_s

    def delays_s(self) -> Iterator[float]:
        """Yield the delay after the first failure, after the second, and so on without end."""
        return map(self.delay_s, itertools.count(1))
