"""What the README says of Swarm, word for word, so that tests do what a reader does."""

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.partition("\n## Docker Swarm\n")[2].partition("\n## ")[0]

# The test image's guest is elsewhere than that of the README's example.
_EXAMPLE, _OURS = "/app.bin", "/hello.bin"
IMAGE = "app-image"


def _block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no {language} block in the README's section on Swarm"
    return found[1].replace(_EXAMPLE, _OURS)


def commands() -> list[str]:
    """Those that create the network and the service."""
    return [line.removeprefix("# ") for line in _block("console").replace("\\\n", " ").splitlines()]


def stack() -> str:
    """The stack file."""
    return _block("yaml")
