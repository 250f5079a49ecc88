"""When a step that failed is tried again, and how often it is reported."""

import pytest
from structlog.testing import capture_logs

from supervisor.container import troubles
from supervisor.container.troubles import Troubles, error_of_machine
from supervisor.core.attach.actions import Attempt, CreateTap, GiveBack, TakeOver
from supervisor.core.attach.state import Desired, Seen, SeenInterface
from supervisor.errors import ContainerGone, Permanent, Step, Transient
from supervisor.observability.metrics import Counters

from .examples import ETH0, INCARNATION

ATTEMPT = Attempt(CreateTap, "eth0")
SEEN = Seen(INCARNATION, interfaces=(SeenInterface(ETH0),))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [1000.0]
    monkeypatch.setattr(troubles, "boottime_s", lambda: now_s[0])
    return now_s


@pytest.fixture
def subject(clock: list[float]) -> Troubles:
    del clock
    return Troubles(Counters(), "web")


def busy() -> Transient:
    return Transient("busy", step=Step.MACVTAP)


def test_delays_grow_and_guest_waits_for_three_tries(subject: Troubles, clock: list[float]) -> None:
    for delay_s, is_brief in ((0.1, True), (0.2, True), (0.4, False), (0.8, False)):
        assert subject.resting() == frozenset()
        subject.note(ATTEMPT, SEEN, busy())
        assert subject.due_s() == pytest.approx(delay_s)
        assert subject.is_brief == is_brief
        assert subject.resting() == {ATTEMPT}
        clock[0] += delay_s + 0.001
    assert subject.resting() == frozenset()


def test_what_is_due_and_was_not_tried_wakes_nothing(subject: Troubles, clock: list[float]) -> None:
    """A takeover that failed is tried again at the guest's next start, and not while the guest runs."""
    subject.note(Attempt(TakeOver, "eth0"), SEEN, busy())
    clock[0] += 60
    assert subject.due_s() == 0.0
    subject.resting()
    assert subject.due_s() is None
    assert not subject.is_brief


def test_everything_is_tried_again_when_something_changes(subject: Troubles) -> None:
    subject.note(ATTEMPT, SEEN, Permanent("never", step=Step.MACVTAP))
    assert subject.resting() == {ATTEMPT}
    subject.retry_now()
    assert subject.resting() == frozenset()
    assert subject.attempts() == {ATTEMPT}


def test_lasting_trouble_is_logged_once(subject: Troubles) -> None:
    with capture_logs() as lines:
        for _ in range(3):
            subject.note(ATTEMPT, SEEN, Permanent("never", step=Step.MACVTAP))
        subject.note(Attempt(GiveBack, "eth0"), SEEN, Permanent("not back", step=Step.TAKEOVER))
        subject.note(Attempt(TakeOver, "eth0"), SEEN, ContainerGone("gone", step=Step.TAKEOVER))
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("attach_failed", "error"),
        ("undo_failed", "error"),
        ("container_ended_meanwhile", "debug"),
    ]
    assert lines[0]["error"] == "container web: eth0: never"


def test_trouble_that_is_over_is_forgotten(subject: Troubles) -> None:
    subject.note(ATTEMPT, SEEN, busy())
    subject.sweep(Desired(False), SEEN, None)
    assert subject.all() == ()
    subject.note(ATTEMPT, SEEN, busy())
    subject.end(ATTEMPT)
    assert subject.all() == ()


def test_error_of_the_machine_names_its_remedy() -> None:
    assert "ulimit" in str(error_of_machine(OSError(24, "Too many open files")))
