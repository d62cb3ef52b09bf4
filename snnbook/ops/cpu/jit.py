"""Compiling the CPU engine's passes, and keeping what was compiled in files that may be lost at any time.

Numba takes seconds for each pass, and keeps the result in a cache: in the folder that NUMBA_CACHE_DIR names, beside
the sources, or in the user's cache folder. Here it gets one more folder, for installations that nobody can write to.
Every file ends in its checksum, so that a damaged one is compiled anew, and where no file can be written, the passes
are compiled at every start. Numba looks at a function's own file for changes; here all files of the engine count.
"""

import functools
import hashlib
import os
import pickle
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from ..engines import warn

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set, and this engine is made of compiled functions")

_warned = False
"""Whether this process has said that nothing is kept."""


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """As `numba.njit(**options)` with NumPy's rules for division, and with a cache that cannot fail."""
    # A function that says nothing of fast mathematics takes it over from the one that compiles it first, so that its
    # last digits would depend on what a process ran before.
    options = {"error_model": "numpy", "fastmath": False} | options

    def made(function: Callable) -> Any:
        dispatcher = numba.njit(**options)(function)
        cache = _cache(function)
        if cache is not None:
            dispatcher._cache = cache  # what `cache=True` sets, too
        return dispatcher

    return made


def _cache(function: Callable) -> "_Cache | None":
    """The cache of a function; None where there is no folder for it."""
    for place in (nullcontext, _temporary_folder):
        with place(), suppress(RuntimeError):  # Numba finds no folder that it can write to
            return _Cache(function)
    _warn_without_cache("there is no folder that can be written to")
    return None


class _Files(IndexDataCacheFile):
    """A function's files, each with a checksum at its end, which Numba does not read."""

    def _dump(self, content: Any) -> bytes:
        dumped = super()._dump(content)
        return dumped + hashlib.sha256(dumped).digest()

    def _load_index(self) -> dict:
        whole = _whole(Path(self._index_path), pickle.dumps(self._version, protocol=-1))
        return super()._load_index() if whole else {}

    def _load_data(self, name: str) -> Any:
        if not _whole(Path(self._data_path(name)), b""):
            raise OSError("damaged")  # Numba takes this for a file that is gone
        return super()._load_data(name)


class _Cache(FunctionCache):
    """A cache without which everything goes on."""

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, _sources())

    def load_overload(self, signature: Any, context: Any) -> Any:
        """What was compiled for a signature; None where no file has it, or none that can be read."""
        try:
            return super().load_overload(signature, context)
        except OSError:
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled, if there is room for it."""
        try:
            super().save_overload(signature, result)
        except OSError as error:
            _warn_without_cache(f"{self.cache_path}: {error.strerror}")


def _whole(path: Path, start: bytes) -> bool:
    """Whether a file begins so and ends in the checksum of what lies in between; False where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    size = hashlib.sha256().digest_size
    return content.startswith(start) and hashlib.sha256(content[len(start) : -size]).digest() == content[-size:]


@functools.cache
def _sources() -> bytes:
    """A digest of all files of this engine: compiled functions contain others, from any of them."""
    found = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).digest()


@contextmanager
def _temporary_folder() -> Iterator[None]:
    """Within, Numba's cache is in a folder of this user's in the temporary one, if that can be trusted.

    What is loaded from a cache is run, so nobody else may write there.
    """
    before = numba.config.CACHE_DIR
    with suppress(OSError, AttributeError):  # no temporary folder; no numbers of users, on Windows
        folder = Path(tempfile.gettempdir(), f"snnbook-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            numba.config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _warn_without_cache(reason: str) -> None:
    """Warn, once in a process, of what a missing cache costs."""
    global _warned
    if not _warned:
        _warned = True
        warn(
            f"compiled functions of the CPU engine cannot be kept ({reason}): each start compiles them again, which "
            "takes a minute or more; let NUMBA_CACHE_DIR name a folder that has room"
        )
