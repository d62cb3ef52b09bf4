"""Run folders: created for one run, never overwritten, and written to by one process at a time."""

import contextlib
import errno
import os
import platform
import shlex
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .. import records
from ..errors import UserError, visible
from ..settings import Experiment
from . import checkpoints, files

try:
    import fcntl
except ImportError:
    # Windows has no such locks, so nothing prevents a second process there.
    fcntl = None

RUNS = Path("runs")
"""The default parent of run folders."""

LOCK = ".lock"
"""The lock file. A process locks it while it writes to the folder, and the system unlocks it when the process ends."""


class InUse(UserError):
    """Another process works in the folder.

    Args:
        folder: that both need
        owner: the other process, in words
    """

    def __init__(self, folder: Path, owner: str) -> None:
        super().__init__(f"{folder} is in use by {owner}; wait until it ends, or name another folder")
        self.owner = owner


FIRST_FILES = (records.PROVENANCE, records.SETTINGS)
"""The files that a run starts with, in this order."""

LEFTOVERS = {LOCK, records.PROVENANCE}
"""Files that a run may leave if it is killed before it has started, in addition to part files of FIRST_FILES. None is
worth keeping."""

WRITTEN = (*FIRST_FILES, records.EPOCHS, checkpoints.LAST, checkpoints.BEST)
"""The files of a run."""

TENSORBOARD = "tensorboard"
"""Folder of TensorBoard's files in a run's folder."""

OWN = (*WRITTEN, LOCK, TENSORBOARD)
"""Names in a run's folder under which a run writes."""

PATIENCE = 2.0
"""Timeout for a lock, in seconds. A process that a killed process was just starting may live on for a moment."""

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems without locks."""


def refuse_full(folder: Path) -> None:
    """Check that a new run would overwrite nothing.

    Raises:
        UserError: if the folder contains a run, or anything else
    """
    if (folder / records.SETTINGS).exists():
        raise UserError(f"{folder} holds a run already: go on with it by {_resume(folder)}, or name another folder")
    if folder.exists() and not (folder.is_dir() and all(map(_is_leftover, folder.iterdir()))):
        raise UserError(f"{folder} is there already and is not an empty folder; name another one")


def _is_leftover(path: Path) -> bool:
    """Check whether a run that was killed before it had started may have left this."""
    return path.name in LEFTOVERS or files.part_of(path.name) in FIRST_FILES


def _resume(folder: Path) -> str:
    """Return the options that resume a run."""
    return f"--resume {visible(shlex.quote(str(folder)))}"


def resume_hint(folder: Path) -> str:
    """Return a sentence with the command that resumes a run."""
    return f"Go on with: snnbook train {_resume(folder)}"


def prepare(folder: Path) -> None:
    """Remove the part files that a killed run left. The caller must hold the folder's lock.

    Raises:
        UserError: if a file of the run is a symbolic link, through which a file elsewhere would be changed
    """
    for name in OWN:
        if (folder / name).is_symlink():
            raise UserError(f"{folder / name} is a symbolic link, through which no run writes; remove the link")
    files.sweep(folder, WRITTEN.__contains__)


def create(out: str | Path | None, experiment: Experiment) -> Path:
    """Create a run's folder: `out`, or the first free name of <experiment>-<loss>-seed<seed>, ...-2, ...-3, ...

    Raises:
        UserError: if it cannot be created
    """
    name = f"{experiment.name}-{experiment.loss}-seed{experiment.seed}"
    folder = RUNS / name if out is None else Path(out)
    number = 1
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
            return folder
        except OSError as error:
            taken = isinstance(error, FileExistsError) and folder.exists()
            if out is not None or not taken:
                raise UserError(
                    f"cannot make the folder {folder}: {error.strerror}; name another one by --out"
                ) from error
        number += 1
        folder = RUNS / f"{name}-{number}"


class Lock:
    """A lock on a folder.

    Args:
        folder: that is locked
        path: of the lock file
        file: the lock file, open and locked
    """

    def __init__(self, folder: Path, path: Path, file: BinaryIO) -> None:
        self._folder = folder
        self._path = path
        self._folder_identity = _identity(folder.stat())
        self._file_identity = _identity(os.fstat(file.fileno()))

    @property
    def mine(self) -> bool:
        """Whether the lock file is still the one that this process locked."""
        try:
            return _identity(self._path.lstat()) == self._file_identity
        except OSError:
            return False

    def check(self) -> None:
        """Check, before a write, that nobody removed or replaced the folder or the lock file.

        Raises:
            UserError: if somebody did: another process may have locked the folder by now
        """
        try:
            here = _identity(self._folder.stat()) == self._folder_identity
        except OSError:
            here = False
        if not (here and self.mine):
            removed = self._path.name if here else "the folder"
            raise UserError(
                f"{self._folder} is no longer held: {removed} was removed or replaced by somebody. Nothing more is "
                "written"
            )


def _identity(found: os.stat_result) -> tuple[int, int]:
    """Return what identifies a file, whatever its name."""
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def locked(folder: Path, name: str = LOCK, patience: float = PATIENCE) -> Iterator[Lock]:
    """Hold an exclusive lock on a folder.

    Args:
        folder: an existing folder
        name: of the lock file
        patience: timeout, seconds
    Raises:
        InUse: if another process holds the lock
        UserError: if the folder cannot be written to, or the lock file is a link
    """
    path = folder / name
    with contextlib.ExitStack() as stack:
        while True:
            try:
                file = stack.enter_context(files.open_to_append(path, buffering=0))
                _acquire(file, folder, patience)
                lock = Lock(folder, path, file)
            except OSError as error:
                raise UserError(f"cannot write into {folder}: {error.strerror}. Nothing is lost") from error
            if lock.mine:
                break
            # Otherwise the last owner has just removed the file, and a new one is needed.
        if os.fstat(file.fileno()).st_nlink > 1:
            raise UserError(f"{path} is a second name of another file; remove it")
        # On a full disk, the other process's message lacks this name, which does no harm.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
        try:
            yield lock
        finally:
            if lock.mine:
                # A lock file that cannot be removed does no harm.
                with contextlib.suppress(OSError):
                    path.unlink()


def _acquire(file: BinaryIO, folder: Path, patience: float) -> None:
    """Wait for the lock, and take it."""
    if fcntl is None:
        return
    end = time.monotonic() + patience
    try:
        while not _take_free(file):
            if time.monotonic() > end:
                file.seek(0)
                owner = visible(file.read(200).decode(errors="replace")) or "another process"
                raise InUse(folder, owner)
            time.sleep(PATIENCE / 20)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        warnings.warn(f"the file system of {folder} has no locks: let no second process train there", stacklevel=3)


def _take_free(file: BinaryIO) -> bool:
    """Take the lock unless another process holds it; return whether it was free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
