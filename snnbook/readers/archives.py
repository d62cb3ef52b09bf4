"""What the readers of archives have in common."""

from pathlib import Path

from ..errors import UserError

AGAIN = "Delete it and get it again"


def check_start(path: Path, magic: bytes, kind: str) -> None:
    """Whether a file starts as its kind does.

    Args:
        path: the file
        magic: its first bytes
        kind: of file, as people write it
    Raises:
        UserError: if it starts otherwise, has not so many bytes, or cannot be read
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(magic))
    except OSError as error:
        raise unreadable(path, error) from error
    if len(start) < len(magic):
        raise UserError(f"{path} is cut short: it holds {len(start)} byte(s). {AGAIN}")
    if start != magic:
        raise UserError(f"{path} is not a {kind}: it starts with bytes {start.hex(' ')}, not {magic.hex(' ')}. {AGAIN}")


def unreadable(path: Path, error: OSError) -> UserError:
    """The error for a file that the system does not give out."""
    return UserError(f"{path} cannot be read: {error.strerror or error}. Check it and its permissions")
