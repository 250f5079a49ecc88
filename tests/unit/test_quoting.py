"""A command reaches the guest's program word by word: each kind's own rules of splitting, from its source."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.kinds import KINDS, quoting
from supervisor.core.kinds.kind import GuestKind

WORDS = st.lists(st.text(st.sampled_from("ab-=\"'\\ \t$;&!,[]ä"), max_size=6), min_size=1, max_size=4)


def split_as_rumprun(line: str) -> list[str]:
    """lib/librumprun_base/parseargs.c"""
    words: list[str] = []
    quote: str | None = None  # None: outside of a word; "": in a word, not in quotes
    position = 0
    while position < len(line):
        char = taken = line[position]
        position += 1
        if char == "\\":
            taken = line[position : position + 1]
            position += 1
        if char in " \n\t":
            if quote == "":
                quote = None
            if quote is None:
                continue
        if quote is None:
            words.append("")
            quote = ""
        if quote and char == quote:
            quote = ""
        elif char in "'\"":
            quote = char
        else:
            words[-1] += taken
    return words


def split_as_mirage(line: str) -> list[str]:
    """parse-argv: src/parse_argv.ml"""
    words: list[str] = []
    word, quoted, escaped = "", False, False
    for char in line:
        if escaped:
            word, escaped = word + char, False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == " " and not quoted:
            words, word = [*words, word], ""
        else:
            word += char
    assert not quoted
    assert not escaped
    return [each for each in [*words, word] if each]


def split_as_unikraft(line: str) -> list[str]:
    """lib/ukargparse/argparse.c: in double quotes a backslash quotes a backslash and a double quote."""
    words: list[str] = []
    quote, escaped, between = "", False, True
    for char in line:
        if char.isspace() and not quote and not escaped:
            between = True
            continue
        if char in "'\"" and not (escaped and (not quote or char == '"')):
            if not quote:
                quote = char
                continue
            if quote == char:
                quote = ""
                continue
        if char in "'\"" and escaped and quote and char == '"':
            words[-1] = words[-1][:-1]
            escaped = False
        if between:
            words.append("")
            between = escaped = False
        if char == "\\" and quote != "'":
            if escaped:
                escaped = False
                continue
            escaped = True
        elif escaped:
            if not quote:
                words[-1] = words[-1][:-1]
            escaped = False
        words[-1] += char
    return words


def split_as_osv(line: str) -> list[str]:
    """core/commands.cc: words that `;`, `&` or `!` would end are quoted, and `$` names a variable everywhere."""
    words: list[str] = []
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        quoted = line[position] == '"'
        position += quoted
        word = ""
        while position < len(line) and line[position] not in ('"' if quoted else " ;&!"):
            if line[position] == "\\" and line[position + 1 : position + 2] in ("\\", "'", '"'):
                position += 1
            word += line[position]
            position += 1
        assert quoted or position == len(line) or line[position] == " ", "another program would begin here"
        assert "$" not in word
        position += quoted
        words.append(word)
    return words


def split_as_linux(line: str) -> list[str]:
    """lib/cmdline.c: next_arg"""
    words: list[str] = []
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        quoted = in_quote = line[position] == '"'
        position += quoted
        start = position
        while position < len(line) and (in_quote or not line[position].isspace()):
            if line[position] == '"':
                in_quote = not in_quote
            position += 1
        word = line[start:position]
        words.append(word.removesuffix('"') if quoted else word)
    return words


def split_at_blanks(line: str) -> list[str]:
    return line.split()


@pytest.mark.parametrize(
    ("write", "split"),
    [
        (quoting.bare, split_at_blanks),
        (quoting.in_single_quotes, split_as_rumprun),
        (quoting.in_single_quotes, split_as_unikraft),
        (quoting.in_double_quotes, split_as_unikraft),
        (quoting.in_double_quotes, split_as_mirage),
        (quoting.for_osv, split_as_osv),
        (quoting.for_linux, split_as_linux),
        (shlex.join, shlex.split),
    ],
)
@given(words=WORDS)
def test_words_arrive_as_they_are_or_are_refused(
    write: Callable[[Sequence[str]], str], split: Callable[[str], list[str]], words: list[str]
) -> None:
    with suppress(ValueError):
        assert split(write(words)) == words


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.name != "nanos"], ids=lambda kind: kind.name)
def test_plain_words_need_no_quotes(kind: GuestKind) -> None:
    words = kind.format_words(["--port", "9090"])
    assert words.removeprefix("guest ") == "--port 9090"


@pytest.mark.parametrize("name", ["rumprun", "unikraft", "osv", "linux", "mirage", "hermit"])
def test_blanks_are_quoted(name: str) -> None:
    assert shlex.split(KINDS[name].format_words(["say", "two words"]))[-2:] == ["say", "two words"]


@pytest.mark.parametrize(
    ("name", "word"), [("rumprun", 'a"b'), ("osv", "$HOME"), ("linux", 'a"b'), ("raw", "two words"), ("nanos", "a")]
)
def test_word_that_a_kind_would_change_is_refused(name: str, word: str) -> None:
    with pytest.raises(ValueError, match="words"):
        KINDS[name].format_words([word])
