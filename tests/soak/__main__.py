"""`python -m tests.soak [--minutes N] [--seed N]`. Exit codes: 0 all as it should be, 1 something is not, 2 misuse."""

import argparse
import os
import random
import shutil
import signal
import sys

from .run import Failed, Soak
from .stage import soak_stage

NEEDED = ("dockerd", "docker", "ip", "iptables", "nsenter", "setpriv", "qemu-system-x86_64", "make", "gcc")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="A storm over all that vtapd looks after."
    )
    parser.add_argument("--minutes", type=float, default=15, help="how long it lasts, 15 if not said")
    parser.add_argument("--seed", type=int, help="to have the same storm again; a random one, if not said")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("must be root, for network namespaces and Docker; try sudo make soak")
    if missing := [command for command in NEEDED if shutil.which(command) is None]:
        parser.error(f"not installed: {', '.join(missing)}; `make soak` installs them")
    seed = random.randrange(1 << 32) if asked.seed is None else asked.seed  # noqa: S311  # no secret
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all is taken down again
    with soak_stage() as stage:
        soak = Soak(stage, seed)
        try:
            soak.run(asked.minutes * 60)
        except Failed as failure:
            print(soak.report(str(failure)), file=sys.stderr)
            return 1
    return 0


sys.exit(main())
