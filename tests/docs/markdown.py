"""Markdown that reads well on the web and, through go-md2man, on a terminal of 80 columns. So: no tables."""

import textwrap
from collections.abc import Iterable

_WIDTH = 120


def paragraph(text: str) -> str:
    """Return the text in lines."""
    return textwrap.fill(" ".join(text.split()), _WIDTH, break_on_hyphens=False, break_long_words=False)


def item(term: str, text: str, more: str = "") -> str:
    """Return an entry of a list: a term, what stands behind it on its line, and what it means."""
    text = textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=": ",
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return f"`{term}`{more}\n{text}"


def items(entries: Iterable[tuple[str, str] | tuple[str, str, str]]) -> str:
    """Return a list."""
    return "\n\n".join(item(*entry) for entry in entries)


def verbatim(lines: Iterable[str]) -> str:
    """Return lines as they stand."""
    return "\n".join(("```text", *lines, "```"))


def heading(text: str) -> str:
    """Return the heading of a subsection."""
    return f"## {text}"


def parts(*blocks: str) -> str:
    """Return blocks with an empty line between them."""
    return "\n\n".join(block for block in blocks if block)
