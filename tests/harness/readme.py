"""The README's commands, to be run: every ```console block under a `<!-- tried: NAME -->`, and the files beside them.

A line that begins with `# ` is a command, a trailing backslash goes on in the next; what follows is what it prints.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .machine import REPOSITORY

README = REPOSITORY / "README.md"
_BLOCK = re.compile(r"<!-- tried: ([a-z ]+?)(?: as (\S+))? -->\n+```(\S*)\n(.*?)```\n", re.DOTALL)
_PROMPT = "# "
_ANYTHING = "…"
_VARYING = (
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{6,64}\b"), "ID"),
    (re.compile(r"\d+(?:[.:]\d+)*"), "0"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True)
class Command:
    line: str
    prints: tuple[str, ...]
    """Lines that it is to print, in this order; `…` stands for any."""


@dataclass(frozen=True)
class Session:
    """What belongs together, in the README's order."""

    files: dict[str, str]
    commands: tuple[Command, ...]


def sessions(text: str) -> dict[str, Session]:
    """By name."""
    found: dict[str, Session] = {}
    for name, file, _, content in _BLOCK.findall(text):
        session = found.get(name, Session({}, ()))
        if file:
            found[name] = Session(session.files | {file: content}, session.commands)
        else:
            found[name] = Session(session.files, (*session.commands, *_commands(content)))
    return found


def _commands(block: str) -> Iterator[Command]:
    for part in re.split(rf"^{_PROMPT}", block.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
        line, *printed = part.splitlines()
        yield Command(line, tuple(printed))


def same_text(line: str) -> str:
    """Without what differs from run to run: numbers, ids, the width of columns."""
    for pattern, replacement in _VARYING:
        line = pattern.sub(replacement, line)
    return line.strip()


def missing_lines(command: Command, output: str) -> list[str]:
    """What the README says it prints and it did not, in that order."""
    rest = iter([same_text(line) for line in output.splitlines()])
    wanted = [same_text(line) for line in command.prints if line.strip() not in ("", _ANYTHING)]
    return [line for line in wanted if line not in rest]


def readme() -> str:
    return Path(README).read_text()
