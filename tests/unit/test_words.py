"""Text for people uses plain words: docstrings, comments, messages, help texts, and what else the sources hold.

STYLE: if a word stands here, a reader whose English is a second language stumbles over it, or it hides who does what.
"""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WORDS = re.compile(
    r"\b(whom|whoever|anew|afresh|reckon\w*|told|tell|tells|telling|parted with|comes? to that|becomes? of|sits? before"
    r"|a look|nobody|somebody|anybody|everybody|beside|he|him|his)\b",
    re.IGNORECASE,
)
NOT_PROSE = re.compile(r"\bas nobody\b|[`\"']nobody[`\"']|user nobody|nobody:|\"tell\"|\.ci/beside")
"""The names of a user and of a script, and a word of this list in quotes."""
UNREADABLE = (".json", ".png", ".ico")
READ = ("*.md", ".ci", "Makefile", "config", "supervisor", "systemd", "tests/docs")


def sources() -> list[str]:
    """Return what the repository has; nothing if this is no repository, or not the user's own."""
    listed = subprocess.run(["git", "ls-files", *READ], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return [path for path in listed.stdout.splitlines() if Path(path).suffix not in UNREADABLE]


@pytest.mark.parametrize("path", sources())
def test_words_are_plain(path: str) -> None:
    text = NOT_PROSE.sub("", (REPOSITORY / path).read_text())
    found = [f"line {text.count(chr(10), 0, match.start()) + 1}: {match[0]}" for match in WORDS.finditer(text)]
    assert found == []
