"""Results of a measurement: repeated values of vtapd and of a rival, their ratio with its spread, and a limit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Literal

Unit = Literal["s", "MiB", "KiB", "1/s", "%", "MB/s"]


@dataclass(frozen=True)
class Spread:
    """The quartiles of repeated values."""

    low: float
    median: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median(values), high, len(values))


@dataclass(frozen=True)
class Limit:
    """The bound for the median of the ratios."""

    bound: float
    way: Literal["at least", "below"]

    def is_met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.way == "at least" else ratio < self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.way == 'at least' else '<'} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One row. Values of vtapd and of the rival that were measured together have the same index."""

    name: str
    what: str
    rival: str
    unit: Unit
    ours: Sequence[float]
    theirs: Sequence[float]
    direction: Literal["times faster", "times the rival"]
    limit: Limit | None = None
    source: str = ""
    """How vtapd's value was measured."""
    details: dict[str, object] = field(default_factory=dict)
    holds_under_load: bool = False
    """Its ratio also holds on a busy machine: it compares processor time, memory or wake-ups, not elapsed time."""
    drawn: str = ""
    """Its plot as SVG, if it is not the usual comparison of vtapd and the rival."""

    @property
    def ratios(self) -> list[float]:
        pairs = zip(self.ours, self.theirs, strict=True)
        return [theirs / ours if self.direction == "times faster" else ours / theirs for ours, theirs in pairs]

    @property
    def ratio(self) -> Spread:
        return spread(self.ratios)

    @property
    def least_disturbed(self) -> float:
        """The ratio of the smallest values: whatever else a busy machine does makes a value larger."""
        ours, theirs = min(self.ours), min(self.theirs)
        return theirs / ours if self.direction == "times faster" else ours / theirs

    @property
    def meets_limit(self) -> bool:
        return self.limit is None or self.limit.is_met(self.ratio.median)
