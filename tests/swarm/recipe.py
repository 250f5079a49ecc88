"""Read the service and the stack file of vtapd-swarm(7), word for word, so that the tests do what a reader does."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "supervisor" / "man" / "vtapd-swarm.7.md").read_text()

# The test image has its guest at another path than the page's example.
_EXAMPLE, _OURS = "/app.bin", "/hello.bin"
IMAGE = "app-image"


def _first_block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no {language} block in vtapd-swarm.7.md"
    return found[1].replace(_EXAMPLE, _OURS)


def commands() -> list[str]:
    """Return the commands that create the network and the service."""
    return [line.removeprefix("# ") for line in _first_block("console").replace("\\\n", " ").splitlines()]


def stack() -> str:
    """Return the stack file."""
    return _first_block("yaml")
