"""`vtapd logs`: what a guest has printed, and what it prints."""

import json
import sys
from contextlib import suppress

import click

from supervisor.cli.client import ask, fail, follow, report, url_of
from supervisor.cli.options import json_option, name_argument
from supervisor.protocol import EVENTS_SILENCE_S
from supervisor.text import escape_controls


@click.command()
@name_argument
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with what the guest prints, until Ctrl-C.")
@click.option("-n", "--tail", "lines", type=click.IntRange(min=0), metavar="N",
              help="Begin with the last N lines.")  # fmt: skip
@json_option
@click.pass_obj
def logs(socket_path: str, name: str, is_followed: bool, lines: int | None, as_json: bool) -> None:
    """Print the end of a guest's console, at most 64 KiB.

    Control characters are escaped. `docker logs` has all of it, unescaped, with what else the container printed. Of a
    container that has ended, the last 100 lines of its log are printed. With --follow, messages of vtapd, such as how a
    guest ended, are on standard error; the command ends with the container.

    \b
    Exit codes:
      0  done, or ended by Ctrl-C
      1  no such container, it has no guest, or the daemon has ended

    \b
    Examples:
      # vtapd logs -n 20 web
      # vtapd logs -f web
    """
    if is_followed and as_json:
        raise click.UsageError("--json and --follow exclude each other")
    if is_followed:
        with suppress(KeyboardInterrupt):
            _follow(socket_path, name, lines)
        return
    answer = ask(socket_path, url_of(name, "logs"))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(_last(answer["said"], lines))


def _follow(socket_path: str, name: str, lines: int | None) -> None:
    first = True
    for piece in follow(socket_path, url_of(name, "logs", "follow"), EVENTS_SILENCE_S):
        if "output" in piece:
            _print(_last(piece["output"], lines) if first else piece["output"])
            first = False
        elif "notice" in piece:
            report(piece["notice"])
        elif piece["complete"]:
            report(piece["end"])
            return
        else:
            fail(piece["end"])
    fail("the daemon has ended; guests keep running")


def _last(text: str, lines: int | None) -> str:
    """Return the last lines of a text; all of it if `lines` is None."""
    if lines is None:
        return text
    whole = text.removesuffix("\n").split("\n")
    return "\n".join(whole[-lines:]) + text[len(text.removesuffix("\n")) :] if lines else ""


def _print(text: str) -> None:
    """Print what a guest has printed, with the control characters escaped that are no ends of lines."""
    shown = (escape_controls(line) for line in text.replace("\r", "").expandtabs().split("\n"))
    click.echo("\n".join(shown), nl=False)
    sys.stdout.flush()
