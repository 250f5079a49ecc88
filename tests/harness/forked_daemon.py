"""A fork server of `vtapd run`: an import of the program costs more time than most tests take.

    python -m tests.harness.forked_daemon

It imports beforehand what a daemon imports only once it needs it.
"""

from collections.abc import Callable

import anyio

import supervisor.daemon
from supervisor.cli.main import main

from .fork_server import serve

IMPORTED = (supervisor.daemon,)


def serve_imported(main: Callable[[], None]) -> None:
    anyio.run(anyio.sleep, 0)  # which imports anyio's backend
    serve(main)


if __name__ == "__main__":
    serve_imported(main)
