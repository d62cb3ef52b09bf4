"""Standard streams that are closed, full or left by their reader: a run goes on without them."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Within, all three standard streams are open, and standard error takes every line without an error.

    A closed descriptor would be given to the next file that is opened, and a checkpoint would get the messages that
    libraries write to standard error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    before = sys.stderr
    sys.stderr = Lossy(before)
    try:
        yield
    finally:
        sys.stderr = before


@contextlib.contextmanager
def lossy_output() -> Iterator[None]:
    """Within, standard output takes every line without an error: for work whose results go into files."""
    before = sys.stdout
    sys.stdout = Lossy(before)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # closed meanwhile
            sys.stdout.flush()
        sys.stdout = before


class Lossy:
    """A text stream that drops what cannot be written, and everything after it.

    Args:
        stream: to write to
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except OSError:
            drop(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        try:
            self._stream.flush()
        except OSError:
            drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def drop(stream: Any) -> None:
    """Lead a stream nowhere from here on, with what it still holds, which Python would write once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
