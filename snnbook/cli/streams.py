"""Keep a run going when a standard stream is closed, full, or left by its reader."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Open all three standard streams, and let standard error drop lines that cannot be written.

    The system would give a closed descriptor to the next file that is opened, and a checkpoint would then receive the
    messages that libraries write to standard error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The system assigns the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    before = sys.stderr
    sys.stderr = Lossy(before)
    try:
        yield
    finally:
        sys.stderr = before


@contextlib.contextmanager
def lossy_output() -> Iterator[None]:
    """Let standard output drop lines that cannot be written, during work whose results go into files."""
    before = sys.stdout
    sys.stdout = Lossy(before)
    try:
        yield
    finally:
        # The stream may have been closed in the meantime.
        with contextlib.suppress(ValueError):
            sys.stdout.flush()
        sys.stdout = before


class Lossy:
    """A text stream that drops text that cannot be written, and all text after it.

    Args:
        stream: to write to
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        try:
            return self._stream.write(text)
        except OSError:
            drop(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop its text."""
        try:
            self._stream.flush()
        except OSError:
            drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def drop(stream: Any) -> None:
    """Redirect a stream to the null device.

    This includes the text in its buffer, which Python would try to write again when it exits.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
