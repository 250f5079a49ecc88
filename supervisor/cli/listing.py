"""`vtapd ps`: which containers are listed, and how."""

import json
import time
from contextlib import suppress
from typing import Any  # the daemon's JSON, as core/report/schema.py describes it

import click

from supervisor.cli.client import ask, fail
from supervisor.cli.completion import complete_container
from supervisor.cli.options import json_option
from supervisor.cli.output import clear_screen, print_line, terminal_width
from supervisor.cli.table import table_of
from supervisor.cli.template import Template, format_option

Row = dict[str, Any]

_FILTERS = {"state": "state", "name": "name", "kind": "guest"}
"""What can be filtered by, and its key."""
_WATCH_S = 2.0


def _parse_filters(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the values by key. For an option of click's."""
    wanted: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in _FILTERS or not equals or not value:
            raise click.BadParameter(f"{text!r} is not understood; allowed is state=, name= or kind=, and a value")
        wanted.setdefault(key, []).append(value)
    return wanted


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=complete_container)
@click.option("-a", "--all", "also_ended", is_flag=True, help="List also containers that have ended.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the ids.")
@click.option("-f", "--filter", "filters", multiple=True, callback=_parse_filters, metavar="KEY=VALUE",
              help="List only these: state=STATE, name=PART of a name, kind=KIND of the guest. Of several filters with "
              "one key, one has to match.")  # fmt: skip
@format_option
@json_option
@click.option("--watch", is_flag=True, help="Show the list again every two seconds, until Ctrl-C.")
@click.pass_obj
def ps(
    socket_path: str,
    names: tuple[str, ...],
    also_ended: bool,
    quiet: bool,
    filters: dict[str, list[str]],
    template: Template | None,
    as_json: bool,
    watch: bool,
) -> None:
    """List containers and their guests.

    With NAMEs, only these containers are listed, also if they have ended. A container that has ended is known for as
    long as Docker knows it (at most the last 256): its last state, and how its guest ended. `docker rm` removes it,
    `docker start` replaces it.

    On a terminal that is too narrow for the table, LAST EXIT and REASON are lines below their container. REASON is for
    the states rejected, failed and backoff. RESTARTS counts restarts after crashes.

    \b
    States:
      attaching, attached (asks for no guest)
      booting, running, ready, exited, failed
      backoff (crashed; is restarted later), paused (docker pause)
      rejected (its labels or files are wrong)
      detached (by an operator), skipped (left alone; vtapd inspect says why)

    \b
    Exit codes:
      0  done
      1  there is no such container, or no daemon answers
      2  misuse

    \b
    Examples:
      # vtapd ps
      # vtapd ps -a --filter state=failed --filter state=rejected
      # vtapd ps --format '{{.name}} {{.last_exit.reason}}'
      # vtapd stop $(vtapd ps -q --filter kind=unikraft)
      # vtapd ps --json | jq -r '.[] | select(.reason) | .name + ": " + .reason'
    """
    if quiet + as_json + (template is not None) > 1:
        raise click.UsageError("--quiet, --json and --format exclude each other")

    url = "/containers?all" if also_ended or names else "/containers"

    def list_once() -> list[Row]:
        rows: list[Row] = ask(socket_path, url)
        if watch:
            clear_screen()
        _show([row for row in _named(names, rows) if _matches(row, filters)], quiet, template, as_json)
        return rows

    if watch:
        with suppress(KeyboardInterrupt):
            while True:
                list_once()
                time.sleep(_WATCH_S)
        return
    rows = list_once()
    if missing := [name for name in names if not _called(name, rows)]:
        fail(f"no container is called {' or '.join(map(repr, missing))}; see: vtapd ps -a")


def _show(rows: list[Row], quiet: bool, template: Template | None, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif quiet or template is not None:
        for row in rows:
            click.echo(template(row) if template is not None else row["id"][:12])
    else:
        for line in table_of(rows, terminal_width()):
            print_line(line)


def _named(names: tuple[str, ...], rows: list[Row]) -> list[Row]:
    """Return the rows of these containers, or all rows if there are no names."""
    return [row for row in rows if not names or any(row in _called(name, rows) for name in names)]


def _called(name: str, rows: list[Row]) -> list[Row]:
    """Return the row of this name or id, or those whose id begins so."""
    those = [row for row in rows if name in (row["name"], row["id"])]
    return those or [row for row in rows if name and row["id"].startswith(name)]


def _matches(row: Row, filters: dict[str, list[str]]) -> bool:
    return all(any(_has(row, key, value) for value in values) for key, values in filters.items())


def _has(row: Row, key: str, value: str) -> bool:
    found = row[_FILTERS[key]] or ""
    return value in found if key == "name" else value == found
