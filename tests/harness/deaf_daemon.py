"""`vtapd run`, except that it does not hear which links are gone, as if the kernel's message came late.

python -m tests.harness.deaf_daemon run --config FILE
"""

import sys

from supervisor.cli import main
from supervisor.core.links import IfIndex
from supervisor.edges.kernel.link_events import LinkEvents

DEAF = (sys.executable, "-m", "tests.harness.deaf_daemon")

_read = LinkEvents.read


def read_nothing(self: LinkEvents) -> frozenset[IfIndex]:
    _read(self)
    return frozenset()


if __name__ == "__main__":
    LinkEvents.read = read_nothing  # type: ignore[method-assign]  # the product is the same but for this
    main.main()
