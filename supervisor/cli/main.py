"""The `vtapd` command. Exit codes: 0 done, 1 failed, 2 misuse.

Commands that ask the daemon import neither the configuration nor the core, so that they answer at once. Each is
imported when it is asked for, and what only one command here needs is imported in that command.
"""

import sys

import click

from supervisor.cli.client import fail, find_socket, first_of
from supervisor.cli.completion import SHELLS, script_of
from supervisor.cli.lazy_group import LazyGroup
from supervisor.cli.options import config_option, json_option, path_type
from supervisor.protocol import CONFIG_PATH

_OF_GUESTS = ("attach", "detach", "stop", "start", "kill", "suspend", "wake", "restart", "refresh")
_MODULES = {
    "ps": "supervisor.cli.listing",
    "top": "supervisor.cli.top",
    "inspect": "supervisor.cli.commands",
    **dict.fromkeys(_OF_GUESTS, "supervisor.cli.operations"),
    "logs": "supervisor.cli.logs",
    "console": "supervisor.cli.commands",
    "screen": "supervisor.cli.screen",
    "events": "supervisor.cli.commands",
    "build": "supervisor.cli.build",
    "version": "supervisor.cli.version",
}
"""Where each command is that asks the daemon or works on images; the others are below."""


@click.group(cls=LazyGroup, modules=_MODULES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--socket",
    "socket_path",
    envvar="VTAPD_SOCKET",
    type=path_type,
    help=f"Control socket (environment: VTAPD_SOCKET).  [default: control.sock in run_dir of {CONFIG_PATH}, or that of "
    "the only daemon that runs]",
)
@click.version_option(package_name="vtapd", prog_name="vtapd", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, socket_path: str | None) -> None:
    """vtapd gives Docker containers a guest: a unikernel or microVM that serves on the container's own address.

    The daemon, `vtapd run`, creates a macvtap on the network of every container that starts, and allows the container
    to open it. If the container's label vtapd.kernel=/path names a kernel, the daemon boots it in QEMU, in the
    container's namespaces and cgroup, and restarts it when it crashes. The other commands talk to the daemon.

    \b
    Exit codes:
      0  done
      1  failed; one line on standard error says why
      2  misuse

    \b
    Files:
      /etc/vtapd/vtapd.toml    the configuration, see vtapd.toml(5)
      /run/vtapd/control.sock  the control socket, for root and group vtapd
      /run/vtapd/reaper.sock   the socket of QEMU's parent, for root
      /run/vtapd/*.exit        how guests ended that no daemon has recorded yet
      /run/vtapd/*.json        records of what was done to each container
      /run/vtapd/*.ended       how containers ended that Docker still knows
      /var/lib/vtapd/*.state   the states of guests that sleep, for root
      /run/vtapd-locks         which daemon watches which Docker
      /var/run/netns/ID        a symlink to a container's network namespace

    \b
    Environment:
      VTAPD_SOCKET  another control socket
      DOCKER_HOST   Docker's address, if [docker] host is empty
      NO_COLOR      no colours, even on a terminal

    \b
    Signals:
      SIGTERM, SIGINT  end the daemon; guests run on, and the next one adopts them
      SIGHUP           read the configuration again; running guests keep theirs
    """
    context.obj = socket_path or find_socket()


@main.command()
@config_option
def run(config: str | None) -> None:
    """Run the daemon in the foreground.

    It needs root and runs until SIGTERM or SIGINT. Guests keep running after it. As a service it is started by systemd.
    SIGHUP makes it read its configuration again; if the new one is wrong, it reports that and keeps the old one.

    \b
    Exit codes:
      0  ended by a signal
      1  cannot start: no Docker, a wrong configuration, or another vtapd runs

    \b
    Examples:
      # vtapd run -c ./vtapd.toml
      # systemctl reload vtapd
    """
    from pathlib import Path

    import anyio

    from supervisor.config import load_config
    from supervisor.daemon import run_daemon
    from supervisor.errors import VtapdError
    from supervisor.observability.log_setup import configure_logs

    path = Path(config) if config is not None else None
    try:
        loaded = load_config(path)
        configure_logs(loaded.log.level, loaded.log.format)
        anyio.run(run_daemon, loaded, path)
    except* VtapdError as group:
        fail(str(first_of(group)))


@main.command()
@config_option
@json_option
def check(config: str | None, as_json: bool) -> None:
    """Check whether this machine can run vtapd.

    Each finding that needs attention comes with its remedy. The command tries things out: it makes a macvtap, a device
    rule and QEMU's sandbox and removes them again, and boots a kernel with KVM. It works whether or not a daemon runs.
    Without root it says what it could not try.

    \b
    Each line begins with:
      ok    as it should be
      warn  vtapd works, but something is missing for guests or for you
      FAIL  containers cannot be attached until this is fixed

    \b
    Exit codes:
      0  containers can be attached
      1  they cannot

    \b
    Examples:
      # vtapd check
      # vtapd check --json | jq -r '.findings[] | select(.level != "ok").remedy'
    """
    from pathlib import Path

    from supervisor.cli.check import check as check_machine

    if not check_machine(Path(config) if config is not None else None, as_json=as_json):
        sys.exit(1)


@main.command("check-config")
@click.argument("file", type=path_type)
def check_config(file: str) -> None:
    """Check a configuration file.

    Nothing is started.

    \b
    Exit codes:
      0  the file is valid
      1  it is not; the message names the key's path, and what is allowed

    \b
    Examples:
      $ vtapd check-config /etc/vtapd/vtapd.toml && sudo systemctl reload vtapd
    """
    from pathlib import Path

    from supervisor.config import load_config
    from supervisor.errors import VtapdError

    try:
        load_config(Path(file))
    except VtapdError as error:
        fail(str(error))
    click.echo(f"{file} is valid")


@main.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a completion script for bash, zsh or fish.

    The script completes commands, options and containers' names. `make install` installs it for all three shells.

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
