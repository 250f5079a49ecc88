"""The course of a soak: rounds of gusts, a checkpoint after each; after each block of them nothing is left."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from subprocess import TimeoutExpired

from tests.harness.waiting import CommandFailed

from .checkpoint import problems
from .figures import COLUMNS, Figures, format_row, leaks, measure
from .stage import Stage
from .storm import MOST_AT_ONCE, NOBODY, Operation, Storm

SETTLES_S = 90.0
POLL_S = 0.2
LAST_OPERATIONS, LAST_LINES = 40, 60
PROBLEMS = (CommandFailed, AssertionError, OSError, TimeoutExpired)


class Failed(Exception):
    """Something is not as it should be."""


class Soak:
    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage, self.seed = stage, seed
        self.storm = Storm(seed)
        self.history: list[str] = []
        self.counts: Counter[str] = Counter()
        self._waits_s: list[float] = []

    def run(self, duration_s: float) -> None:
        until = time.monotonic() + duration_s
        self.stage.start_daemon()
        print("  ".join(COLUMNS), flush=True)
        fresh = self._checkpoint()
        while time.monotonic() < until:
            self._block(until, fresh)
        self._print_table()

    def report(self, failure: str) -> str:
        last = "\n".join(self.history[-LAST_OPERATIONS:])
        lines = "\n".join(self.stage.log_tail().splitlines()[-LAST_LINES:])
        return f"{failure}\n\nThe last operations:\n{last}\n\nvtapd's log:\n{lines}\n\nseed {self.seed}"

    def _block(self, until: float, fresh: Figures) -> None:
        """At its end all containers are removed, and the machine must be as it was."""
        first = fresh
        while True:
            for gust in self.storm.round():
                self._blow(gust)
            now = self._checkpoint()
            if now.lives != first.lives or first is fresh:
                first = now
            if self.storm.begins_block or time.monotonic() > until:
                break
        self.history.append("remove all")
        self.stage.remove_all()
        self.storm.model.members.clear()
        self._await(lambda: leaks(self.stage, fresh, first, self._measure(0.0)))
        self._print_row(self._measure(0.0))

    def _blow(self, gust: list[Operation]) -> None:
        """What concerns all is done by this thread: daemons end with the one that started them (prctl, PDEATHSIG)."""
        self.history.append(" | ".join(map(str, gust)))
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            done = [pool.submit(self._do, each) for each in gust if each.member is not NOBODY]
            for operation in (each for each in gust if each.member is NOBODY):
                self._do(operation)
        for future in done:
            future.result()

    def _do(self, operation: Operation) -> None:
        self.counts[operation.name] += 1
        try:
            operation.do(self.stage, operation.member, operation.argument)
        except PROBLEMS as error:
            raise Failed(f"{operation}: {error}") from error

    def _checkpoint(self) -> Figures:
        """All is quiet: what should be must be, within a deadline."""
        model = self.storm.model
        self._check_daemon()
        if not self.stage.daemon.is_running():
            self.stage.start_daemon()
        waited_s = self._await(lambda: problems(self.stage, model))
        self._waits_s.append(waited_s)
        figures = self._measure(waited_s)
        self._print_row(figures)
        return figures

    def _check_daemon(self) -> None:
        if self.stage.daemon_has_gone:
            raise Failed("vtapd ended by itself")
        if bugs := [*self.stage.bugs, *self.stage.daemon.bugs()]:
            raise Failed(f"vtapd has a bug: {bugs}")

    def _measure(self, waited_s: float) -> Figures:
        return measure(self.stage, self.storm.model, sum(self.counts.values()), waited_s)

    def _await(self, wrong: Callable[[], list[str]]) -> float:
        began_s = time.monotonic()
        while found := wrong():
            self._check_daemon()
            if time.monotonic() - began_s > SETTLES_S:
                raise Failed(f"not within {SETTLES_S:g} s:\n" + "\n".join(found))
            time.sleep(POLL_S)
        return time.monotonic() - began_s

    def _print_row(self, figures: Figures) -> None:
        cells = zip(COLUMNS, format_row(figures), strict=True)
        print("  ".join(text.rjust(len(name)) for name, text in cells), flush=True)

    def _print_table(self) -> None:
        print("\noperations")
        for name, count in self.counts.most_common():
            print(f"  {name:22}{count:5}")
        print(f"checkpoints {len(self._waits_s)}, the longest wait at one {max(self._waits_s):.1f} s")
        print(f"lives of vtapd {self.stage.lives}; nothing is left and no guest was lost")
