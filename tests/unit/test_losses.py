"""A tap that is deleted again and again is made again ever more rarely."""

from supervisor.core.attach.losses import Losses


def test_tap_is_made_again_at_once_a_few_times_then_later_and_later() -> None:
    losses = Losses()
    waits = []
    for second in range(12):
        losses.note(float(second))
        waits.append(losses.wait_s(float(second)))
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3:] == sorted(waits[3:])
    assert waits[3] > 0.0
    assert waits[-1] == 30.0
    assert losses.wait_s(11.0 + 30.0) == 0.0


def test_losses_are_forgotten_after_a_while() -> None:
    losses = Losses()
    for second in range(12):
        losses.note(float(second))
    losses.note(100.0)
    assert losses.wait_s(100.0) == 0.0
