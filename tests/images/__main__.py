"""Command line: build or fetch the requested image if needed, and print the paths of its files."""

import fcntl
import sys

from . import container, ipxe, linux_guest, prometheus, vmlinux
from .cache import BUILD, ImageError

BUILDERS = {
    "container": container.build,
    "ipxe": ipxe.build,
    "linux": linux_guest.build,
    "linux-installed": linux_guest.build_installed,
    "linux-distribution": linux_guest.build_distribution,
    "linux-generic": linux_guest.build_generic,
    "prometheus": prometheus.build,
    "vmlinux": vmlinux.build,
}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in BUILDERS:
        print(f"usage: python -m images {'|'.join(BUILDERS)}", file=sys.stderr)
        return 2
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        with (BUILD / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two tests or two targets of make may ask for the same image at once
            for path in BUILDERS[sys.argv[1]]():
                print(path)
    except ImageError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
