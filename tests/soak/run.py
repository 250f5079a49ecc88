"""The course of a soak test: rounds of steps with a checkpoint after each; after each block nothing may be left."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from subprocess import TimeoutExpired

from tests.harness.waiting import CommandFailed

from .checkpoint import problems
from .figures import COLUMNS, Figures, format_row, leaks, measure
from .schedule import ALL, MOST_AT_ONCE, Operation, Schedule
from .testbed import Testbed

SETTLES_S = 90.0
POLL_S = 0.2
LAST_OPERATIONS, LAST_LINES = 40, 60
PROBLEMS = (CommandFailed, AssertionError, OSError, TimeoutExpired)


class SoakFailure(Exception):
    """Something differs from the expected state."""


class Soak:
    def __init__(self, testbed: Testbed, seed: int) -> None:
        self.testbed, self.seed = testbed, seed
        self.schedule = Schedule(seed)
        self.history: list[str] = []
        self.counts: Counter[str] = Counter()
        self._waits_s: list[float] = []

    def run(self, duration_s: float) -> None:
        until = time.monotonic() + duration_s
        self.testbed.start_daemon()
        print("  ".join(COLUMNS), flush=True)
        fresh = self._checkpoint()
        while time.monotonic() < until:
            self._block(until, fresh)
        self._print_table()

    def report(self, failure: str) -> str:
        last = "\n".join(self.history[-LAST_OPERATIONS:])
        lines = "\n".join(self.testbed.log_tail().splitlines()[-LAST_LINES:])
        return f"{failure}\n\nThe last operations:\n{last}\n\nvtapd's log:\n{lines}\n\nseed {self.seed}"

    def _block(self, until: float, fresh: Figures) -> None:
        """Run rounds; at the end remove all containers, and assert that the machine is as before."""
        first = fresh
        while True:
            for step in self.schedule.round():
                self._perform(step)
            now = self._checkpoint()
            if now.daemon_starts != first.daemon_starts or first is fresh:
                first = now
            if self.schedule.begins_block or time.monotonic() > until:
                break
        self.history.append("remove all")
        self.testbed.remove_all()
        self.schedule.model.containers.clear()
        self._await(lambda: leaks(self.testbed, fresh, first, self._measure(0.0)))
        self._print_row(self._measure(0.0))

    def _perform(self, step: list[Operation]) -> None:
        """Run operations on all in this thread: daemons end with the thread that started them (prctl, PDEATHSIG)."""
        self.history.append(" | ".join(map(str, step)))
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            done = [pool.submit(self._do, each) for each in step if each.expected is not ALL]
            for operation in (each for each in step if each.expected is ALL):
                self._do(operation)
        for future in done:
            future.result()

    def _do(self, operation: Operation) -> None:
        self.counts[operation.name] += 1
        try:
            operation.do(self.testbed, operation.expected, operation.argument)
        except PROBLEMS as error:
            raise SoakFailure(f"{operation}: {error}") from error

    def _checkpoint(self) -> Figures:
        """Wait, with a deadline, until no operation is under way and the state is as expected."""
        model = self.schedule.model
        self._check_daemon()
        if not self.testbed.daemon.is_running():
            self.testbed.start_daemon()
        waited_s = self._await(lambda: problems(self.testbed, model))
        self._waits_s.append(waited_s)
        figures = self._measure(waited_s)
        self._print_row(figures)
        return figures

    def _check_daemon(self) -> None:
        if self.testbed.daemon_has_gone:
            raise SoakFailure("vtapd ended by itself")
        if bugs := [*self.testbed.bugs, *self.testbed.daemon.bugs()]:
            raise SoakFailure(f"vtapd has a bug: {bugs}")

    def _measure(self, waited_s: float) -> Figures:
        return measure(self.testbed, self.schedule.model, sum(self.counts.values()), waited_s)

    def _await(self, wrong: Callable[[], list[str]]) -> float:
        began_s = time.monotonic()
        while found := wrong():
            self._check_daemon()
            if time.monotonic() - began_s > SETTLES_S:
                raise SoakFailure(f"not within {SETTLES_S:g} s:\n" + "\n".join(found))
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
        print(f"starts of vtapd {self.testbed.daemon_starts}; nothing is left and no guest was lost")
