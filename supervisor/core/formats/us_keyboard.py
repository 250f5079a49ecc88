"""Turn what is typed on a terminal into keys of a PC's keyboard, as QEMU names them, with the US layout.

A terminal sends characters, a guest gets keys: what they mean to it is decided by the layout that it has.
(qapi/ui.json: QKeyCode)
"""

from collections.abc import Iterator, Mapping, Sequence

Chord = tuple[str, ...]
"""Keys that are pressed one after the other, and released in the reverse order."""

_MODIFIERS = ("shift", "ctrl", "alt")
_NAMED = {
    " ": "spc", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right", ";": "semicolon",
    "'": "apostrophe", "`": "grave_accent", "\\": "backslash", ",": "comma", ".": "dot", "/": "slash",
}  # fmt: skip
_PLAIN = {char: char for char in "abcdefghijklmnopqrstuvwxyz0123456789"} | _NAMED
_SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./", strict=True))
_CONTROLS = {"\r": "ret", "\n": "ret", "\t": "tab", "\x7f": "backspace", "\x08": "backspace", "\x1b": "esc"}
_LETTERS = {
    "A": "up", "B": "down", "C": "right", "D": "left", "F": "end", "H": "home", "P": "f1", "Q": "f2", "R": "f3",
    "S": "f4",
}  # fmt: skip
_NUMBERS = {
    "1": "home", "2": "insert", "3": "delete", "4": "end", "5": "pgup", "6": "pgdn", "7": "home", "8": "end",
    "11": "f1", "12": "f2", "13": "f3", "14": "f4", "15": "f5", "17": "f6", "18": "f7", "19": "f8", "20": "f9",
    "21": "f10", "23": "f11", "24": "f12",
}  # fmt: skip
_LONGEST_CHORD = 4
_KEYS = {*_MODIFIERS, *_PLAIN.values(), *_CONTROLS.values(), *_LETTERS.values(), *_NUMBERS.values()}


def parse_typed(typed: str) -> Iterator[Chord]:
    """Yield the keys for what a terminal sent. Characters that the US layout does not have are left out.

    Escape and a character, sent together, are that character with Alt.
    """
    while typed:
        chord, length = _first_key(typed)
        if chord:
            yield chord
        typed = typed[length:]


def _first_key(typed: str) -> tuple[Chord, int]:
    """Return the first keys, and how many characters stand for them."""
    if typed[:2] in ("\x1b[", "\x1bO"):
        end = next((at for at in range(2, len(typed)) if typed[at] == "~" or typed[at].isalpha()), None)
        if end is None:
            return (), len(typed)
        return _sequence(typed[2:end], typed[end]), end + 1
    if typed[0] == "\x1b" and len(typed) > 1 and typed[1] != "\x1b":
        chord = _chord(typed[1])
        return (("alt", *chord) if chord else ()), 2
    return _chord(typed[0]), 1


def _sequence(parameters: str, final: str) -> Chord:
    """Return the keys for a sequence of xterm's, such as `1;5A`: Ctrl and the arrow up."""
    number, _, modifiers = parameters.partition(";")
    key = _NUMBERS.get(number) if final == "~" else "tab" if final == "Z" else _LETTERS.get(final)
    if key is None:
        return ()
    held = int(modifiers) - 1 if modifiers.isascii() and modifiers.isdecimal() else int(final == "Z")
    names = (name for bit, name in ((1, "shift"), (4, "ctrl"), (2, "alt")) if held & bit)
    return (*names, key)


def _chord(char: str) -> Chord:
    if char in _CONTROLS:
        return (_CONTROLS[char],)
    if char in _PLAIN:
        return (_PLAIN[char],)
    if char in _SHIFTED:
        return ("shift", _PLAIN[_SHIFTED[char]])
    if char.lower() in _PLAIN:
        return ("shift", char.lower())
    return _with_control(char)


def _with_control(char: str) -> Chord:
    """Return the keys for a control character: ASCII has it 64 below the character of its key."""
    if ord(char) >= 0x20:
        return ()
    base = "spc" if char == "\0" else _chord(chr(ord(char) + 0x40).lower())[-1]
    return ("ctrl", base)


def is_chord(value: object) -> bool:
    """Return whether a value from outside names keys that can be pressed together."""
    if not isinstance(value, list) or not 0 < len(value) <= _LONGEST_CHORD:
        return False
    return all(isinstance(each, str) and each in _KEYS for each in value)


def key_events(chord: Sequence[str]) -> Mapping[str, object]:
    """Return the arguments of QMP `input-send-event` that press and release these keys."""
    steps = [*((key, True) for key in chord), *((key, False) for key in reversed(chord))]
    return {"events": [_event(key, is_down=is_down) for key, is_down in steps]}


def _event(key: str, *, is_down: bool) -> Mapping[str, object]:
    return {"type": "key", "data": {"down": is_down, "key": {"type": "qcode", "data": key}}}
