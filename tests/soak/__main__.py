"""`python -m tests.soak [--minutes N] [--seed N]`. Exit codes: 0 all as expected, 1 something is not, 2 misuse."""

import argparse
import os
import random
import shutil
import signal
import sys

from .run import Soak, SoakFailure
from .testbed import soak_testbed

NEEDED = ("dockerd", "docker", "ip", "iptables", "nsenter", "setpriv", "qemu-system-x86_64", "make", "gcc")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Run random operations on containers, guests, the daemon and Docker."
    )
    parser.add_argument("--minutes", type=float, default=15, help="how long it lasts; 15 by default")
    parser.add_argument("--seed", type=int, help="repeat the operations of a run; random by default")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("must be root, for network namespaces and Docker; try sudo make soak")
    if missing := [command for command in NEEDED if shutil.which(command) is None]:
        parser.error(f"not installed: {', '.join(missing)}; `make soak` installs them")
    seed = random.randrange(1 << 32) if asked.seed is None else asked.seed  # noqa: S311  # no secret
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that everything is removed
    with soak_testbed() as testbed:
        soak = Soak(testbed, seed)
        try:
            soak.run(asked.minutes * 60)
        except SoakFailure as failure:
            print(soak.report(str(failure)), file=sys.stderr)
            return 1
    return 0


sys.exit(main())
