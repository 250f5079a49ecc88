"""Whether a guest is restarted, and after what delay."""

from itertools import pairwise

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import qemus_of
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 20.0
CURVE = {"first": "100ms", "max": "60s", "steps": 8, "jitter": 0.1, "reset_after": "60s"}
GROWTH = 600 ** (1 / 8)  # from 100 ms to 60 s in eight steps


def crash(daemon: Daemon, guest: Container, times: int = 1) -> None:
    """Crash the guest whenever it answers; return when the last crash was counted."""
    for _ in range(times):
        guest.await_page(PATIENCE_S)
        counted = daemon.metrics().exits(guest.name)
        guest.trigger("/crash")
        # misc: mypy has no type for a lambda's default, which binds the loop's name.
        eventually(lambda n=counted: daemon.metrics().exits(guest.name) == n + 1, "the crash is counted", PATIENCE_S)  # type: ignore[misc]  # mypy has no type for a lambda's default


def test_policy_no_does_not_restart(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(restart="no", on_exit="keep")
    crash(vtapd, guest)
    vtapd.await_state(guest.name, "exited", "failed")
    holds_for(lambda: not qemus_of(guest.id), "no QEMU is started", 1.0)
    assert vtapd.metrics().restarts(guest.name) == 0


def test_policy_no_stops_the_container(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(restart="no")
    guest.await_page()
    guest.trigger("/crash")
    eventually(lambda: not guest.is_running(), "the container is stopped")


@pytest.mark.parametrize("restart", ["always", "unless-stopped"])
def test_clean_end_is_restarted_with_policy_always(vtapd: Daemon, containers: Containers, restart: str) -> None:
    guest = containers.serving_guest(restart=restart)
    guest.trigger("/exit?code=0")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    guest.await_page()
    assert vtapd.metrics().exits(guest.name, "guest-exit") == 1


def test_on_failure_stops_after_its_limit(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(restart="on-failure:2", on_exit="keep")
    crash(vtapd, guest, times=3)
    view = vtapd.await_state(guest.name, "failed")
    assert view.only_guest.restarts == 2
    assert len(view.only_guest.history) == 3
    assert "2" in view.message, f"the reason names the limit: {view.message!r}"
    assert guest.is_running()
    holds_for(lambda: not qemus_of(guest.id), "no QEMU is started", 1.0)


@pytest.mark.vtapd_config(restart=CURVE)
def test_delays_follow_the_curve(vtapd: Daemon, containers: Containers) -> None:
    """Each is the previous one times the eighth root of 600, with a jitter of 10 %."""
    guest = containers.guest()
    crash(vtapd, guest, times=4)
    guest.await_page(PATIENCE_S)
    view = vtapd.inspect(guest.name).only_guest
    delays = view.delays_s
    assert len(delays) == 4
    assert 0.09 <= delays[0] <= 0.11
    for before, after in pairwise(delays):
        assert GROWTH * 0.9 / 1.1 <= after / before <= GROWTH * 1.1 / 0.9, delays
    starts = vtapd.metrics().value("vtapd_guest_start_seconds_count")
    assert starts >= 5


@pytest.mark.vtapd_config(restart=CURVE | {"jitter": 0.0})
def test_delays_without_jitter(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest()
    crash(vtapd, guest, times=3)
    guest.await_page(PATIENCE_S)
    assert vtapd.inspect(guest.name).only_guest.delays_s == pytest.approx([0.1 * GROWTH**n for n in range(3)], rel=0.02)


@pytest.mark.vtapd_config(restart=CURVE | {"first": "3s", "max": "60s"})
def test_backoff_is_shown_while_it_lasts(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest()
    crash(vtapd, guest)
    vtapd.await_state(guest.name, "backoff")
    metrics = vtapd.metrics()
    assert 0 < metrics.value("vtapd_guest_backoff_seconds", container=guest.name) <= 3.3
    assert not metrics.guest_up(guest.name)
    assert metrics.states().get("backoff") == 1
    guest.await_page()
    assert vtapd.metrics().value("vtapd_guest_backoff_seconds", container=guest.name) == 0


@pytest.mark.vtapd_config(restart=CURVE | {"reset_after": "1s", "jitter": 0.0})
def test_healthy_run_resets_the_curve(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest()
    crash(vtapd, guest, times=2)
    guest.await_page(PATIENCE_S)
    holds_for(lambda: guest.get().status == 200, "the guest is healthy", 1.5)
    crash(vtapd, guest)
    guest.await_page(PATIENCE_S)
    first, second, third = vtapd.inspect(guest.name).only_guest.delays_s
    assert second > first
    assert third == pytest.approx(first, rel=0.02)
