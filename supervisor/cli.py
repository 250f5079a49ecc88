"""The `vtapd` command. Exit codes: 0 done, 1 failed, 2 misuse."""

import http.client
import json
import sys
import urllib.parse
from pathlib import Path
from typing import Any, NoReturn

import click

from supervisor.client import UnixConnection
from supervisor.config import DEFAULT_PATH, DEFAULT_RUN_DIR, load_config
from supervisor.errors import VtapdError

_TIMEOUT_S = 10.0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--socket",
    "socket_path",
    envvar="VTAPD_SOCKET",
    type=click.Path(path_type=Path),
    default=DEFAULT_RUN_DIR / "control.sock",
    show_default=True,
    help="Where the daemon listens (environment: VTAPD_SOCKET).",
)
@click.version_option(package_name="vtapd", prog_name="vtapd", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, socket_path: Path) -> None:
    """vtapd gives Docker containers a guest: a unikernel or microVM that serves on the container's own address."""
    context.obj = socket_path


@main.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help=f"Configuration file.  [default: {DEFAULT_PATH}, or all defaults where that does not exist]",
)
def run(config: Path | None) -> None:
    """Run the daemon in the foreground, until SIGTERM or SIGINT. Guests are left running."""
    # Imported here: the other commands need none of it and should answer at once.
    import anyio

    from supervisor.daemon import run_daemon
    from supervisor.logs import configure_logs

    try:
        loaded = load_config(config)
        configure_logs(loaded.log.level, loaded.log.format)
        anyio.run(run_daemon, loaded, config)
    except* VtapdError as group:
        _fail(str(_first(group)))


@main.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help=f"Configuration file.  [default: {DEFAULT_PATH}, or all defaults where that does not exist]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(config: Path | None, as_json: bool) -> None:
    """Find out what this machine has and lacks for vtapd, each with its remedy."""
    from supervisor.check import check as check_machine

    if not check_machine(config, as_json=as_json):
        sys.exit(1)


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
def check_config(file: Path) -> None:
    """Check a configuration file without starting anything."""
    try:
        load_config(file)
    except VtapdError as error:
        _fail(str(error))
    click.echo(f"{file} is right")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def ps(socket_path: Path, as_json: bool) -> None:
    """List the containers that vtapd knows, with their guests."""
    rows = _ask(socket_path, "/containers")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from supervisor.tables import print_containers

    print_containers(rows)


@main.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def inspect(socket_path: Path, name: str, as_json: bool) -> None:
    """Show all about one container: NAME is its name, its id, or the beginning of its id."""
    answer = _ask(socket_path, _url(name))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from supervisor.tables import print_details

    print_details(answer)


@main.command()
@click.argument("name")
@click.pass_obj
def detach(socket_path: Path, name: str) -> None:
    """Undo all that was done to a container, and leave it alone until it is attached or restarted."""
    _ask(socket_path, _url(name) + "/detach", "POST", timeout_s=70)
    click.echo(f"{name} is detached")


@main.command()
@click.argument("name")
@click.pass_obj
def attach(socket_path: Path, name: str) -> None:
    """Take a detached container on again."""
    answer = _ask(socket_path, _url(name) + "/attach", "POST", timeout_s=70)
    click.echo(f"{name} is {answer['state']}")


def _url(name: str) -> str:
    return "/containers/" + urllib.parse.quote(name, safe="")


def _ask(path: Path, url: str, method: str = "GET", timeout_s: float = _TIMEOUT_S) -> Any:
    connection = UnixConnection(path, timeout_s)
    try:
        connection.request(method, url)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except PermissionError:
        _fail(f"no right to use {path}; be root or a member of group vtapd")
    except (OSError, http.client.HTTPException, ValueError) as error:
        _fail(f"no vtapd answers on {path} ({error}); is it running? systemctl status vtapd")
    finally:
        connection.close()
    if response.status != 200:
        _fail(f"{urllib.parse.unquote(url.split('/')[2])!a}: {answer.get('error', 'refused')}")
    return answer


def _first(group: BaseExceptionGroup[VtapdError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _fail(message: str) -> NoReturn:
    click.echo(f"vtapd: {message}", err=True)
    sys.exit(1)
