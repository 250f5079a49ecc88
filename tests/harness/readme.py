"""Read the commands that a test types: every ```console block under a `<!-- tried: NAME -->` mark, and its files.

README.md and the tutorial have such marks. A line that begins with `# ` is a command. A trailing backslash continues it
in the next line. The lines below a command are what it prints.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .machine import REPOSITORY

PAGES = {
    "readme": REPOSITORY / "README.md",
    "tutorial": REPOSITORY / "supervisor" / "man" / "vtapd-tutorial.7.md",
}
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
    """Lines that it must print, in this order; `…` stands for any lines."""


@dataclass(frozen=True)
class Session:
    """Commands of one page that belong together, in the page's order."""

    files: dict[str, str]
    commands: tuple[Command, ...]

    def names_image(self, image: str) -> bool:
        """Whether the image is named in the commands or files; a file with its name and a suffix is not."""
        texts = (*self.files.values(), *(command.line for command in self.commands))
        return any(re.search(rf"\b{image}\b(?!\.)", text) for text in texts)


def all_sessions() -> dict[str, Session]:
    """Return the sessions of all pages, each under the names of its page and its mark."""
    return {
        f"{page}-{name}": session
        for page, path in PAGES.items()
        for name, session in sessions(path.read_text()).items()
    }  # fmt: skip


def sessions(text: str) -> dict[str, Session]:
    """Return the sessions of one page by name."""
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
    """Replace what differs from run to run: numbers, ids, the width of columns."""
    for pattern, replacement in _VARYING:
        line = pattern.sub(replacement, line)
    return line.strip()


def missing_lines(command: Command, output: str) -> list[str]:
    """Return the lines of the page that the output lacks, in that order."""
    rest = iter([same_text(line) for line in output.splitlines()])
    wanted = [same_text(line) for line in command.prints if line.strip() not in ("", _ANYTHING)]
    return [line for line in wanted if line not in rest]
