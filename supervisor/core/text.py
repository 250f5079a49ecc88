"""Text from outside as it may be shown: nothing in it can steer a terminal or look like another line."""


def escape_controls(text: str) -> str:
    """What is not printable, by its number: a line break becomes `\\n`, an escape `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
