"""A tap that is deleted again and again is made again ever more rarely."""

from supervisor.core.attach.actions import CreateTap, DeleteTap
from supervisor.core.attach.losses import Losses
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.links import DeviceNumber, IfIndex, Interface, Tap

ETH0 = Interface("eth0", IfIndex(2), "02:42:ac:11:00:02", 1500)
CREATE = CreateTap(ETH0, "vtap0", "02:42:ac:11:00:03")
TAP = Tap("vtap0", IfIndex(9), CREATE.mac, 1500, up=True, device=DeviceNumber(240, 1))
BEFORE, AFTER = (Seen(None, interfaces=(SeenInterface(ETH0, tap=tap),)) for tap in (None, TAP))


def create(losses: Losses, second: float) -> float:
    """Return how long the tap has to wait, and make it then."""
    waited = losses.wait_s(CREATE, second)
    losses.note(CREATE, BEFORE)
    return waited


def test_tap_is_made_again_at_once_a_few_times_then_later_and_later() -> None:
    losses = Losses()
    waits = [create(losses, float(second)) for second in range(13)]
    assert waits[:4] == [0.0, 0.0, 0.0, 0.0]
    assert waits[4:] == sorted(waits[4:])
    assert waits[4] > 0.0
    assert waits[-1] == 30.0


def test_tap_that_waits_is_lost_once() -> None:
    losses = Losses()
    for _ in range(4):
        create(losses, 0.0)
    waits = [losses.wait_s(CREATE, second) for second in (0.0, 0.5, 1.0)]
    assert waits == [1.0, 0.5, 0.0]


def test_tap_that_vtapd_deleted_was_not_lost() -> None:
    losses = Losses()
    for _ in range(12):
        assert create(losses, 0.0) == 0.0
        losses.note(DeleteTap(TAP), AFTER)


def test_losses_are_forgotten_after_a_while() -> None:
    losses = Losses()
    for second in range(12):
        create(losses, float(second))
    assert create(losses, 100.0) == 0.0
