"""Files from servers: bounded time and memory, and one phrase for whatever a server does wrong."""

import contextlib
import queue
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

PATIENCE = 3
"""A server may take so many times the timeout for its headers, redirects included, and for each piece of the file."""

PIECE = 2**15
"""Bytes of a piece."""

WAITING = 8
"""Most pieces that wait to be written."""

REDIRECTS = 10
"""Most redirects that are followed."""

REDIRECTED = (301, 302, 303, 307, 308)
"""HTTP status codes of redirects."""


class Failed(Exception):
    """A server did not deliver a file. The text is a phrase that says why."""


class _Abandoned(Exception):
    """Nobody waits for the file any more."""


def pieces(url: str, most: int, timeout: float) -> Iterator[int | bytes | None]:
    """Fetch a file, piece by piece.

    A thread of its own does the work. The libraries' time limits do not cover everything that a server can draw out,
    such as headers that come byte by byte.

    Args:
        url: its address
        most: bytes that it may have
        timeout: longest wait for a byte, seconds
    Yields:
        first the number of bytes that the server announces (None if it announces none), then the bytes
    Raises:
        Failed: if the server does anything but deliver such a file
    """
    import requests  # noqa: F401  an installation that lacks it fails here, not on the thread

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
    """Put pairs into the queue: ("piece", ...) for all that `pieces` yields, then ("end", None) or ("failed", why)."""

    def put(kind: str, item: Any = None) -> None:
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
        # UnicodeError among them. Each is a failure of this server, and is reported as one
        except Exception as error:
            put("failed", type(error).__name__)


def _answer(url: str, most: int, timeout: float) -> Iterator[int | bytes | None]:
    """As `pieces`, on the thread."""
    import requests

    with requests.Session() as session:
        # requests would read a redirect's body whole, however large, before it follows
        session.get_redirect_target = lambda answer: None
        for _ in range(REDIRECTS + 1):
            # content that is packed for transport could unpack to any size
            headers = {"Accept-Encoding": "identity"}
            with session.get(url, stream=True, timeout=timeout, headers=headers) as answer:
                if answer.status_code not in REDIRECTED:
                    yield from _body(answer, most)
                    return
                url = _redirected(url, answer.headers.get("Location"))
    raise Failed(f"redirected more than {REDIRECTS} times")


def _redirected(url: str, location: str | None) -> str:
    """The address that a redirect leads to."""
    try:
        # headers are decoded as Latin-1, whatever they are; addresses are UTF-8
        found = urljoin(url, (location or "").encode("latin-1").decode())
    except ValueError as error:
        raise Failed("redirects to no address") from error
    if not location or not found.startswith(("http://", "https://")):
        raise Failed("redirects to no address of the web")
    return found


def _body(answer: Any, most: int) -> Iterator[int | bytes | None]:
    if answer.status_code != 200:
        raise Failed(f"HTTP status {answer.status_code}")
    header = answer.headers.get("Content-Length")
    if header is not None and not re.fullmatch("[0-9]{1,18}", header):
        raise Failed(f"its Content-Length is {header[:40]!a}, no number")
    announced = None if header is None else int(header)
    if announced is not None and announced > most:
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
