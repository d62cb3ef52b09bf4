"""Being asked to stop: SIGTERM and Ctrl-C wait until the step is done and saved; without a step they act at once."""

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
"""Exit codes of what a signal stopped: 128 + its number."""

NOTHING_YET = "stopped before there was anything to save; the same command begins again"


class Stopped(KeyboardInterrupt):
    """Work stopped as it was asked to, with everything saved. Who does not know it, stops as on Ctrl-C.

    Args:
        message: what was saved, and how to go on
        number: of the signal
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number

    @classmethod
    def by(cls, stop: KeyboardInterrupt, message: str) -> "Stopped":
        """The same stop in other words."""
        return cls(message, getattr(stop, "number", signal.SIGINT))

    @property
    def asked(self) -> bool:
        """Whether it was by SIGTERM, as schedulers stop a job, which is no failure."""
        return self.number == signal.SIGTERM


class Request:
    """The signal that asks to stop.

    Attributes:
        number: of the signal; 0 as long as there is none
        urgent: whether Ctrl-C came after it
    """

    def __init__(self, patient: bool = False) -> None:
        self.number, self.urgent, self._patient = 0, False, patient

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.number == number == signal.SIGINT and not self._patient:
            raise KeyboardInterrupt
        self.urgent = self.urgent or (self.number > 0 and number == signal.SIGINT)
        self.number = self.number or number


@contextlib.contextmanager
def defer_signals(patient: bool = False) -> Iterator[Request]:
    """Within, SIGNALS are noted, not acted on; a second Ctrl-C breaks off at once.

    Only a program's main thread can do this; elsewhere signals do what they did.

    Args:
        patient: let no second Ctrl-C break off either: a launcher passes each one on, once more. And if something
            fails, leave signals noted: the launcher's SIGTERM must not cut short what is said about it
    """
    request = Request(patient)
    if threading.current_thread() is not threading.main_thread():
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
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Within, SIGTERM raises Stopped at once, as Ctrl-C raises KeyboardInterrupt; a second one changes nothing.

    Run work in it that is worthless when interrupted. Put what must finish inside `defer_signals`.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped(NOTHING_YET, number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def leaving(saves: bool) -> Iterator[Mapping[int, int]]:
    """Within, signals end the process at once, without a traceback, whatever is being imported.

    Args:
        saves: whether the command is one for which SIGTERM is no failure
    Returns:
        the exit code for each signal
    """
    codes = {signal.SIGTERM: 0 if saves else TERMINATED, signal.SIGINT: INTERRUPTED}
    if threading.current_thread() is not threading.main_thread():
        yield codes
        return

    def leave(number: int, frame: FrameType | None) -> None:
        if os.environ.get("RANK", "0") == "0":
            words = NOTHING_YET if saves and number == signal.SIGTERM else "stopped"
            with contextlib.suppress(OSError):
                os.write(2, f"snnbook: {words}\n".encode())
        os._exit(codes[number])

    before = _handle({number: leave for number in SIGNALS})
    atexit.unregister(_ignore)
    atexit.register(_ignore)  # what a signal raises while Python ends would be printed
    try:
        yield codes
    finally:
        _put_back(before)


@contextlib.contextmanager
def acting() -> Iterator[None]:
    """Within, Ctrl-C raises KeyboardInterrupt and SIGTERM Stopped; Ctrl-C once more ends the process at once.

    After either, signals are ignored: there is nothing left to do but to say so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, lambda number, frame: os._exit(INTERRUPTED))
        raise KeyboardInterrupt

    before = _handle({signal.SIGINT: interrupt})
    stopped = False
    try:
        with contextlib.nullcontext() if _several() else raise_on_sigterm():
            yield
    except KeyboardInterrupt:
        stopped = True
        raise
    finally:
        if stopped:
            _ignore()
        else:
            _put_back(before)


def _several() -> bool:
    """Whether a launcher started several processes: one that waits for others is better ended at once."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def _handle(handlers: Mapping[int, Callable]) -> dict[int, Any]:
    """Set handlers, but none for a signal that this process was started to ignore, as by nohup; those before."""
    before = {}
    for number, handler in handlers.items():
        found = signal.getsignal(number)
        if found is not signal.SIG_IGN and not (number == signal.SIGTERM and _several()):
            before[number] = found
            signal.signal(number, handler)
    return before


def _put_back(handlers: Mapping[int, Any]) -> None:
    """Set handlers."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _ignore() -> None:
    """Ignore SIGNALS from here on."""
    _put_back(dict.fromkeys(SIGNALS, signal.SIG_IGN))
