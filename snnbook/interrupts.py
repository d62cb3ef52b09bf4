"""Being asked to stop: SIGTERM and Ctrl-C wait until the step is done and saved; without a step they act at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
    """

    def __init__(self, patient: bool = False) -> None:
        self.number, self._patient = 0, patient

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.number == number == signal.SIGINT and not self._patient:
            raise KeyboardInterrupt
        self.number = self.number or number


@contextlib.contextmanager
def held(patient: bool = False) -> Iterator[Request]:
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
def raised() -> Iterator[None]:
    """Within, SIGTERM raises Stopped at once, as Ctrl-C raises KeyboardInterrupt; a second one changes nothing.

    For work that is none if it is broken off; what is to be finished first goes into `held`, within.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped("stopped before there was anything to save; the same command begins again", number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
