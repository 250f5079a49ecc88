"""How a finding of `vtapd check` is printed."""

from supervisor.cli.check import lines_of
from supervisor.core.report.findings import Finding

FINDING = Finding(
    "docker", "FAIL", "cannot ask Docker (info): No such file or directory", "start it: systemctl start docker"
)
INDENT = " " * 22


def printed(finding: Finding, width: int | None) -> list[str]:
    return [str(line) for line in lines_of(finding, width)]


def test_lines_are_whole_without_a_terminal() -> None:
    assert printed(FINDING, None) == [
        "FAIL docker           cannot ask Docker (info): No such file or directory",
        f"{INDENT}start it: systemctl start docker",
    ]


def test_continuation_lines_are_indented_on_a_terminal() -> None:
    assert printed(FINDING, 60) == [
        "FAIL docker           cannot ask Docker (info): No such file",
        f"{INDENT}or directory",
        f"{INDENT}start it: systemctl start docker",
    ]


def test_long_word_stays_whole() -> None:
    path = "/a/path-of-a-socket/that/is/longer/than/the/line.sock"
    assert printed(Finding("docker", "ok", f"at {path}"), 60) == ["ok   docker           at", f"{INDENT}{path}"]


def test_very_narrow_terminal_wraps_by_itself() -> None:
    assert printed(FINDING, 30) == printed(FINDING, None)


def test_finding_without_a_text_is_one_line() -> None:
    assert printed(Finding("systemd", "ok", ""), 80) == ["ok   systemd          "]
