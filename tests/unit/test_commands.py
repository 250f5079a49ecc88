"""The commands that ask the daemon: what they import, find and print, with a server that answers as the daemon does."""

import grp
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from supervisor.cli import client
from supervisor.cli.main import main
from supervisor.cli.table import table_of
from supervisor.version import program_version

OWN_PARTS = ("supervisor.cli", "supervisor.protocol", "supervisor.text")
SLOW_LIBRARIES = {
    "aiohttp", "anyio", "asyncio", "email", "http.client", "msgspec", "pathlib", "prometheus_client", "pyroute2",
    "rich", "structlog",
}  # fmt: skip
COMMANDS = (
    "ps", "inspect web", "attach web", "detach web", "stop web", "start web", "restart web", "kill web", "refresh web",
    "refresh --all", "logs web", "logs -f web", "events --since 1h1m", "stop web db",
    "inspect --format {{.name}} web", "events",
    "console --log web", "screen -o - web", "ps --json", "ps -a", "ps -q", "ps --format {{.name}}", "--help",
)  # fmt: skip
REPORT_IMPORTS = """
import json, sys
from supervisor.cli.main import main
try:
    main(sys.argv[1:], prog_name="vtapd")
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
ROW = {
    "id": "0123456789abcdef", "name": "web", "state": "running", "address": "172.17.0.2", "guest": "rumprun",
    "uptime_s": 90061.0, "restarts": 2, "last_exit": {"reason": "guest-exit", "code": 3}, "reason": None,
    "ended_at": None, "qemu_replaced": False,
}  # fmt: skip
DB = ROW | {"id": "abcdef0123456789", "name": "db", "state": "\x1b[2J", "guest": None, "uptime_s": None,
            "last_exit": None}  # fmt: skip
BAD = ROW | {"id": "bad0" * 16, "name": "bad", "state": "failed", "reason": "no such kernel", "uptime_s": None,
             "ended_at": "2026-01-02T03:04:05+00:00"}  # fmt: skip
ANSWERS: dict[str, object] = {
    "/containers": [ROW, DB],
    "/containers?all": [ROW, DB, BAD],
    "/containers/web": ROW | {"guest": {"stop_timeout_s": 1.0}, "interfaces": [{"name": "eth0", "tap": None}]},
    "/containers/web/console": {"name": "web", "said": "hello\r\n\x1b[2J", "writer": None},
    "/containers/web/screen": {"no": "picture, but bytes enough"},
    "/containers/web/logs": {"name": "web", "said": "hello\r\n\x1b[2J", "writer": None},
    "/containers/web/logs/follow": {"end": "the container has ended", "complete": True},
    "/version": {"version": "0.1.0", "pid": 7},
    "/events?since=3660.0": {"time": None, "event": "guest_exited", "container": "web", "level": "warning"},
    "/events": {"time": None, "event": "guest_exited", "container": "web", "level": "info"},
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = ANSWERS.get(self.path)
        body = json.dumps(ANSWERS["/containers/web"] if self.command == "POST" else answer).encode() + b"\n"
        self.send_response(200 if self.command == "POST" or answer is not None else 404)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        if "refused" in self.path:
            self.send_response(409)
            self.end_headers()
            self.wfile.write(json.dumps({"error": "it has no guest"}).encode())
        else:
            self.do_GET()

    def address_string(self) -> str:
        return "a Unix socket has no peer address"

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 64
    """As the daemon's."""


@pytest.fixture(scope="module")
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = str(tmp_path_factory.mktemp("run") / "control.sock")
    with Server(path, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def imported_by(*args: str, **env: str) -> set[str]:
    """Run the program in a process of its own and return the modules that it has loaded at its end."""
    argv = [sys.executable, "-c", REPORT_IMPORTS, *args]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | env, timeout=60)
    return set(json.loads(ended.stderr.splitlines()[-1]))


def not_needed(modules: set[str]) -> set[str]:
    """Return those of the modules that a command must not load if it is to answer at once."""
    ours = {name for name in modules if name.startswith("supervisor.") and not name.startswith(OWN_PARTS)}
    return ours | modules & SLOW_LIBRARIES


@pytest.mark.parametrize("words", COMMANDS)
def test_command_loads_neither_configuration_nor_core(socket_path: str, words: str) -> None:
    loaded = imported_by("--socket", socket_path, *words.split())
    assert "supervisor.cli.options" in loaded
    assert not_needed(loaded) == set()


def test_command_loads_no_other_command(socket_path: str) -> None:
    loaded = imported_by("--socket", socket_path, "ps")
    assert "supervisor.cli.listing" in loaded
    assert not loaded & {
        f"supervisor.cli.{each}" for each in ("build", "commands", "logs", "operations", "screen", "top")
    }


@pytest.mark.parametrize("command", ["", *main.list_commands(click.Context(main))])
def test_help_fits_a_terminal(command: str) -> None:
    shown = CliRunner().invoke(main, [*command.split(), "--help"], terminal_width=80, prog_name="vtapd")
    lines = shown.stdout.splitlines()
    assert not [line for line in lines if len(line) > 80]
    assert not [line for line in lines[1:] if line.endswith(("...", "…"))], "a description is cut"


def test_completion_loads_neither_configuration_nor_core(socket_path: str) -> None:
    asked = {"COMP_WORDS": "vtapd inspect w", "COMP_CWORD": "2"}
    loaded = imported_by(VTAPD_SOCKET=socket_path, _VTAPD_COMPLETE="bash_complete", **asked)
    assert "click.shell_completion" in loaded
    # click's own completion of paths may load pathlib
    assert not_needed(loaded) - {"pathlib"} == set()


def test_forbidden_import_is_noticed(socket_path: str) -> None:
    """`check-config` needs the configuration: the check above can fail."""
    assert "supervisor.config" in not_needed(imported_by("--socket", socket_path, "check-config", "/dev/null"))


def run(socket_path: str, *args: str) -> Result:
    return CliRunner().invoke(main, ["--socket", socket_path, *args])


def test_ps_prints_a_table(socket_path: str) -> None:
    assert run(socket_path, "ps", "-a").output == (
        "ID            NAME  STATE    GUEST    ADDRESS     UPTIME  RESTARTS  LAST EXIT       REASON\n"
        "0123456789ab  web   running  rumprun  172.17.0.2  1d 1h   2         guest-exit (3)\n"
        "abcdef012345  db    \\x1b[2J  -        172.17.0.2  -       -         -\n"
        "bad0bad0bad0  bad   failed   rumprun  172.17.0.2  ended   2         guest-exit (3)  no such kernel\n"
    )


def test_table_on_a_narrow_terminal_has_the_last_columns_below_each_container() -> None:
    lines = [click.unstyle(line) for line in table_of([ROW, DB, BAD], 80)]
    assert lines == [
        "ID            NAME  STATE    GUEST    ADDRESS     UPTIME  RESTARTS",
        "0123456789ab  web   running  rumprun  172.17.0.2  1d 1h   2",
        "  last exit: guest-exit (3)",
        "abcdef012345  db    \\x1b[2J  -        172.17.0.2  -       -",
        "bad0bad0bad0  bad   failed   rumprun  172.17.0.2  ended   2",
        "  last exit: guest-exit (3)",
        "  no such kernel",
    ]
    long = BAD | {"reason": "container bad: label vtapd.memory='32' is refused; " + "why " * 20}
    *_, first, second = table_of([long], 80)
    assert first.startswith("  label vtapd.memory='32' is refused; why"), "the container's name is above it"
    assert (len(first) <= 80, second.startswith("  why")) == (True, True)
    assert len(list(table_of([ROW, DB, BAD], 100))) == 4, "it has room"
    assert [click.unstyle(line) for line in table_of([], 20)] == ["ID  NAME  STATE  GUEST  ADDRESS  UPTIME  RESTARTS"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", "web db"),
        ("-a", "web db bad"),
        ("web", "web"),
        ("bad", "bad"),
        ("abc 0123456789abcdef", "web db"),
        ("--filter state=running", "web"),
        ("-a -f state=running -f state=failed", "web bad"),
        ("-a -f kind=rumprun -f name=b", "web bad"),
        ("-a -f kind=osv", ""),
    ],
)
def test_ps_lists_what_is_asked_for(socket_path: str, words: str, names: str) -> None:
    shown = run(socket_path, "ps", "--format", "{{.name}}", *words.split())
    assert (shown.exit_code, shown.output.split()) == (0, names.split())


def test_ps_prints_ids_for_other_commands(socket_path: str) -> None:
    assert run(socket_path, "ps", "-q", "-a").output == "0123456789ab\nabcdef012345\nbad0bad0bad0\n"


def test_ps_reports_names_that_no_container_has(socket_path: str) -> None:
    shown = run(socket_path, "ps", "-q", "web", "missing", "\x1b[2J", "")
    assert shown.exit_code == 1
    assert shown.stdout == "0123456789ab\n"
    assert "no container is called 'missing' or '\\x1b[2J' or ''" in shown.stderr


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{{.name}} is {{ .state }}", "web is running"),
        (r"{{.name}}\t{{.restarts}}\n", "web\t2\n"),
        ("{{.last_exit.reason}} {{.last_exit}}", 'guest-exit {"reason": "guest-exit", "code": 3}'),
        ("<{{.reason}}{{.reason.code}}>", "<>"),
        ("{{json .name}} {{json .reason}}", '"web" null'),
        ("{{json .}}", json.dumps(ROW)),
        ("json", json.dumps(ROW)),
        ("nothing", "nothing"),
    ],
)
def test_format_picks_values(socket_path: str, template: str, printed: str) -> None:
    assert run(socket_path, "ps", "web", "--format", template).output == f"{printed}\n"


@pytest.mark.parametrize(
    "words",
    ["--format {{.name", "--format {{range}}", "--format {{.nme}}", "--format {{.name.x}}", "-f state", "-f label=x",
     "-f name=", "-q --json", "--json --format json"],
)  # fmt: skip
def test_wrong_options_of_ps_are_misuse(socket_path: str, words: str) -> None:
    assert run(socket_path, "ps", *words.split()).exit_code == 2


def test_text_from_outside_does_not_control_the_terminal_by_a_template(socket_path: str) -> None:
    assert run(socket_path, "ps", "db", "--format", "{{.state}}").output == "\\x1b[2J\n"


def test_inspect_prints_a_value_a_line(socket_path: str) -> None:
    printed = CliRunner().invoke(main, ["--socket", socket_path, "inspect", "web"]).output
    assert "guest: \n  stop_timeout_s: 1.0\n" in printed
    assert "interfaces[0]:\n  name: eth0\n  tap: -\n" in printed


def test_several_containers_are_inspected(socket_path: str) -> None:
    shown = run(socket_path, "inspect", "web", "missing", "web")
    assert shown.exit_code == 1
    assert shown.stdout.count("name: web\n") == 2
    assert "\n\nid: " in shown.stdout
    assert "vtapd: " in shown.stderr
    assert run(socket_path, "inspect", "--format", "{{.name}} {{.guest.stop_timeout_s}}", "web").output == "web 1.0\n"
    assert run(socket_path, "inspect", "--json", "--format", "json", "web").exit_code == 2
    assert run(socket_path, "inspect").exit_code == 2


def test_logs_are_printed_without_control_characters(socket_path: str) -> None:
    assert run(socket_path, "logs", "web").output == "hello\n\\x1b[2J"
    assert run(socket_path, "logs", "-n", "1", "web").output == "\\x1b[2J"
    assert run(socket_path, "logs", "-n", "0", "web").output == ""
    assert '"said": "hello' in run(socket_path, "logs", "--json", "web").output
    assert run(socket_path, "logs", "-f", "--json", "web").exit_code == 2
    followed = run(socket_path, "logs", "-f", "web")
    assert (followed.exit_code, followed.stdout, followed.stderr) == (0, "", "vtapd: the container has ended\n")


def test_versions_of_command_and_daemon_are_printed(socket_path: str) -> None:
    own = program_version()
    assert run(socket_path, "version").output == f"vtapd {own}\ndaemon 0.1.0, pid 7, at {socket_path}\n"
    assert json.loads(run(socket_path, "version", "--json").output)["daemon"] == {"version": "0.1.0", "pid": 7}
    without = run("/nowhere/control.sock", "version")
    assert (without.exit_code, without.stdout) == (1, f"vtapd {own}\n")


@pytest.mark.parametrize(
    ("names", "printed"),
    [
        (("refused",), r"killing refused … failed\nvtapd: it has no guest\n"),
        (("web", "refused"), r"killing web, refused … done after [0-9.]+ s\nvtapd: it has no guest\n"),
    ],
)
def test_progress_is_a_line_of_its_own(
    socket_path: str,
    names: tuple[str, ...],
    printed: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(SystemExit) as ended:
        main(["--socket", socket_path, "kill", *names])
    assert ended.value.code == 1
    assert re.fullmatch(printed, click.unstyle(capsys.readouterr().err))


def test_many_containers_are_operated_on_in_groups(socket_path: str) -> None:
    names = [f"web{number}" for number in range(40)]
    shown = run(socket_path, "stop", "--json", *names, *names)
    assert (shown.exit_code, shown.output.count('"state": "running"')) == (0, len(names))


class TestSocketPath:
    @pytest.mark.parametrize(
        ("content", "found"),
        [
            ('[attach]\nrun_dir = "/srv/vtapd"\n', "/srv/vtapd/control.sock"),
            ('[attach]\ncontainers = "all"\n', "/run/vtapd/control.sock"),
            ("[attach]\nrun_dir = 5\n", "/run/vtapd/control.sock"),
            ("attach = 5\n", "/run/vtapd/control.sock"),
            ("this is no TOML\xff", "/run/vtapd/control.sock"),
        ],
    )
    def test_run_dir_of_the_configuration_is_used(self, tmp_path: Path, content: str, found: str) -> None:
        file = tmp_path / "vtapd.toml"
        file.write_text(content, "latin-1")
        assert client.find_socket(str(file), str(tmp_path)) == found

    def test_missing_configuration_means_the_default(self, tmp_path: Path) -> None:
        assert client.find_socket(str(tmp_path / "none.toml"), str(tmp_path)) == "/run/vtapd/control.sock"

    def test_only_daemon_that_runs_is_found(self, tmp_path: Path) -> None:
        """It has a socket of its own; the symlink of one that was killed leads nowhere."""
        file = tmp_path / "vtapd.toml"
        file.write_text(f'[attach]\nrun_dir = "{tmp_path / "none"}"\n')
        (tmp_path / "here").touch()
        (tmp_path / "a.sock").symlink_to(tmp_path / "here")
        (tmp_path / "b.sock").symlink_to(tmp_path / "gone")
        assert client.find_socket(str(file), str(tmp_path)) == str(tmp_path / "here")
        (tmp_path / "there").touch()
        (tmp_path / "c.sock").symlink_to(tmp_path / "there")
        assert client.find_socket(str(file), str(tmp_path)) == f"{tmp_path}/none/control.sock", "which of the two?"
        assert client.find_others(str(tmp_path)) == [str(tmp_path / "here"), str(tmp_path / "there")]


class TestUnreachable:
    def test_user_without_rights_is_told_the_group(self, tmp_path: Path) -> None:
        path = tmp_path / "control.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
        group = grp.getgrgid(path.stat().st_gid).gr_name
        assert f"be root, or a member of group {group}" in client.unreachable(str(path), PermissionError())
        assert "member of group vtapd" in client.unreachable("/closed/control.sock", PermissionError())

    def test_socket_of_a_killed_daemon_is_a_failure(self, tmp_path: Path) -> None:
        path = tmp_path / "control.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
        answer = CliRunner().invoke(main, ["--socket", str(path), "ps"])
        assert answer.exit_code == 1
        assert f"no vtapd answers on {path} (Connection refused)" in answer.output


def test_answer_that_is_cut_short_is_a_failure(socket_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "end_headers", _claim_more)
    answer = CliRunner().invoke(main, ["--socket", socket_path, "ps", "--json"])
    assert answer.exit_code == 1
    assert "no vtapd answers" in answer.output


def _claim_more(handler: Handler) -> None:
    handler.send_header("Content-Length", "100000")
    BaseHTTPRequestHandler.end_headers(handler)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nServer: x\r\n"]
)
def test_other_servers_are_reported(tmp_path: Path, answer: bytes) -> None:
    class Other(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.wfile.write(answer)

    path = str(tmp_path / "other.sock")
    with socketserver.UnixStreamServer(path, Other) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        shown = CliRunner().invoke(main, ["--socket", path, "ps"])
        thread.join()
    assert shown.exit_code == 1
    assert f"no vtapd answers on {path}" in shown.output
    assert client.get(path, "/containers", 1.0) is None, "it has ended"
