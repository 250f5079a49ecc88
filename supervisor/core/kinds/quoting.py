"""Write words as one command line, so that a guest splits it into the same words.

The container's command is a list, and a guest takes a text. Each kind splits it in its own way. Each function here
raises ValueError, which says what is allowed, for a word that the guest would split or change.
"""

import re
from collections.abc import Callable, Sequence

_BARE = r"[^\s\"'\\]+"


def bare(words: Sequence[str]) -> str:
    """For guests that split at blanks and know no quotes."""
    return _join(words, _BARE, _BARE, str, "words without blanks, quotes or backslashes")


def in_single_quotes(words: Sequence[str]) -> str:
    """For guests in whose quotes no character can be escaped: Rumprun (parseargs.c), whose JSON carries no backslash,
    and Unikraft before 0.13 (argparse.c).
    """
    return _join(words, _BARE, r"[^'\"\\]+", "'{}'".format, "words without quotes or backslashes, and not empty")


def in_double_quotes(words: Sequence[str]) -> str:
    """For guests in whose quotes a backslash escapes the next character: Unikraft (argparse.c), MirageOS
    (parse_argv.ml). Both drop an empty word.
    """
    return _join(words, _BARE, r"(?s).+", _escape, "words that are not empty")


def for_osv(words: Sequence[str]) -> str:
    """For OSv, which also splits programs at `;`, `&` and `!`, and replaces `$NAME` also in quotes (commands.cc)."""
    return _join(words, r"[^\s\"'\\;&!$]+", r"[^$]*", _escape, "words without dollar signs")


def for_linux(words: Sequence[str]) -> str:
    """For Linux, in whose quotes no character can be escaped (lib/cmdline.c: next_arg)."""
    return _join(words, r"[^\s\"]+", r"[^\"]+", '"{}"'.format, "words without double quotes, and not empty")


def none(words: Sequence[str]) -> str:
    """For guests whose arguments are part of their image."""
    return _join(words, r"(?!)", r"(?!)", str, "no words: the guest's arguments are part of its image")


def _join(words: Sequence[str], plain: str, allowed: str, quote: Callable[[str], str], rule: str) -> str:
    """Join words. One that is not `plain` is quoted, and must be `allowed`."""
    for word in words:
        if not re.fullmatch(allowed, word):
            raise ValueError(rule)
    return " ".join(word if re.fullmatch(plain, word) else quote(word) for word in words)


def _escape(word: str) -> str:
    text = re.sub(r"([\"\\])", r"\\\1", word)
    return f'"{text}"'
