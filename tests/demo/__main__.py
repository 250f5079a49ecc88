"""`python -m tests.demo [--keep|--stop]`. Exit codes: 0 every step was right, 1 one was not, 2 misuse, 130 Ctrl-C."""

import os
import signal
import sys
import time
from types import FrameType

from .leftovers import Leftovers, only_demo
from .steps import Demo
from .terminal import DemoError, headline, show_text

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    mode = sys.argv[1:]
    if mode not in ([], ["--keep"], ["--stop"]):
        print(f"usage: python -m tests.demo [--keep|--stop], not {' '.join(mode)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("demo: must be root, for network namespaces and Docker; try sudo make demo", file=sys.stderr)
        return 1
    try:
        with only_demo():
            return _stop() if mode == ["--stop"] else _show(keep=mode == ["--keep"])
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _show(*, keep: bool) -> int:
    if (earlier := Leftovers.load()) is not None:
        show_text("An earlier demo is still there; removing it.")
        if problems := earlier.remove():
            raise DemoError(f"could not remove it: {'; '.join(problems)}")
    began = time.monotonic()
    made = Leftovers()
    demo = Demo(made)
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        demo.run()
        if keep:
            demo.explain_what_runs()
        else:
            demo.clean_up()
    except (DemoError, OSError, KeyboardInterrupt) as error:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # cleaning up has its own deadlines
        return _give_up(made, demo, error)
    headline(f"Every step was checked and right: {time.monotonic() - began:.1f} s")
    return 0


def _give_up(made: Leftovers, demo: Demo, error: BaseException) -> int:
    interrupted = isinstance(error, KeyboardInterrupt)
    print(f"\ndemo: {'interrupted' if interrupted else error}", file=sys.stderr)
    if not interrupted and (log := demo.log_tail()):
        print(f"The daemon's last log lines:\n{log}", file=sys.stderr)
    show_text("Cleaning up …")
    for problem in made.remove():
        print(f"demo: could not clean up: {problem}", file=sys.stderr)
    return 130 if interrupted else 1


def _stop() -> int:
    made = Leftovers.load()
    if made is None:
        show_text("No demo is left running.")
        return 0
    problems = made.remove()
    for problem in problems:
        print(f"demo: could not clean up: {problem}", file=sys.stderr)
    show_text("The demo is ended; nothing of it is left." if not problems else "The demo is ended.")
    return 1 if problems else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


sys.exit(main())
