"""The entries that are sent to journald, parsed here as journald parses them."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.journald import format_entry, format_line

NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def parse_entry(datagram: bytes) -> list[tuple[str, str]]:
    """Parse as journald-native.c does: a line with "=" is a field; one without is followed by length and value."""
    fields = []
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert len(value) == length
            assert rest[:1] == b"\n"
            rest = rest[1:]
        fields.append((name.decode("ascii"), value.decode()))
        datagram = rest
    return fields


def fields_of(event: Mapping[str, object]) -> dict[str, str]:
    return dict(parse_entry(format_entry(event)))


class TestEntry:
    def test_event_becomes_fields_and_a_message(self) -> None:
        event = {"container": "web", "step": "netns", "delay_s": 0.5, "event": "attach_retry", "level": "warning"}
        assert fields_of(event) == {
            "MESSAGE": "attach_retry container=web step=netns delay_s=0.5",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "vtapd",
            "CONTAINER": "web",
            "VTAPD_STEP": "netns",
            "VTAPD_DELAY_S": "0.5",
            "VTAPD_EVENT": "attach_retry",
        }

    @pytest.mark.parametrize(
        ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2), ("odd", 6)]
    )
    def test_priority_is_that_of_syslog(self, level: str, priority: int) -> None:
        assert fields_of({"event": "x", "level": level})["PRIORITY"] == str(priority)

    @pytest.mark.parametrize(
        ("value", "text"),
        [(True, "true"), (None, "null"), (7, "7"), (["a", 1], '["a", 1]'), ({(1, 2): 3}, "{(1, 2): 3}"), (1j, '"1j"')],
    )
    def test_other_values_are_written_as_json(self, value: object, text: str) -> None:
        assert fields_of({"event": "x", "seen": value})["VTAPD_SEEN"] == text

    def test_words_are_bare_and_other_values_are_quoted(self) -> None:
        event = {"event": "x", "a": "word", "b": "two words", "c": 'q"q', "d": "", "e": "Grüße", "f": "ü\n\udcff"}
        message = 'x a=word b="two words" c="q\\"q" e=Grüße f="\\u00fc\\n\\udcff"'
        assert fields_of(event)["MESSAGE"] == message

    def test_traceback_stands_below_the_message(self) -> None:
        fields = fields_of({"event": "x", "container": "web", "exception": "Traceback\n  line 1"})
        assert fields["MESSAGE"] == "x container=web\nTraceback\n  line 1"
        assert fields["VTAPD_EXCEPTION"] == "Traceback\n  line 1"

    def test_surrogates_and_nul_are_shown(self) -> None:
        assert fields_of({"event": "x", "path": "/a\udcff\ud800\0"})["VTAPD_PATH"] == "/a\\udcff\\ud800\0"

    def test_huge_value_is_cut(self) -> None:
        assert fields_of({"event": "x", "output": "y" * (3 << 20)})["VTAPD_OUTPUT"] == "y" * (1 << 20)

    def test_value_cannot_forge_a_field(self) -> None:
        forged = "web\nPRIORITY=0\nMESSAGE=all is well\n"
        event = {"event": "x", "container": forged, "error": forged, "level": "error"}
        fields = parse_entry(format_entry(event))
        names = ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "VTAPD_EVENT", "CONTAINER", "VTAPD_ERROR"]
        assert [name for name, _ in fields] == names
        assert [value for name, value in fields if name == "PRIORITY"] == ["3"]
        assert dict(fields)["MESSAGE"].count("\n") == 0

    @given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=()))))
    def test_every_field_has_an_allowed_name(self, event: dict[str, str]) -> None:
        fields = parse_entry(format_entry(event))
        assert [name for name, _ in fields[:3]] == ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"]
        expected = [value for key, value in event.items() if key != "level"]
        assert [value for _, value in fields[3:]] == [
            value.encode("utf-8", "backslashreplace").decode() for value in expected
        ]
        for name, _ in fields:
            assert NAME.fullmatch(name), name
        assert all(name == "CONTAINER" or name.startswith("VTAPD_") for name, _ in fields[3:])

    @given(st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.binary(), st.lists, max_leaves=5)))
    def test_any_value_can_be_formatted(self, event: dict[str, object]) -> None:
        assert len(parse_entry(format_entry(event))) == 3 + len(event.keys() - {"level"})


class TestLine:
    def test_line_starts_with_the_priority(self) -> None:
        assert format_line({"event": "x", "container": "web", "level": "error"}) == b"<3>x container=web\n"

    def test_traceback_stays_on_the_line(self) -> None:
        line = format_line({"event": "x", "exception": "Traceback\n<0>forged", "level": "error"})
        assert line == b"<3>x Traceback <0>forged\n"

    @given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=()), max_size=3000)))
    def test_every_event_becomes_one_line(self, event: dict[str, str]) -> None:
        line = format_line(event)
        assert line.startswith(b"<6>") or "level" in event
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert len(line) <= 2001
        assert line[:-1].decode().isprintable()
