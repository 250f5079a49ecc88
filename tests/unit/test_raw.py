import pytest

from supervisor.core.guests.kind import Boot, GuestKind, Stop
from supervisor.core.guests.raw import RAW, RAW_DISK
from supervisor.errors import Rejected

from .things import NETWORK, ONLY_IPV6


def test_nothing_is_added_to_what_the_user_wrote() -> None:
    boot = RAW.boot('any "thing", really', NETWORK, ())
    assert (boot.command_line, boot.modules) == ('any "thing", really', ())
    assert RAW.boot("", None, ()) == RAW_DISK.boot("", None, ()) == Boot()


@pytest.mark.parametrize("form", [RAW, RAW_DISK])
def test_that_it_is_told_no_network_is_said(form: GuestKind) -> None:
    for network in (NETWORK, ONLY_IPV6):
        assert form.boot("", network, ()).notes == (
            "The guest is told nothing of its network: it cares for its addresses itself.",
        )


def test_what_cannot_reach_it_is_refused() -> None:
    with pytest.raises(Rejected, match=r"vtapd.env"):
        RAW.boot("", None, (("K", "V"),))
    with pytest.raises(Rejected, match=r"vtapd.args='a b' .*disk"):
        RAW_DISK.boot("a b", None, ())


def test_it_may_have_a_power_button() -> None:
    assert RAW.stop is Stop.POWERDOWN
    assert RAW.console == ()


@pytest.mark.parametrize("form", [RAW, RAW_DISK])
def test_what_its_firmware_prints_is_in_the_containers_log(form: GuestKind) -> None:
    assert form.machine.firmware_on_serial
