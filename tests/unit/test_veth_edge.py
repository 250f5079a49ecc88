"""pyroute2 is imported when it is first needed."""

import os
import subprocess
import sys

import anyio
import pytest

from supervisor.edges.kernel.veth import create_pair
from supervisor.errors import Transient


def test_daemon_starts_without_pyroute2() -> None:
    asked = "import sys, supervisor.daemon; sys.exit('pyroute2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_missing_pyroute2_is_an_error_that_leaves_the_socket_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2", None)  # `import` then raises ImportError
    descriptor = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(Transient, match="cannot import pyroute2"):
        anyio.run(create_pair, descriptor, "veth0", "veth1")
    os.close(descriptor)
