"""Download files in bounded time and memory, with one phrase for whatever a server does wrong."""

import contextlib
import queue
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

PATIENCE = 3
"""A server may take this many timeouts for its headers, redirects included, and for each piece of the file."""

PIECE = 2**15
"""Bytes of a piece."""

WAITING = 8
"""Most pieces in the queue, to be written."""

REDIRECTS = 10
"""Most redirects that are followed."""

REDIRECTED = (301, 302, 303, 307, 308)
"""HTTP status codes of redirects."""


class Failed(Exception):
    """A server did not deliver a file. The text is a phrase that says why."""


class _Abandoned(Exception):
    """The download was abandoned."""


def pieces(url: str, most: int, timeout: float) -> Iterator[int | bytes | None]:
    """Download a file, piece by piece.

    A thread does the work, because the libraries' timeouts do not cover everything that a server can delay, such as
    headers that arrive byte by byte.

    Args:
        url: the file's address
        most: its largest size in bytes
        timeout: longest wait for a byte, seconds
    Yields:
        first the number of bytes that the server announces (None if it announces none), then the bytes
    Raises:
        Failed: if the server does anything but deliver such a file
    """
    # Where requests is not installed, the error is raised here and not on the thread.
    import requests  # noqa: F401

    arrived: queue.Queue = queue.Queue(WAITING)
    abandoned = threading.Event()
    threading.Thread(target=_work, args=(url, most, timeout, arrived, abandoned), daemon=True).start()
    try:
        while True:
            try:
                kind, item = arrived.get(timeout=PATIENCE * timeout)
            except queue.Empty:
                raise Failed(f"too slow: fewer than {PIECE:,} bytes in {PATIENCE * timeout:g} seconds") from None
            if kind == "failed":
                raise Failed(item)
            if kind == "end":
                return
            yield item
    finally:
        abandoned.set()


def _work(url: str, most: int, timeout: float, arrived: queue.Queue, abandoned: threading.Event) -> None:
    """Put pairs into the queue: ("piece", ...) for each value of `_answer`, then ("end", None) or ("failed", why)."""

    def put(kind: str, item: Any = None) -> None:
        """Wait for room in the queue, unless the download is abandoned."""
        while not abandoned.is_set():
            with contextlib.suppress(queue.Full):
                arrived.put((kind, item), timeout=1)
                return
        raise _Abandoned

    with contextlib.suppress(_Abandoned):
        try:
            for piece in _answer(url, most, timeout):
                put("piece", piece)
            put("end")
        except (_Abandoned, Failed) as end:
            put("failed", str(end))
        # requests, urllib3, http.client, ssl and idna raise many kinds of errors when servers misbehave, ValueError and
        # UnicodeError among them. Each is a failure of this server, and is reported as one.
        except Exception as error:
            put("failed", type(error).__name__)


def _answer(url: str, most: int, timeout: float) -> Iterator[int | bytes | None]:
    """Yield the values of `pieces`, on the thread."""
    import requests

    with requests.Session() as session:
        # Redirects are followed here, because requests would read a redirect's body whole, however large.
        session.get_redirect_target = lambda answer: None
        for _ in range(REDIRECTS + 1):
            # Content that is packed for transport could unpack to any size.
            headers = {"Accept-Encoding": "identity"}
            with session.get(url, stream=True, timeout=timeout, headers=headers) as answer:
                if answer.status_code not in REDIRECTED:
                    yield from _body(answer, most)
                    return
                url = _redirected(url, answer.headers.get("Location"))
    raise Failed(f"redirected more than {REDIRECTS} times")


def _redirected(url: str, location: str | None) -> str:
    """Return the address of a redirect's target."""
    try:
        # Headers arrive decoded as Latin-1; addresses are UTF-8.
        found = urljoin(url, (location or "").encode("latin-1").decode())
    except ValueError as error:
        raise Failed("redirects to no address") from error
    if not location or not found.startswith(("http://", "https://")):
        raise Failed("redirects to no address of the web")
    return found


def _body(answer: Any, most: int) -> Iterator[int | bytes | None]:
    """Yield the announced size and the content of an answer that is no redirect."""
    if answer.status_code != 200:
        raise Failed(f"HTTP status {answer.status_code}")
    header = answer.headers.get("Content-Length")
    if header is not None and not re.fullmatch("[0-9]{1,18}", header):
        raise Failed(f"its Content-Length is {header[:40]!a}, no number")
    announced = None
    if header is not None:
        announced = int(header)
        if announced > most:
            raise Failed(f"announces {announced:,} bytes, more than the file can have")
    yield announced
    total = 0
    while piece := answer.raw.read(PIECE, decode_content=False):
        total += len(piece)
        if total > most:
            raise Failed(f"sends more than {most:,} bytes, more than the file can have")
        yield piece
    if announced not in (None, total):
        raise Failed(f"sends {total:,} of {announced:,} bytes")
