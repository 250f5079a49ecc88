"""`python -m tests.bench [--check] [ROW …]`. Exit codes: 0 done, 1 a limit is missed (--check), 2 misuse."""

import argparse
import os
import shutil
import signal
import sys
import time

from rich.console import Console

from tests.integration.machine import REPOSITORY, Machine

from .attach import measure_attach
from .crew import measure_crew
from .crowd import crowd
from .figures import Figure
from .idle import measure_idle
from .report import print_table, write_json
from .restart import measure_restart
from .resync import measure_resync
from .scrape import GUESTS, measure_scrape
from .stage import bench_machine

ROWS = ("attach", "restart", "crew", "idle", "resync", "scrape")
RESULTS = REPOSITORY / "build" / "bench"
NEEDED = ("dockerd", "docker", "ip", "iptables", "nsenter", "setpriv", "qemu-system-x86_64", "make", "gcc")
TABLE_COLUMNS = 150  # where the output is no terminal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what the README says.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all, if none is named")
    parser.add_argument("--check", action="store_true", help="exit 1 when a limit is missed")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(unknown)}")
    if os.geteuid() != 0:
        parser.error("must be root, for network namespaces and Docker; try sudo make bench")
    if missing := [command for command in NEEDED if shutil.which(command) is None]:
        parser.error(f"not installed: {', '.join(missing)}; `make bench` installs them")
    console = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all is taken down again
    began_s = time.monotonic()
    with bench_machine() as machine:
        figures = _measure(machine, asked.rows or ROWS, console)
    print_table(figures, console)
    write_json(figures, RESULTS)
    console.print(f"{time.monotonic() - began_s:.0f} s; every single value is in {RESULTS.relative_to(REPOSITORY)}/")
    missed = [figure.what for figure in figures if not figure.meets_limit]
    for what in missed:
        print(f"limit missed: {what}", file=sys.stderr)
    return 1 if asked.check and missed else 0


def _measure(machine: Machine, rows: tuple[str, ...] | list[str], console: Console) -> list[Figure]:
    figures: list[Figure] = []
    if "attach" in rows:
        console.print("attach: one container at a time, 15 times …")
        figures += measure_attach(machine, 15)
    if "restart" in rows:
        console.print("restart: 15 crashes …")
        figures.append(measure_restart(machine, 15))
    if "crew" in rows:
        console.print("crew: 10 guests at a time, 4 times …")
        figures += measure_crew(machine, 4)
    if {"idle", "resync"} & set(rows):
        with crowd(machine) as containers:
            if "idle" in rows:
                console.print("idle: watching a daemon that has nothing to do …")
                figures += measure_idle(machine, 4)
            if "resync" in rows:
                console.print("resync: watching it look …")
                figures.append(measure_resync(machine, containers, 6))
    if "scrape" in rows:
        console.print(f"scrape: {GUESTS} guests …")
        figures += measure_scrape(machine, 10)
    return figures


sys.exit(main())
