"""The `vtapd` command. Exit codes: 0 done, 1 failed, 2 misuse."""

import http.client
import json
import sys
import urllib.parse
from pathlib import Path
from typing import Any, NoReturn

import click

from supervisor.client import UnixConnection
from supervisor.completion import SHELLS, complete_container, script_of
from supervisor.config import DEFAULT_PATH, DEFAULT_RUN_DIR, load_config
from supervisor.errors import VtapdError

_TIMEOUT_S = 10.0

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
_container = click.argument("name", shell_complete=complete_container)
_config = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help=f"Configuration file.  [default: {DEFAULT_PATH}, or all defaults where that does not exist]",
)


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
    """vtapd gives Docker containers a guest: a unikernel or microVM that serves on the container's own address.

    The daemon, vtapd run, gives every container that starts a macvtap on its network and the right to open it. Where a
    label of the container names a kernel (vtapd.kernel=/path), it starts QEMU with it, in the container's namespaces
    and cgroup, and starts it again when it crashes. The other commands ask that daemon.

    \b
    Exit codes:
      0  done
      1  failed; one line on standard error says why
      2  misuse

    \b
    Files:
      /etc/vtapd/vtapd.toml    the configuration; each key is explained in it
      /run/vtapd/control.sock  where the daemon is asked; for root and group vtapd
      /run/vtapd/*.json        what was done to each container, to be undone

    \b
    Environment:
      VTAPD_SOCKET  another control socket
      DOCKER_HOST   Docker's address, where [docker] host is empty
      NO_COLOR      no colours, on a terminal either

    \b
    Signals:
      SIGTERM, SIGINT  end the daemon; guests run on, and the next one has them back
      SIGHUP           read the configuration again; guests that run are not touched
    """
    context.obj = socket_path


@main.command()
@_config
def run(config: Path | None) -> None:
    """Run the daemon in the foreground, until SIGTERM or SIGINT. Guests are left running.

    It needs root. As a service it is started by systemd, and told to read its configuration again by SIGHUP; a wrong
    one is refused, and the one before counts.

    \b
    Exit codes:
      0  ended by a signal
      1  cannot start: no Docker, a wrong configuration, another vtapd on the same run-time folder

    \b
    Examples:
      # vtapd run -c ./vtapd.toml
      # systemctl reload vtapd
    """
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
@_config
@_json
def check(config: Path | None, as_json: bool) -> None:
    """Find out what this machine has and lacks for vtapd, each with its remedy.

    Nothing is taken on trust: a macvtap, a device rule and QEMU's file system are made and removed again, and KVM has
    to boot something. Works with and without a daemon that runs; without root it says what it could not try.

    \b
    Each line begins with:
      ok    as it should be
      warn  vtapd works, and guests, or you, would miss something
      FAIL  containers cannot be attached before this is mended

    \b
    Exit codes:
      0  containers can be attached
      1  they cannot

    \b
    Examples:
      # vtapd check
      # vtapd check --json | jq -r '.findings[] | select(.level != "ok") | .remedy'
    """
    from supervisor.check import check as check_machine

    if not check_machine(config, as_json=as_json):
        sys.exit(1)


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
def check_config(file: Path) -> None:
    """Check a configuration file without starting anything.

    \b
    Exit codes:
      0  it is right
      1  it is wrong; the message names the key's path, and what is allowed

    \b
    Examples:
      $ vtapd check-config /etc/vtapd/vtapd.toml && sudo systemctl reload vtapd
    """
    try:
        load_config(file)
    except VtapdError as error:
        _fail(str(error))
    click.echo(f"{file} is right")


@main.command()
@_json
@click.pass_obj
def ps(socket_path: Path, as_json: bool) -> None:
    """List the containers that vtapd knows, with their guests.

    \b
    States:
      attaching  attached (no guest asked for)  detached  rejected (its labels are wrong)
      booting  running  ready  backoff (crashed, waits for its restart)  exited  failed

    \b
    Exit codes:
      0  done
      1  no daemon answers

    \b
    Examples:
      # vtapd ps
      # vtapd ps --json | jq -r '.[] | select(.state == "rejected") | .name + ": " + .reason'
    """
    rows = _ask(socket_path, "/containers")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from supervisor.tables import print_containers

    print_containers(rows)


@main.command()
@_container
@_json
@click.pass_obj
def inspect(socket_path: Path, name: str, as_json: bool) -> None:
    """Show all about one container: NAME is its name, its id, or the beginning of its id.

    That is: pid, network namespace, cgroup; of each interface MAC, addresses, gateway, tap, device number, node and
    rule; the guest's spec, state, history, command line, and what its next start would change (pending).

    \b
    Exit codes:
      0  done
      1  no such container runs, or no daemon answers

    \b
    Examples:
      # vtapd inspect web
      # vtapd inspect web --json | jq -r '.interfaces[].tap.name'
    """
    answer = _ask(socket_path, _url(name))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from supervisor.tables import print_details

    print_details(answer)


@main.command()
@_container
@click.pass_obj
def detach(socket_path: Path, name: str) -> None:
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
    _ask(socket_path, _url(name) + "/detach", "POST", timeout_s=70)
    click.echo(f"{name} is detached")


@main.command()
@_container
@click.pass_obj
def attach(socket_path: Path, name: str) -> None:
    """Take a detached container on again. One whose guest was done for good gets a new one.

    \b
    Exit codes:
      0  done
      1  it did not come to that; the message says why

    \b
    Examples:
      # vtapd attach web
    """
    answer = _ask(socket_path, _url(name) + "/attach", "POST", timeout_s=70)
    click.echo(f"{name} is {answer['state']}")


@main.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what SHELL reads to complete commands, options and containers' names at the Tab key.

    make install puts it where each shell looks for it; nothing else need be done then.

    \b
    Exit codes:
      0  done
      2  no such shell

    \b
    Examples:
      $ source <(vtapd completion bash)
      $ vtapd completion zsh > ~/.zfunc/_vtapd
      $ vtapd completion fish > ~/.config/fish/completions/vtapd.fish
    """
    click.echo(script_of(shell, main))


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
