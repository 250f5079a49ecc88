"""The keys of the configuration: types, ranges and defaults from config.py, sentences from config/vtapd.toml."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec

from supervisor.config import Bytes, Config, Seconds
from tests.docs.markdown import heading, items, parts

SHIPPED = Path(__file__).parents[2] / "config" / "vtapd.toml"
_WORDS: dict[object, str] = {
    Seconds: "a duration", Bytes: "a size", str: "text", int: "a count", bool: "`true` or `false`", float: "a number",
    tuple: "a list of texts",
}  # fmt: skip
_KEY = re.compile(r"(\w+) = (.*)")


def keys() -> str:
    """Return a subsection for each table, with an entry for each key."""
    tables = {table.name: table.type for table in msgspec.structs.fields(Config)}
    return parts(*(parts(heading(f"[{name}]"), items(_entries(name, table))) for name, table in tables.items()))


def _entries(name: str, table: type) -> Iterator[tuple[str, str, str]]:
    hints = typing.get_type_hints(table, include_extras=True)
    for key, (default, comment) in comments()[name].items():
        yield key, comment, f" = `{default}`, {_type(hints[key])}"


def comments() -> dict[str, dict[str, tuple[str, str]]]:
    """Return each key's default as it is written, and the comment above it, by table."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    above: list[str] = []
    table: dict[str, tuple[str, str]] = {}
    for line in SHIPPED.read_text().splitlines():
        if line.startswith("["):
            table = found[line.strip("[]")] = {}
        elif match := _KEY.fullmatch(line):
            table[match[1]] = (match[2], " ".join(above))
        above = [*above, line.removeprefix("# ")] if line.startswith("#") else []
    return found


def _type(hint: object) -> str:
    """Return a key's type and range in words."""
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Annotated:
            kind, meta = arguments[:2]
            return _type(kind) if meta.ge is None else f"{_type(kind)}, {meta.ge} to {meta.le}"
        case typing.Literal:
            return "one of " + ", ".join(f'`"{word}"`' for word in arguments)
        case _:
            return _WORDS[typing.get_origin(hint) or hint]
