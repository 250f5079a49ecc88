"""The `vtapd` command. Exit codes: 0 done, 1 failed, 2 misuse."""

import json
import sys
from pathlib import Path

import click

from supervisor.cli import commands
from supervisor.cli.client import ask, fail, first_of, url_of
from supervisor.cli.commands import json_option, name_argument
from supervisor.cli.completion import SHELLS, script_of
from supervisor.config import DEFAULT_PATH, load_config
from supervisor.errors import VtapdError
from supervisor.protocol import RUN_DIR, SOCKET_NAME

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
    default=Path(RUN_DIR, SOCKET_NAME),
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
      /etc/vtapd/vtapd.toml    the configuration, see vtapd.toml(5)
      /run/vtapd/control.sock  the control socket, for root and group vtapd
      /run/vtapd/*.json        records of what was done to each container
      /var/run/netns/ID        a symlink to a container's network namespace

    \b
    Environment:
      VTAPD_SOCKET  another control socket
      DOCKER_HOST   Docker's address, if [docker] host is empty
      NO_COLOR      no colours, even on a terminal

    \b
    Signals:
      SIGTERM, SIGINT  end the daemon; guests run on, and the next daemon adopts them
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
    from supervisor.observability.log_setup import configure_logs

    try:
        loaded = load_config(config)
        configure_logs(loaded.log.level, loaded.log.format)
        anyio.run(run_daemon, loaded, config)
    except* VtapdError as group:
        fail(str(first_of(group)))


@main.command()
@_config
@json_option
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
    from supervisor.cli.check import check as check_machine

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
        fail(str(error))
    click.echo(f"{file} is right")


@main.command()
@json_option
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
    rows = ask(socket_path, "/containers")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from supervisor.cli.output import print_containers

    print_containers(rows)


@main.command()
@name_argument
@json_option
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
    answer = ask(socket_path, url_of(name))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from supervisor.cli.output import print_details

    print_details(answer)


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


for command in commands.COMMANDS:
    main.add_command(command)
