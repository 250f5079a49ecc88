from supervisor.core.guests.kind import Boot, Stop
from supervisor.core.guests.raw import RAW

from .things import NETWORK


def test_nothing_is_added_to_what_the_user_wrote() -> None:
    assert RAW.boot('any "thing", really', NETWORK) == Boot('any "thing", really')
    assert RAW.boot("", None) == Boot()


def test_it_may_have_a_power_button() -> None:
    assert RAW.stop is Stop.POWERDOWN
    assert RAW.console == ()
