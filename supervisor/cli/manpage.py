"""The manual page vtapd(8), made of what `--help` says: there is no second text. This module, run, prints it.

Paragraphs that click leaves as they are (marked by \\b) begin with a heading. Those of the program itself become
sections of the page, those of a command stand under it. (man 7 man)
"""

import inspect
import os
import textwrap
import time
from collections.abc import Iterator

import click

from supervisor.cli.main import main as program
from supervisor.version import program_version

_AS_IT_STANDS = "\b"
_LINE = 70


def manual() -> str:
    """The whole page."""
    context = click.Context(program, info_name="vtapd", **program.context_settings)
    return "\n".join(_page(context)) + "\n"


def _page(context: click.Context) -> Iterator[str]:
    written = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    prose, sections = _parts(program)
    yield f'.TH VTAPD 8 "{time.strftime("%Y-%m-%d", written)}" "vtapd {_text(program_version())}"'
    yield from (".SH NAME", f"vtapd \\- {_text(_title(prose[0]))}")
    yield from (".SH SYNOPSIS", ".B vtapd", f"{_text(' '.join(program.collect_usage_pieces(context)))}")
    yield from (".SH DESCRIPTION", *_paragraphs(prose))
    yield from (".SH OPTIONS", *_options(program, context), ".SH COMMANDS")
    for name, command in _commands():
        yield from _command(command, click.Context(command, info_name=name, parent=context))
    for heading, lines in sections:
        yield from (f".SH {_text(heading.upper())}", *_verbatim(lines))
    yield from (".SH SEE ALSO", ".BR docker (1),", ".BR qemu (1),", ".BR journalctl (1),", ".BR systemd.service (5)")


def _commands() -> list[tuple[str, click.Command]]:
    return [(name, command) for name, command in program.commands.items() if not command.hidden]


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    prose, sections = _parts(command)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f'.SS "vtapd {_text(context.info_name or "")} {_text(usage)}"', *_paragraphs(prose))
    yield from _options(command, context)
    for heading, lines in sections:
        yield from (".PP", f".I {_text(heading)}:", ".RS 4", *_verbatim(lines), ".RE")


def _parts(command: click.Command) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Its paragraphs of prose; and its headings, each with the lines under it."""
    prose, sections = [], []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith(_AS_IT_STANDS):
            heading, *lines = paragraph.removeprefix(_AS_IT_STANDS).strip("\n").split("\n")
            sections.append((heading.removesuffix(":"), [line.removeprefix("  ") for line in lines]))
        else:
            prose.append(paragraph)
    return prose, sections


def _title(paragraph: str) -> str:
    """The first words, as man's index wants them."""
    return " ".join(paragraph.split()).partition(":")[0].removeprefix("vtapd ")


def _paragraphs(prose: list[str]) -> Iterator[str]:
    for number, paragraph in enumerate(prose):
        if number:
            yield ".PP"
        yield from _wrapped(paragraph)


def _wrapped(text: str) -> Iterator[str]:
    """In lines that mandoc does not find too long."""
    return (_text(line) for line in textwrap.wrap(text, _LINE))


def _verbatim(lines: list[str]) -> Iterator[str]:
    yield from (".nf", *(_text(line) for line in lines), ".fi")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Its own; how to be helped is told once, among the program's."""
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if isinstance(option, click.Option) and record and (command is program or option.name != "help"):
            yield from (".TP", f".B {_text(record[0])}", *_wrapped(record[1]))


def _text(line: str) -> str:
    """As roff prints it as it stands (man 7 groff)."""
    escaped = line.replace("\\", "\\(rs").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    click.echo(manual(), nl=False)
