"""`python -m tests.bench [--check | --record] [ROW …]`. Exit codes: 0 done, 1 a ratio got worse, 2 misuse."""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import Console

from tests.harness.machine import REPOSITORY, Machine

from .asleep import measure_asleep
from .attach import measure_attach
from .bulk import measure_bulk
from .burst import measure_burst
from .command import measure_command
from .environment import bench_machine, remove_links
from .figures import Figure
from .guest_cost import measure_guest_cost
from .hundreds import measure_hundreds
from .idle import measure_idle
from .names import measure_names
from .private_link import measure_private_link
from .recorded import CHEAP, record, worse
from .report import README, print_table, write_readme, write_results
from .restart import measure_restart
from .resync import measure_resync
from .scrape import measure_scrape
from .service import measure_service
from .share import measure_share
from .snapshots import measure_snapshots
from .wake import measure_wake

ROWS: dict[str, tuple[Callable[[Machine], list[Figure]], str]] = {
    "attach": (partial(measure_attach, repetitions=15), "one container at a time, 15 times"),
    "restart": (partial(measure_restart, repetitions=15), "15 crashes"),
    "service": (partial(measure_service, repetitions=9), "9 starts and 9 crashes, to the guest's first answer"),
    "wake": (
        partial(measure_wake, repetitions=9),
        "9 wakes of a guest that was stopped, and 9 of one that was suspended",
    ),
    "snapshots": (partial(measure_snapshots, repetitions=5), "crashes of guests that have a snapshot, 5 times each"),
    "guest-cost": (partial(measure_guest_cost, repetitions=4), "10 guests at a time, 4 times"),
    "idle": (partial(measure_idle, repetitions=4), "watching a daemon that has nothing to do"),
    "resync": (partial(measure_resync, repetitions=6), "watching it look"),
    "scrape": (partial(measure_scrape, repetitions=10), "200 guests"),
    "command": (partial(measure_command, repetitions=30), "30 times"),
    "link": (partial(measure_private_link, repetitions=40), "a private link, made 40 times"),
    "names": (measure_names, "DNS queries of a guest, and a minute of 1000 in a second of another one"),
    "bulk": (partial(measure_bulk, repetitions=9), "9 downloads from a guest, on three ways"),
    "share": (partial(measure_share, repetitions=9), "files of a share, 9 times by 9p and by virtiofs"),
    "burst": (partial(measure_burst, pairs=2), "a hundred containers at once, five times"),
    "asleep": (measure_asleep, "guests, until there are 500, of which 20 are awake"),
    "hundreds": (measure_hundreds, "guests, until there are 250"),
}
RESULTS = REPOSITORY / "build" / "bench"
NEEDED = ("dockerd", "docker", "ip", "iptables", "nsenter", "setpriv", "qemu-system-x86_64", "make", "gcc")
TABLE_COLUMNS = 150  # where the output is no terminal


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure how fast vtapd is, against named rivals."
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all, if none is named")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--check", action="store_true", help="only the cheap rows; exit 1 if a ratio got worse by a third")
    way.add_argument("--record", action="store_true", help="only the cheap rows; record their ratios for --check")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(unknown)}")
    if os.geteuid() != 0:
        parser.error("must be root, for network namespaces and Docker; try sudo make bench")
    if missing := [command for command in NEEDED if shutil.which(command) is None]:
        parser.error(f"not installed: {', '.join(missing)}; `make bench` installs them")
    console = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that everything is removed
    began_s = time.monotonic()
    rows = asked.rows or (CHEAP if asked.check or asked.record else [*ROWS])
    with bench_machine() as machine:
        figures = _measure(machine, rows, console)
        again = sorted({row for row, _ in worse(figures)}) if asked.check else []
        if again:
            console.print("worse than recorded; measuring again …")
            figures |= _measure(machine, again, console)
    shown = [figure for row in figures.values() for figure in row]
    print_table(shown, console)
    write_results(shown, RESULTS)
    took_s = time.monotonic() - began_s
    console.print(f"{took_s:.0f} s; plots and every single value are in {RESULTS.relative_to(REPOSITORY)}/")
    if rows == [*ROWS] and not asked.record:
        write_readme(shown)
        console.print(f"the table in {README.relative_to(REPOSITORY)} is of this run")
    if asked.record:
        record(figures)
    problems = [message for _, message in worse(figures)] if asked.check else []
    for message in problems:
        print(message, file=sys.stderr)
    return 1 if problems else 0


def _measure(machine: Machine, rows: Sequence[str], console: Console) -> dict[str, list[Figure]]:
    figures = {}
    for row in rows:
        measure, what = ROWS[row]
        console.print(f"{row}: {what} …")
        figures[row] = measure(machine)
        remove_links(machine)
    return figures


sys.exit(main())
