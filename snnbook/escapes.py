"""Text from other people's files, made harmless before it is printed."""


def visible(text: str) -> str:
    """Show characters that act instead of being seen as escapes such as \\x1b, \\n or \\u202e.

    These are control characters and line breaks, which move a terminal's cursor, colour it or rename its window, marks
    that turn the direction of writing, and characters without a width. Letters of all scripts stay as they are.

    Args:
        text: from a record, a run's folder or the name of a file
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def one_line(text: str) -> str:
    """The text as `visible` shows it, on one line: line breaks become spaces, spaces within a line stay as they are."""
    return visible(" ".join(line for line in map(str.strip, text.splitlines()) if line))
