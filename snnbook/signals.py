"""Handlers of SIGTERM and Ctrl-C: during training they wait until the step is saved, otherwise they act at once."""

import atexit
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a process that a signal stopped: 128 + its number."""

NOTHING_YET = "stopped before there was anything to save; the same command begins again"


class Stopped(KeyboardInterrupt):
    """Raised when a signal stopped work and everything is saved. Callers that do not handle it stop as on Ctrl-C.

    Args:
        message: what was saved, and how to go on
        number: of the signal
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number

    @classmethod
    def from_interrupt(cls, stop: KeyboardInterrupt, message: str) -> "Stopped":
        """Return the same stop with another message."""
        return cls(message, getattr(stop, "number", signal.SIGINT))

    @property
    def by_sigterm(self) -> bool:
        """Whether the signal was SIGTERM. Schedulers stop jobs by it, so it is no failure."""
        return self.number == signal.SIGTERM


class Request:
    """A signal handler that notes the first signal.

    Args:
        patient: see `defer_signals`
    Attributes:
        number: of the signal; 0 as long as there is none
        urgent: whether Ctrl-C came after it
    """

    def __init__(self, patient: bool = False) -> None:
        self.number = 0
        self.urgent = False
        self._patient = patient

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.number == number == signal.SIGINT and not self._patient:
            raise KeyboardInterrupt
        if self.number == 0:
            self.number = number
        elif number == signal.SIGINT:
            self.urgent = True


@contextlib.contextmanager
def defer_signals(patient: bool = False) -> Iterator[Request]:
    """Note SIGNALS and do not act on them. A second Ctrl-C raises KeyboardInterrupt at once.

    Only a program's main thread can do this. In other threads signals do what they did.

    Args:
        patient: let a second Ctrl-C raise nothing either, since a launcher passes each one on once more. And if
            something fails, keep the handler, so that the launcher's SIGTERM does not cut the error message short
    """
    request = Request(patient)
    if not _in_main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield request
    except BaseException:
        if patient:
            before.clear()
        raise
    finally:
        _set_handlers(before)


@contextlib.contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Raise Stopped on SIGTERM, as Ctrl-C raises KeyboardInterrupt. A second SIGTERM is ignored.

    Run work in it that is worthless when interrupted. Put what must finish inside `defer_signals`.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped(NOTHING_YET, number)

    if not _in_main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def exit_on_signals(saves: bool) -> Iterator[Mapping[int, int]]:
    """End the process on a signal, at once and without a traceback, whatever is being imported.

    Args:
        saves: whether the command is one for which SIGTERM is no failure
    Returns:
        the exit code for each signal
    """
    codes = {signal.SIGTERM: TERMINATED, signal.SIGINT: INTERRUPTED}
    if saves:
        codes[signal.SIGTERM] = 0
    if not _in_main_thread():
        yield codes
        return

    def leave(number: int, frame: FrameType | None) -> None:
        if os.environ.get("RANK", "0") == "0":
            message = "stopped"
            if saves and number == signal.SIGTERM:
                message = NOTHING_YET
            with contextlib.suppress(OSError):
                os.write(2, f"snnbook: {message}\n".encode())
        os._exit(codes[number])

    before = _handle({number: leave for number in SIGNALS})
    # An exception that a signal raises while Python ends would be printed.
    atexit.unregister(_ignore)
    atexit.register(_ignore)
    try:
        yield codes
    finally:
        _set_handlers(before)


@contextlib.contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C and Stopped on SIGTERM. A second Ctrl-C ends the process at once.

    When one of them ends the block, signals are ignored from then on: only the message is left to print.
    """
    if not _in_main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, lambda number, frame: os._exit(INTERRUPTED))
        raise KeyboardInterrupt

    before = _handle({signal.SIGINT: interrupt})
    stopped = False
    try:
        with contextlib.ExitStack() as stack:
            if not _has_several_processes():
                stack.enter_context(raise_on_sigterm())
            yield
    except KeyboardInterrupt:
        stopped = True
        raise
    finally:
        if stopped:
            _ignore()
        else:
            _set_handlers(before)


def _in_main_thread() -> bool:
    """Whether this is the thread that alone may set handlers."""
    return threading.current_thread() is threading.main_thread()


def _has_several_processes() -> bool:
    """Whether a launcher started several processes. Such a process ends at once, since the others wait for it."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def _handle(handlers: Mapping[int, Callable]) -> dict[int, Any]:
    """Set handlers, except for a signal that this process was started to ignore, as by nohup; return those before."""
    before = {}
    for number, handler in handlers.items():
        found = signal.getsignal(number)
        if found is not signal.SIG_IGN and not (number == signal.SIGTERM and _has_several_processes()):
            before[number] = found
            signal.signal(number, handler)
    return before


def _set_handlers(handlers: Mapping[int, Any]) -> None:
    """Set a handler for each signal."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _ignore() -> None:
    """Ignore SIGNALS from here on."""
    _set_handlers(dict.fromkeys(SIGNALS, signal.SIG_IGN))
