"""What the status page shows of texts that may have something of a label, a console or the environment."""

import json
from dataclasses import replace

import pytest

from supervisor.api.representation import summary
from supervisor.api.status_page import page_container
from supervisor.api.usage import observe_usage
from supervisor.core.attach.actions import Attempt, CreateTap
from supervisor.core.attach.troubles import Trouble
from supervisor.core.guest.health_spec import parse_alive
from supervisor.core.guest.spec import Environment
from supervisor.core.kinds.environment import format_environment
from supervisor.core.record import Exit
from supervisor.core.report.disclosure import last_lines, shown_exit, shown_notes, shown_reason
from supervisor.core.report.schema import PageContainerShape
from supervisor.core.report.status import ContainerStatus
from supervisor.errors import Permanent, Step, Transient
from tests.page.states import SECRET, container, ended, every_state, guest, rejected

ALL = ("reasons", "consoles", "screens")


@pytest.mark.parametrize("status", every_state(), ids=lambda status: status.name)
def test_nothing_of_labels_consoles_and_command_lines_is_shown_by_default(status: ContainerStatus) -> None:
    shown = page_container(status, ())
    assert set(shown) == set(PageContainerShape.__annotations__)
    assert SECRET not in json.dumps(shown)
    assert (shown["console"], shown["screen"]) == (False, False)


def test_all_is_shown_if_the_operator_wants_it() -> None:
    web = page_container(guest(1, "web", screen=True), ALL)
    assert (web["console"], web["screen"]) == (True, True)
    assert web["last_exit"] is not None
    assert SECRET in web["last_exit"]["detail"]
    assert any(SECRET in note for note in web["notes"])
    assert SECRET in (page_container(rejected(2, "refused"), ALL)["reason"] or "")


def test_figures_are_those_of_top() -> None:
    web, used = page_container(guest(1, "web"), ()), observe_usage(guest(1, "web"))
    assert set(used) <= set(web)
    assert (web["guest"], web["restarts"], web["processes"]) == ("rumprun", 3, used["processes"])


def test_refused_label_is_named_without_its_value() -> None:
    assert shown_reason(rejected(1, "web"), ()) == "label vtapd.args is refused; for the reason see: vtapd inspect"


@pytest.mark.parametrize(("step", "named"), [(Step.QEMU, "the step qemu failed"), (Step.UNNAMED, "a step failed")])
def test_error_is_named_by_its_step(step: Step, named: str) -> None:
    failed = container(1, "web", error=Permanent(SECRET, step=step))
    assert shown_reason(failed, ()) == f"{named}; for the reason see: vtapd inspect"


def test_trouble_of_an_interface_is_named_by_its_step() -> None:
    trouble = Trouble(Attempt(CreateTap, "eth0"), Transient(SECRET, step=Step.MACVTAP))
    assert "the step macvtap failed" in (shown_reason(container(1, "web", troubles=(trouble,)), ()) or "")


def test_what_qemu_said_is_left_out() -> None:
    status = guest(1, "web", runs=False)
    assert status.record is not None
    never_ran = replace(status.record.guest, exits=(Exit("qemu-exit", 1, SECRET, never_ran=True),))
    given_up = replace(status.record.guest, done="failed", failure=SECRET)
    for record in (never_ran, given_up):
        shown = shown_reason(replace(status, record=replace(status.record, guest=record)), ())
        assert shown == "QEMU cannot start its guest; for the reason see: vtapd inspect"


def test_health_check_is_named_without_its_value() -> None:
    status = guest(1, "web")
    assert status.guest is not None
    spec = replace(status.guest.spec, alive=parse_alive("http:80/" + SECRET))
    silent = replace(status, guest=replace(status.guest, spec=spec, answers=False))
    assert SECRET in (silent.reason or "")
    assert shown_reason(silent, ()) == "its guest does not answer vtapd.alive"


def test_end_of_the_guest_is_shown() -> None:
    status = guest(1, "web", runs=False)
    assert status.record is not None
    assert "guest-panic 7" in (shown_reason(status, ()) or "")
    done = replace(status.record, guest=replace(status.record.guest, done="failed"))
    assert "allows no further start" in (shown_reason(replace(status, record=done), ()) or "")


def test_reason_of_a_failure_that_has_ended_is_left_out() -> None:
    at = "2026-01-02T03:04:05.678+00:00"
    failed = ended(rejected(1, "web"), at).status
    assert SECRET in (shown_reason(failed, ALL) or "")
    assert shown_reason(failed, ()) == "for the reason see: vtapd inspect"
    exited = ended(container(2, "plain"), at).status
    assert shown_reason(exited, ()) == "the container has ended; start it again: docker start"
    assert page_container(exited, ())["ended_at"] == at


def test_reason_in_the_words_of_vtapd_is_shown() -> None:
    ignored = container(1, "web", ignored_reason="it uses the host's network (--network host)")
    assert shown_reason(ignored, ()) == "it uses the host's network (--network host)"
    assert shown_reason(container(2, "plain"), ()) is None
    assert shown_reason(container(2, "plain"), ALL) is None


def test_notes_that_name_variables_are_left_out() -> None:
    left_out = format_environment(Environment((("bad name", SECRET),)), "{}={}".format).notes
    notes = ["Not passed to the guest: host name a\x1bb.", *left_out]
    assert len(left_out) == 1
    assert shown_notes(notes, ()) == [r"Not passed to the guest: host name a\x1bb."]
    assert len(shown_notes(notes, ALL)) == 2


def test_line_that_reported_the_end_is_of_the_console() -> None:
    last = summary(guest(1, "web"))["last_exit"]
    assert last is not None
    hidden, shown = shown_exit(last, ("reasons", "screens")), shown_exit(last, ("consoles",))
    assert hidden == {**last, "detail": ""}
    assert shown == last
    assert shown_exit(None, ALL) is None


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("", ""),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07 \x1b(B \x1b=", "red   "),
        ("\x1b\x00\u202e", r"\x1b\x00\u202e"),
        ("a\tb", "a       b"),
        ("<b>&amp;", "<b>&amp;"),
        ("x" * 9000, "x" * 500),
    ],
)
def test_console_is_shown_as_text_that_controls_nothing(output: str, shown: str) -> None:
    assert last_lines(output) == shown


def test_only_the_last_lines_of_a_console_are_shown() -> None:
    lines = last_lines("".join(f"line {number}\n" for number in range(5000))).splitlines()
    assert (len(lines), lines[-1]) == (40, "line 4999")
