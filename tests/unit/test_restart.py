from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.restart import (
    EXIT_REASONS,
    MAX_EXITS,
    NOT_CRASHES,
    Evidence,
    RestartCurve,
    after_end,
    after_start,
    classify,
    describe_end,
    is_clean,
    line_of_end,
    started_by_operator,
)
from supervisor.core.guest.spec import RestartPolicy
from supervisor.core.kinds import KINDS
from supervisor.core.kinds.kind import Verdict
from supervisor.core.record import Exit, GuestRecord

from .examples import PROCESS

CURVE = RestartCurve()
EVEN = 0.5
"""The chance value that adds no jitter."""
ON_FAILURE, ALWAYS = RestartPolicy(), RestartPolicy("always")
CLEAN, CRASH = Exit("guest-exit", 0), Exit("guest-panic")


def ended(
    exit: Exit = CRASH,
    policy: RestartPolicy = ON_FAILURE,
    *,
    guest: GuestRecord | None = None,
    uptime_s: float = 1.0,
    chance: float = EVEN,
) -> GuestRecord:
    """Return the guest's record after one run of this length."""
    running = after_start(guest or GuestRecord(), PROCESS)
    return after_end(running, exit, policy, CURVE, PROCESS.spawned_at_s + uptime_s, chance)


class TestCurve:
    def test_delays_grow_to_the_maximum(self) -> None:
        curve = RestartCurve(first_s=1, max_s=60, steps=6)
        delays = [round(curve.delay_s(crashes, EVEN), 1) for crashes in range(1, 10)]
        assert delays == [1.0, 2.0, 3.9, 7.7, 15.3, 30.3, 60.0, 60.0, 60.0]

    def test_default_curve_goes_from_100_ms_to_60_s_with_10_percent_jitter(self) -> None:
        assert CURVE.delay_s(1, EVEN) == pytest.approx(0.1)
        assert CURVE.delay_s(9, EVEN) == pytest.approx(60)
        assert CURVE.delay_s(1, 0.0) == pytest.approx(0.09)
        assert CURVE.delay_s(10**6, 1.0) == pytest.approx(66)

    @given(
        st.floats(0.001, 100),
        st.floats(1, 1000),
        st.integers(1, 50),
        st.floats(0, 0.9),
        st.integers(1, 10**9),
        st.floats(0, 1, exclude_max=True),
    )
    def test_delay_never_falls_and_stays_within_its_bounds(
        self, first: float, growth: float, steps: int, jitter: float, crashes: int, chance: float
    ) -> None:
        curve = RestartCurve(first, first * growth, steps, jitter)
        middle = curve.delay_s(crashes, EVEN)
        assert curve.delay_s(crashes + 1, EVEN) >= middle
        assert first * (1 - 1e-9) <= middle <= first * growth * (1 + 1e-9)
        assert abs(curve.delay_s(crashes, chance) - middle) <= middle * (jitter + 1e-9)


class TestReason:
    """The cause of an end takes precedence over its symptoms."""

    @pytest.mark.parametrize(
        ("evidence", "reason", "code"),
        [
            (Evidence(asked="stopped", status=-9, oom=True), "stopped", None),
            (Evidence(asked="hang", status=-9, container_gone=True), "hang", None),
            (Evidence(container_gone=True, status=-9, oom=True), "container-gone", None),
            (Evidence(oom=True, status=-9, verdict=Verdict("guest-exit", 0)), "oom-kill", None),
            (Evidence(verdict=Verdict("guest-exit", 7), status=-9, panicked=True), "guest-exit", 7),
            (Evidence(panicked=True, shutdown="guest-panic", status=0), "guest-panic", None),
            (Evidence(shutdown="guest-shutdown", status=0), "guest-exit", 0),
            (Evidence(shutdown="guest-reset", status=0), "guest-reset", None),
            (Evidence(shutdown="subsystem-reset", status=0), "guest-reset", None),
            (Evidence(shutdown="guest-panic", status=0), "guest-panic", None),
            (Evidence(shutdown="host-signal", status=0), "qemu-signal", 15),
            (Evidence(shutdown="host-qmp-quit", status=0), "qemu-exit", 0),
            (Evidence(status=-11), "qemu-signal", 11),
            (Evidence(status=1, detail="no such machine"), "qemu-exit", 1),
            (Evidence(), "qemu-exit", None),
        ],
    )
    def test_evidence_gives_the_reason(self, evidence: Evidence, reason: str, code: int | None) -> None:
        assert classify(evidence, KINDS["raw"]) == Exit(reason, code, evidence.detail)

    @given(
        st.builds(
            Evidence,
            status=st.none() | st.integers(-64, 255),
            shutdown=st.none() | st.sampled_from(["guest-shutdown", "guest-reset", "host-error", "none"]) | st.text(),
            panicked=st.booleans(),
            verdict=st.none() | st.builds(Verdict, st.just("guest-exit"), st.none() | st.integers()),
            asked=st.sampled_from([None, "stopped", "hang"]),
            oom=st.booleans(),
            container_gone=st.booleans(),
        )
    )
    def test_every_end_has_a_documented_reason(self, evidence: Evidence) -> None:
        assert {classify(evidence, kind).reason for kind in KINDS.values()} <= EXIT_REASONS.keys()

    @pytest.mark.parametrize(
        ("kind", "evidence", "reason", "code"),
        [
            ("nanos", Evidence(status=1), "guest-exit", 0),
            ("nanos", Evidence(status=15), "guest-exit", 7),
            ("nanos", Evidence(status=15, shutdown="guest-shutdown"), "guest-exit", 7),
            ("nanos", Evidence(status=15, verdict=Verdict("guest-panic")), "guest-panic", None),
            ("nanos", Evidence(status=15, asked="stopped"), "stopped", None),
            ("nanos", Evidence(status=0, shutdown="guest-shutdown"), "guest-exit", 0),
            ("nanos", Evidence(status=2), "qemu-exit", 2),
            ("nanos", Evidence(status=-11), "qemu-signal", 11),
            ("nanos", Evidence(status=None), "qemu-exit", None),
            ("nanos", Evidence(status=1, complaint="no such machine"), "qemu-exit", 1),
            ("nanos", Evidence(status=5, complaint="warning: TCG lacks a feature"), "guest-exit", 2),
            ("hermit", Evidence(status=3), "guest-exit", 0),
            ("hermit", Evidence(status=1), "guest-exit", 1),
            ("hermit", Evidence(status=0, shutdown="guest-reset"), "guest-reset", None),
            ("raw", Evidence(status=3), "qemu-exit", 3),
        ],
    )
    def test_status_of_the_exit_device_gives_the_exit_code(
        self, kind: str, evidence: Evidence, reason: str, code: int | None
    ) -> None:
        assert classify(evidence, KINDS[kind]) == Exit(reason, code)

    @pytest.mark.parametrize(
        ("exit", "clean"),
        [(Exit("guest-exit", 0), True), (Exit("guest-exit", 1), False), (Exit("guest-exit"), False),
         (Exit("qemu-exit", 0), False)],
    )  # fmt: skip
    def test_only_exit_0_of_the_guest_is_clean(self, exit: Exit, clean: bool) -> None:
        assert is_clean(exit) is clean


class TestPolicy:
    @pytest.mark.parametrize("mode", ["no", "on-failure", "always", "unless-stopped"])
    @pytest.mark.parametrize("exit", [CLEAN, CRASH, Exit("guest-exit", 3), Exit("stopped"), Exit("container-gone")])
    def test_restart_policy_decides_which_ends_restart(self, mode: str, exit: Exit) -> None:
        crashed = exit in (CRASH, Exit("guest-exit", 3))
        comes_back = {
            "no": False,
            "on-failure": crashed,
            "always": exit.reason not in NOT_CRASHES,
            "unless-stopped": exit.reason not in NOT_CRASHES,
        }[mode]
        guest = ended(exit, RestartPolicy(mode))
        assert (guest.done is None) is comes_back
        assert (guest.exits[-1].delay_s is not None) is comes_back
        if not comes_back:
            assert guest.done == ("failed" if crashed else "exited")
            assert guest.not_before_s == 0.0

    def test_next_start_is_due_after_the_delay(self) -> None:
        guest = ended(uptime_s=2.0)
        assert guest.process is None
        assert guest.not_before_s == pytest.approx(PROCESS.spawned_at_s + 2.0 + 0.1)
        assert guest.exits == (replace(CRASH, uptime_s=2.0, delay_s=0.1),)

    def test_limit_counts_restarts(self) -> None:
        policy = RestartPolicy("on-failure", 2)
        first = ended(policy=policy)
        second = ended(policy=policy, guest=first)
        third = ended(policy=policy, guest=second)
        assert [g.done for g in (first, second, third)] == [None, None, "failed"]
        assert third.restarts == 2

    def test_delay_grows_after_clean_ends_too(self) -> None:
        first = ended(CLEAN, ALWAYS)
        second = ended(CLEAN, ALWAYS, guest=first)
        assert second.exits[-1].delay_s is not None
        assert first.exits[-1].delay_s is not None
        assert second.exits[-1].delay_s > first.exits[-1].delay_s

    def test_healthy_run_resets_the_curve(self) -> None:
        often = ended(guest=GuestRecord(crashes=5), uptime_s=59.9)
        healthy = ended(guest=GuestRecord(crashes=5), uptime_s=60.0)
        assert (often.crashes, healthy.crashes) == (6, 1)
        assert healthy.exits[-1].delay_s == pytest.approx(0.1)

    def test_end_without_a_known_start_has_no_uptime(self) -> None:
        guest = after_end(GuestRecord(crashes=3), CRASH, ON_FAILURE, CURVE, 10**6, EVEN)
        assert guest.exits[-1].uptime_s == 0.0
        assert guest.crashes == 4


class TestRecord:
    def test_first_start_is_not_a_restart(self) -> None:
        first = after_start(GuestRecord(), PROCESS)
        assert (first.process, first.restarts) == (PROCESS, 0)

    def test_start_after_a_crash_is_a_restart(self) -> None:
        again = after_start(ended(), PROCESS)
        assert (again.restarts, again.ordered_restarts, again.not_before_s) == (1, 0, 0.0)

    @pytest.mark.parametrize(("exit", "policy"), [(Exit("stopped"), ALWAYS), (CRASH, RestartPolicy("no"))])
    def test_start_by_an_operator_is_counted_by_itself(self, exit: Exit, policy: RestartPolicy) -> None:
        again = after_start(started_by_operator(ended(exit, policy)), PROCESS)
        assert (again.restarts, again.ordered_restarts, again.done) == (0, 1, None)

    @given(
        st.lists(
            st.tuples(st.sampled_from(sorted(EXIT_REASONS)), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True)),
            max_size=MAX_EXITS + 5,
        )
    )
    def test_record_counts_all_ends_and_keeps_the_latest(self, ends: list[tuple[str, float, float]]) -> None:
        guest = GuestRecord()
        for reason, uptime_s, chance in ends:
            guest = ended(Exit(reason), ALWAYS, guest=guest, uptime_s=uptime_s, chance=chance)
        reasons = [reason for reason, _, _ in ends]
        assert [exit.reason for exit in guest.exits] == reasons[-MAX_EXITS:]
        assert guest.exit_counts == {reason: reasons.count(reason) for reason in set(reasons)}
        assert guest.ordered_restarts == len([each for each in reasons[:-1] if each in NOT_CRASHES])
        assert guest.restarts + guest.ordered_restarts == max(0, len(ends) - 1)
        assert guest.crashes <= len(ends)

    def test_only_the_latest_ends_are_kept(self) -> None:
        guest = GuestRecord()
        for number in range(MAX_EXITS + 5):
            guest = ended(Exit("guest-exit", number + 1), ALWAYS, guest=guest)
        assert [exit.code for exit in guest.exits] == list(range(6, MAX_EXITS + 6))
        assert guest.exit_counts == {"guest-exit": MAX_EXITS + 5}
        assert guest.exit_count == MAX_EXITS + 5

    def test_thousand_crashes_keep_the_curve_and_a_small_record(self) -> None:
        """Each delay lies on the curve, within the jitter; after the last step it stays the same."""
        guest = GuestRecord()
        for number in range(1, 1001):
            guest = ended(guest=guest, uptime_s=0.01, chance=number % 11 / 11)
            climbed = min(number - 1, CURVE.steps) / CURVE.steps
            due = CURVE.first_s * (CURVE.max_s / CURVE.first_s) ** climbed
            delay = guest.exits[-1].delay_s or 0.0
            assert delay == pytest.approx(due, rel=CURVE.jitter + 1e-3), number
            assert guest.not_before_s == pytest.approx(PROCESS.spawned_at_s + 0.01 + delay, abs=0.001)
        assert (guest.crashes, guest.restarts, guest.exit_counts) == (1000, 999, {CRASH.reason: 1000})
        assert len(guest.exits) == MAX_EXITS


def test_operators_start_is_immediate_and_keeps_the_history() -> None:
    failed = ended(policy=RestartPolicy("no"), guest=GuestRecord(crashes=7, restarts=3))
    fresh = started_by_operator(failed)
    assert (fresh.done, fresh.crashes, fresh.not_before_s) == (None, 0, 0.0)
    assert (fresh.restarts, fresh.exits, fresh.exit_counts) == (failed.restarts, failed.exits, failed.exit_counts)


def test_end_is_described() -> None:
    assert (
        describe_end(Exit("guest-exit", 7, delay_s=0.1))
        == "the guest ended (guest-exit 7); the next one starts in 0.1 s"
    )
    assert describe_end(Exit("guest-exit", 7)) == "the guest ended (guest-exit 7); none follows"
    assert describe_end(Exit("stopped")) == "the guest ended (stopped)"


@pytest.mark.parametrize(
    ("exit", "line"),
    [
        (Exit("guest-exit", 7), "vtapd: guest-exit 7"),
        (Exit("guest-panic", detail="Kernel panic - not syncing"), "vtapd: guest-panic: Kernel panic - not syncing"),
        (Exit("qemu-exit", 1, "no such device"), "vtapd: qemu-exit 1: no such device"),
        (Exit("stopped"), "vtapd: stopped"),
    ],
)
def test_line_in_the_containers_log(exit: Exit, line: str) -> None:
    assert line_of_end(exit) == line
