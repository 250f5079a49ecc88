"""The container's environment in the spelling of a kind. What cannot be passed is named, and no value is ever shown."""

import pytest

from supervisor.core.guest.spec import Environment
from supervisor.core.kinds.environment import check_value, format_environment, refuse_environment
from supervisor.errors import Rejected

PHRASE = "correct horse battery staple"
SECRET = Environment((("PASSWORD", PHRASE), ("PASS-WORD", PHRASE), ("K", "V")))


def spell(name: str, value: str) -> str:
    check_value(value, " ")
    return f"{name}={value}"


def test_variable_that_cannot_be_passed_is_left_out_and_named() -> None:
    spelt = format_environment(SECRET, spell)
    assert spelt.words == ("K=V",)
    assert spelt.notes == (
        "Not passed to the guest: variable 'PASSWORD': its value may have no blanks.",
        "Not passed to the guest: variable 'PASS-WORD': its name must be of letters, digits and _.",
    )


def test_chosen_variable_that_cannot_be_passed_is_refused_without_its_value() -> None:
    with pytest.raises(Rejected) as caught:
        format_environment(Environment(SECRET.variables[:1], ("PASSWORD",)), spell)
    assert "label vtapd.env='PASSWORD' is refused" in str(caught.value)
    assert "variable 'PASSWORD': its value may have no blanks" in str(caught.value)
    assert "horse" not in str(caught.value)


def test_variables_are_passed_in_order_while_room_is_left() -> None:
    env = Environment((("A", "1"), ("LONG", "x" * 20), ("B", "2")))
    spelt = format_environment(env, spell, room_bytes=10)
    assert spelt.words == ("A=1", "B=2")
    assert spelt.notes == ("Not passed to the guest: variable 'LONG': no room is left for it.",)
    assert format_environment(env, spell, most=1).words == ("A=1",)


def test_kind_without_environment_refuses_variables_without_showing_them() -> None:
    refuse_environment(Environment(), "raw")
    with pytest.raises(Rejected, match="a raw guest takes no environment") as caught:
        refuse_environment(SECRET, "raw")
    assert "horse" not in str(caught.value)
