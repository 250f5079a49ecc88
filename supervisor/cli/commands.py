"""The commands that show what the daemon knows: inspect, events, console."""

import json
import re
import sys
from contextlib import suppress

import click

from supervisor.cli.client import ask, ask_each, fail, follow, url_of
from supervisor.cli.completion import complete_container
from supervisor.cli.options import json_option, name_argument, names_argument
from supervisor.cli.output import print_details, print_event
from supervisor.cli.template import Template, format_option
from supervisor.protocol import EVENTS_SILENCE_S
from supervisor.text import escape_controls

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command()
@names_argument
@format_option
@json_option
@click.pass_obj
def inspect(socket_path: str, names: tuple[str, ...], template: Template | None, as_json: bool) -> None:
    """Show details of containers.

    NAME is a container's name, its id, or the beginning of its id.

    The details are: pid, network namespace, cgroup; for each interface its MAC, addresses, gateway, tap, device number,
    node and rule; the guest's spec, state, history and command line, and what its next start would change (pending). Of
    a container that has ended, its guest's history and the last lines of its log are left.

    \b
    Exit codes:
      0  done
      1  no such container, or no daemon answers; the other containers are shown

    \b
    Examples:
      # vtapd inspect web
      # vtapd inspect --format '{{.name}} {{.guest.pid}}' web db
      # vtapd inspect web --json | jq -r '.interfaces[].tap.name'
    """
    if as_json and template is not None:
        raise click.UsageError("--json and --format exclude each other")
    answers = list(ask_each(socket_path, [url_of(name) for name in names]))
    for number, answer in enumerate(filter(None, answers)):
        if as_json or template is not None:
            click.echo(template(answer) if template is not None else json.dumps(answer, indent=2))
        else:
            print_details(answer, after=number > 0)
    if None in answers:
        sys.exit(1)


def _parse_ago(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Return the seconds of 90s, 10m, 1h30m or 1d. For an option of click's."""
    if text is None:
        return None
    if not re.fullmatch(r"(?:[0-9]{1,6}[smhd])+", text):
        raise click.BadParameter(f"{text!r} is not understood; allowed is a duration such as 90s, 10m, 2h or 1d")
    return float(sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", text)))


@click.command()
@click.argument("name", required=False, shell_complete=complete_container)
@click.option("--since", callback=_parse_ago, metavar="DURATION",
              help="Begin with the last 90s, 10m, 2h or 1d. The daemon keeps its last 1,000 events.")  # fmt: skip
@json_option
@click.pass_obj
def events(socket_path: str, name: str | None, since: float | None, as_json: bool) -> None:
    """Follow events of all containers, or of one.

    Each event is one line. Events begin now, unless --since is given, and do not depend on the log's level. A reader
    that is too slow loses events; the event `events_lost` says how many. With --json each line is an object. On a
    terminal, the names of warnings are yellow and those of errors red. Ctrl-C ends the command.

    \b
    Exit codes:
      0  ended by Ctrl-C
      1  no daemon answers, the daemon has ended, or there is no such container

    \b
    Examples:
      # vtapd events web
      # vtapd events --since 10m
      # vtapd events --json | jq -r 'select(.event == "guest_exited").container'
    """
    from urllib.parse import urlencode

    asked = {key: value for key, value in (("name", name), ("since", since)) if value}
    query = f"?{urlencode(asked)}" if asked else ""
    with suppress(KeyboardInterrupt):
        for event in follow(socket_path, f"/events{query}", EVENTS_SILENCE_S):
            if as_json:
                click.echo(json.dumps(event))
            else:
                print_event(event)
        fail("the daemon has ended; guests keep running")


@click.command()
@name_argument
@click.option("--view", is_flag=True, help="Only watch. Another console can then write.")
@click.option("--log", is_flag=True, help="Print the end of the guest's output, and exit. The same as vtapd logs.")
@click.option("--json", "as_json", is_flag=True, help="With --log: print JSON.")
@click.option("--linger", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="SECONDS",
              help="After the end of piped input, wait until the guest has been silent this long.")  # fmt: skip
@click.pass_obj
def console(socket_path: str, name: str, view: bool, log: bool, as_json: bool, linger: float) -> None:
    """Attach to a guest's serial console. Ctrl-] leaves it.

    One console can write, all others watch. While it writes, what is typed into `docker run -it` does not reach the
    guest. A console stays attached while the guest restarts, until the container ends. The guest's output reaches the
    terminal unfiltered, with all control sequences, as in `docker attach`; --log escapes it. Earlier output is in
    `docker logs`.

    \b
    Exit codes:
      0  left by Ctrl-], or the end of piped input
      1  the container or the daemon has ended, or the container has no guest

    \b
    Examples:
      # vtapd console web
      # echo halt | vtapd console --linger 5 web
      # vtapd console --log web
    """
    if as_json and not log:
        raise click.UsageError("--json needs --log")
    answer = ask(socket_path, url_of(name, "console"))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif log:
        for line in answer["said"].replace("\r\n", "\n").split("\n"):
            click.echo(escape_controls(line))
    else:
        from supervisor.cli.console import ConsoleClient, attach_console  # slow to load; only this needs it

        live = url_of(name, "console", "live")
        sys.exit(attach_console(socket_path, live, ConsoleClient(answer["name"], view, linger)))
