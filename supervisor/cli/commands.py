"""The commands that have the daemon do something to a container, or tell of what happens to it."""

import json
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from supervisor.cli.client import ask, fail, fetch, follow, url_of
from supervisor.cli.completion import complete_container
from supervisor.core.formats.png import size_of_png
from supervisor.core.report.events import describe_event
from supervisor.core.report.schema import ScreenShape
from supervisor.protocol import ANSWER_MARGIN_S, CONVERGE_S, EVENTS_SILENCE_S, START_S, STOP_S
from supervisor.text import escape_controls

_SCREEN_S = 60.0

name_argument = click.argument("name", shell_complete=complete_container)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


@click.command()
@name_argument
@json_option
@click.pass_obj
def detach(socket_path: Path, name: str, as_json: bool) -> None:
    """Undo all that was done to a container, and leave it alone until it is attached or restarted.

    Its guest is stopped, gracefully where its kind can, and the container has its own network back.

    \b
    Exit codes:
      0  done
      1  it did not come to that; the message says why

    \b
    Examples:
      # vtapd detach web
    """
    _order(socket_path, name, "detach", "detaching", as_json, CONVERGE_S + ANSWER_MARGIN_S)


@click.command()
@name_argument
@json_option
@click.pass_obj
def attach(socket_path: Path, name: str, as_json: bool) -> None:
    """Take a detached container on again. One whose guest was done for good gets a new one.

    \b
    Exit codes:
      0  done
      1  it did not come to that; the message says why

    \b
    Examples:
      # vtapd attach web
    """
    _order(socket_path, name, "attach", "attaching", as_json, CONVERGE_S + ANSWER_MARGIN_S)


@click.command()
@name_argument
@json_option
@click.pass_obj
def stop(socket_path: Path, name: str, as_json: bool) -> None:
    """Stop a guest; its container runs on.

    Gracefully where its kind can be, then by force after its `vtapd.stop-timeout`. It stays stopped, whatever its
    restart policy, until `vtapd start`, or until the container itself is started again. The container has its address
    back meanwhile.

    \b
    Exit codes:
      0  done
      1  it did not come to that; the message says why

    \b
    Examples:
      # vtapd stop web
    """
    _order(socket_path, name, "stop", "stopping", as_json, _patience_s(socket_path, name))


@click.command()
@name_argument
@json_option
@click.pass_obj
def start(socket_path: Path, name: str, as_json: bool) -> None:
    """Start a guest, at once.

    One that was stopped, has ended or failed, or waits for its next start. Returns once it runs.

    \b
    Exit codes:
      0  done
      1  it did not come to that; the message says why

    \b
    Examples:
      # vtapd start web
    """
    _order(socket_path, name, "start", "starting", as_json, START_S + ANSWER_MARGIN_S)


@click.command()
@name_argument
@json_option
@click.pass_obj
def restart(socket_path: Path, name: str, as_json: bool) -> None:
    """Stop a guest and start it again.

    \b
    Exit codes:
      0  done
      1  it did not come to that; the message says why

    \b
    Examples:
      # vtapd restart web
    """
    _order(socket_path, name, "restart", "restarting", as_json, _patience_s(socket_path, name) + START_S)


@click.command()
@click.argument("name", required=False, shell_complete=complete_container)
@json_option
@click.pass_obj
def events(socket_path: Path, name: str | None, as_json: bool) -> None:
    """Follow what happens, until Ctrl-C.

    Of all containers or of one, a line each, from now on and whatever the log's level. Whoever is too slow is told how
    many events were lost (`events_lost`). With --json each line is an object.

    \b
    Exit codes:
      0  left by Ctrl-C
      1  no daemon answers, it has ended, or there is no such container

    \b
    Examples:
      # vtapd events web
      # vtapd events --json | jq -r 'select(.event == "guest_exited") | .container'
    """
    query = "?" + urllib.parse.urlencode({"name": name}) if name else ""
    with suppress(KeyboardInterrupt):
        for event in follow(socket_path, f"/events{query}", EVENTS_SILENCE_S):
            click.echo(json.dumps(event) if as_json else describe_event(event))
        fail("the daemon has ended; guests run on")


@click.command()
@name_argument
@click.option("--view", is_flag=True, help="Only watch: type nothing, and leave the place to write to others.")
@click.option("--log", is_flag=True, help="Print the end of what the guest said since the daemon started, and leave.")
@click.option("--json", "as_json", is_flag=True, help="With --log: print JSON.")
@click.option("--linger", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="SECONDS",
              help="After the end of piped input, go on until the guest was silent for so long.")  # fmt: skip
@click.pass_obj
def console(socket_path: Path, name: str, view: bool, log: bool, as_json: bool, linger: float) -> None:
    """Sit before a guest's serial console. Ctrl-] leaves.

    One may type, others watch. It stays through the guest's restarts, until the container ends. What the guest says
    reaches the terminal as it is, with whatever steers it, as in `docker attach`; --log escapes it. What it said before
    is in `docker logs`.

    \b
    Exit codes:
      0  left, by Ctrl-] or the end of what was piped in
      1  the container or the daemon has ended, or there was no guest to sit before

    \b
    Examples:
      # vtapd console web
      # echo halt | vtapd console --linger 5 web
      # vtapd console --log web
    """
    if as_json and not log:
        raise click.UsageError("--json goes with --log")
    answer = ask(socket_path, url_of(name, "console"))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif log:
        for line in answer["said"].replace("\r\n", "\n").split("\n"):
            click.echo(escape_controls(line))
    else:
        from supervisor.cli.console import Visit, visit_console  # which takes its time, and only here

        sys.exit(visit_console(socket_path, url_of(name, "console", "live"), Visit(answer["name"], view, linger)))


@click.command()
@name_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE.png",
              help="Where the picture goes, as PNG; - is standard output.")  # fmt: skip
@json_option
@click.pass_obj
def screen(socket_path: Path, name: str, output: Path, as_json: bool) -> None:
    """Take a picture of a guest's screen.

    A guest has one if its container was started with label vtapd.screen=true, on machine pc or q35.

    \b
    Exit codes:
      0  done
      1  no guest runs, it has no screen, or the file cannot be written

    \b
    Examples:
      # vtapd screen web -o web.png
      # vtapd screen web -o - | display
    """
    picture = fetch(socket_path, url_of(name, "screen"), _SCREEN_S)
    if str(output) == "-":
        sys.stdout.buffer.write(picture)
        return
    try:
        output.write_bytes(picture)
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")
    width, height = size_of_png(picture)
    told: ScreenShape = {"name": name, "file": str(output), "width": width, "height": height}
    click.echo(json.dumps(told, indent=2) if as_json else escape_controls(f"{output}: {width}x{height}"))


COMMANDS = (attach, detach, stop, start, restart, console, screen, events)


def _patience_s(socket_path: Path, name: str) -> float:
    """For a stop: the guest has a time of its own."""
    guest = ask(socket_path, url_of(name))["guest"]
    return STOP_S + ANSWER_MARGIN_S + (guest["stop_timeout_s"] if guest else 0)


def _order(socket_path: Path, name: str, verb: str, doing: str, as_json: bool, timeout_s: float) -> None:
    with _progress(f"{doing} {escape_controls(name)}"):
        answer = ask(socket_path, url_of(name, verb), "POST", timeout_s)
    click.echo(json.dumps(answer, indent=2) if as_json else escape_controls(f"{answer['name']} is {answer['state']}"))


@contextmanager
def _progress(doing: str) -> Iterator[None]:
    """On a terminal: what is being done, and how long it took."""
    if not sys.stderr.isatty():
        yield
        return
    click.echo(f"{doing} … ", err=True, nl=False)
    began, done = time.monotonic(), False
    try:
        yield
        done = True
    finally:
        click.echo(f"done after {time.monotonic() - began:.1f} s" if done else "failed", err=True)
