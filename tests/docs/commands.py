"""The commands, from what their `--help` prints: there is no second text.

Paragraphs that click leaves as they are (marked by \\b) begin with a heading.
"""

import inspect
import re

import click

from supervisor.cli.main import main as program
from tests.docs.markdown import heading, items, paragraph, parts, verbatim

_AS_IT_STANDS = "\b"
_MARKUP = re.compile(r"[\\*\[\]<>]")
_TWO_COLUMNS = re.compile(r"([^#$\s](?:(?!  ).)*)  +((?:(?!  ).)+)")


def options() -> str:
    """Return the options that stand before the command."""
    return _options(program, _context())


def commands() -> str:
    """Return a subsection for each command."""
    return parts(*(_command(name, command) for name, command in program.all_commands().items() if not command.hidden))


def section(name: str) -> str:
    """Return one of the program's own lists, such as its exit codes."""
    _, lists = _split(program)
    return _list(lists[name])


def _context() -> click.Context:
    return click.Context(program, info_name="vtapd", **program.context_settings)


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, parent=_context())
    prose, lists = _split(command)
    usage = " ".join(command.collect_usage_pieces(context))
    return parts(
        heading(f"vtapd {name} {_escaped(usage)}"),
        *(paragraph(_escaped(text)) for text in prose),
        _options(command, context),
        *(parts(f"{title}:", _list(lines)) for title, lines in lists.items()),
    )


def _split(command: click.Command) -> tuple[list[str], dict[str, list[str]]]:
    """Return the paragraphs of prose, and the lists by their headings."""
    prose, lists = [], {}
    for text in inspect.cleandoc(command.help or "").split("\n\n"):
        if text.startswith(_AS_IT_STANDS):
            title, *lines = text.removeprefix(_AS_IT_STANDS).strip("\n").split("\n")
            lists[title.removesuffix(":")] = [line.removeprefix("  ") for line in lines]
        else:
            prose.append(text)
    return prose, lists


def _options(command: click.Command, context: click.Context) -> str:
    """Return its own options; `--help` is listed once, among the program's."""
    return items(
        (record[0], _escaped(record[1]))
        for option in command.get_params(context)
        if isinstance(option, click.Option) and (command is program or "--help" not in option.opts)
        if (record := option.get_help_record(context))
    )


def _list(lines: list[str]) -> str:
    """Return lines of two columns as terms and what they mean; other lines, such as examples, as they stand."""
    columns = [_TWO_COLUMNS.fullmatch(line) for line in lines]
    if all(columns):
        return items((match[1], _escaped(match[2])) for match in columns if match)
    return verbatim(lines)


def _escaped(text: str) -> str:
    """Return the text with Markdown's characters escaped, except in code spans."""
    pieces = text.split("`")
    return "`".join(_MARKUP.sub(r"\\\g<0>", piece) if place % 2 == 0 else piece for place, piece in enumerate(pieces))
