"""Completion by the Tab key, in the shells themselves."""

import shutil
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import COMMAND, Daemon, environment
from tests.harness.processes import run
from tests.harness.waiting import eventually

BASH = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { :; }  # works only during completion by readline
_vtapd_completion vtapd
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
autoload -Uz compinit && compinit -u -D
# Both work only during completion by zle; the arrays that they are given are what it would show.
compadd() { print -l -- ${(P)argv[-1]}; }
_describe() { print -l -- ${${(P)3}%%:*}; }
source "$1"; shift
words=("$@") CURRENT=$#
_vtapd_completion
"""


@pytest.fixture
def on_path(vtapd: Daemon, tmp_path: Path) -> dict[str, str]:
    """Install `vtapd` on a PATH, with VTAPD_SOCKET set to the daemon under test."""
    program = tmp_path / "bin" / "vtapd"
    program.parent.mkdir()
    # click takes its program name from the name of the installed script.
    program.write_text(
        f"#!{COMMAND[0]}\nimport sys\nfrom supervisor.cli.main import main\nsys.exit(main(prog_name='vtapd'))\n"
    )
    program.chmod(0o755)
    env = environment(VTAPD_SOCKET=str(vtapd.control_socket), HOME=str(tmp_path))
    return env | {"PATH": f"{program.parent}:{env['PATH']}"}


def completed(shell: str, env: dict[str, str], folder: Path, *words: str) -> list[str]:
    """Return what the shell offers for the last of these words."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here; `make test` installs it")
    script = folder / f"vtapd.{shell}"
    script.write_text(run(["vtapd", "completion", shell], env=env).stdout)
    if shell == "fish":
        line = " ".join(words)
        argv = ["fish", "-N", "-c", f"source {script}; complete -C '{line}'"]
    else:
        argv = [shell, *(["--norc"] if shell == "bash" else ["-f"]), "-c", BASH if shell == "bash" else ZSH, shell]
        argv += [str(script), *words]
    printed = run(argv, env=env).stdout
    return [line.split("\t")[0] for line in printed.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_containers_and_options_are_offered(
    shell: str, vtapd: Daemon, containers: Containers, on_path: dict[str, str], tmp_path: Path
) -> None:
    one, other = containers.run().await_attached(), containers.run().await_attached()
    assert {"ps", "top", "inspect", "check", "completion"} <= set(completed(shell, on_path, tmp_path, "vtapd", ""))
    assert completed(shell, on_path, tmp_path, "vtapd", "insp") == ["inspect"]
    assert {one.name, other.name} <= set(completed(shell, on_path, tmp_path, "vtapd", "inspect", ""))
    assert completed(shell, on_path, tmp_path, "vtapd", "detach", one.name) == [one.name]
    assert "--json" in completed(shell, on_path, tmp_path, "vtapd", "ps", "--")
    assert {"cpu", "memory"} <= set(completed(shell, on_path, tmp_path, "vtapd", "top", "--sort", ""))
    one.stop()
    ended = one.name
    eventually(lambda: ended not in completed(shell, on_path, tmp_path, "vtapd", "detach", ended), "it has ended")
    assert completed(shell, on_path, tmp_path, "vtapd", "inspect", ended) == [ended]


def test_nothing_is_offered_without_a_daemon(on_path: dict[str, str], tmp_path: Path) -> None:
    nowhere = on_path | {"VTAPD_SOCKET": str(tmp_path / "nothing.sock")}
    assert completed("bash", nowhere, tmp_path, "vtapd", "inspect", "") == []
