"""Run folders: made for one run, never written over, and written to by one process at a time."""

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
except ImportError:  # not on Windows: there nobody keeps a second process out
    fcntl = None

RUNS = Path("runs")
"""Where run folders go unless another place is named."""

LOCK = ".lock"
"""The file that a process holds locked while it writes to the folder. The lock ends when the process ends, however."""


class InUse(UserError):
    """Another process works in the folder.

    Args:
        folder: that both want
        owner: the other one, in words
    """

    def __init__(self, folder: Path, owner: str) -> None:
        super().__init__(f"{folder} is in use by {owner}; wait until it ends, or name another folder")
        self.owner = owner


BORN_WITH = (records.PROVENANCE, records.SETTINGS)
"""The files that a run begins with, in this order."""

AT_BIRTH = {LOCK, records.PROVENANCE}
"""What a run that was killed before it had begun may leave, beside part files of BORN_WITH: nothing worth keeping."""

WRITTEN = (*BORN_WITH, records.EPOCHS, checkpoints.LAST, checkpoints.BEST)
"""The files of a run."""

TENSORBOARD = "tensorboard"
"""Where in a run's folder TensorBoard's files go."""

OWN = (*WRITTEN, LOCK, TENSORBOARD)
"""Names in a run's folder under which a run writes."""

PATIENCE = 2.0
"""Seconds that a lock is waited for: where a process was killed, one that it was just starting may live on a moment."""

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems without locks answer."""


def refuse_full(folder: Path) -> None:
    """Nothing that is there is written over.

    Raises:
        UserError: if the folder holds a run, or anything else
    """
    if (folder / records.SETTINGS).exists():
        there = visible(shlex.quote(str(folder)))
        raise UserError(f"{folder} holds a run already: go on with it by --resume {there}, or name another folder")
    if folder.exists() and not (folder.is_dir() and all(map(_of_birth, folder.iterdir()))):
        raise UserError(f"{folder} is there already and is not an empty folder; name another one")


def _of_birth(path: Path) -> bool:
    """Whether a run that was killed before it had begun may have left this."""
    return path.name in AT_BIRTH or files.part_of(path.name) in BORN_WITH


def go_on(folder: Path) -> str:
    """What to tell who wants to go on with a run."""
    return f"Go on with: snnbook train --resume {visible(shlex.quote(str(folder)))}"


def prepare(folder: Path) -> None:
    """Make a run's folder, held locked, ready to be written to: what a killed run left half-written is removed.

    Raises:
        UserError: if something of the run is a symbolic link: what is written would change a file somewhere else
    """
    for name in OWN:
        if (folder / name).is_symlink():
            raise UserError(f"{folder / name} is a symbolic link, through which no run writes; remove the link")
    files.sweep(folder, WRITTEN.__contains__)


def make(out: str | Path | None, experiment: Experiment) -> Path:
    """Make a run's folder; unless one is named, the first free of <experiment>-<loss>-seed<seed>, ...-2, ...

    Raises:
        UserError: if it cannot be made
    """
    name = f"{experiment.name}-{experiment.loss}-seed{experiment.seed}"
    number = 1
    while True:
        folder = Path(out) if out is not None else RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
        except OSError as error:
            if isinstance(error, FileExistsError) and out is None and folder.exists():
                number += 1
                continue
            raise UserError(f"cannot make the folder {folder}: {error.strerror}; name another one by --out") from error
        else:
            return folder


class Lock:
    """A lock that is held on a folder.

    Args:
        folder: that is held
        path: of the lock file
        file: open and locked
    """

    def __init__(self, folder: Path, path: Path, file: BinaryIO) -> None:
        self._folder, self._path = folder, path
        self._held = _identity(os.fstat(file.fileno()))
        self._place = _identity(folder.stat())

    @property
    def mine(self) -> bool:
        """Whether the lock file is still the one that is held."""
        try:
            return _identity(self._path.lstat()) == self._held
        except OSError:
            return False

    def check(self) -> None:
        """See, before something is written, that folder and lock file are still those that are held.

        Raises:
            UserError: if one of them was removed or replaced: another process may hold the folder by now
        """
        try:
            here = _identity(self._folder.stat()) == self._place
        except OSError:
            here = False
        if not (here and self.mine):
            what = self._path.name if here else "the folder"
            raise UserError(
                f"{self._folder} is no longer held: {what} was removed or replaced by somebody. Nothing more is written"
            )


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def locked(folder: Path, name: str = LOCK, patience: float = PATIENCE) -> Iterator[Lock]:
    """Within, no other process gets into the folder by this door.

    Args:
        folder: that is there
        name: of the file that is the door
        patience: seconds that another one is waited for
    Raises:
        InUse: if another one is in it
        UserError: if the folder cannot be written to, or the door is no file of its own
    """
    path = folder / name
    with contextlib.ExitStack() as held:
        while True:
            try:
                file = held.enter_context(files.open_to_add(path, buffering=0))
                _lock(file, folder, patience)
                lock = Lock(folder, path, file)
            except OSError as error:
                raise UserError(f"cannot write into {folder}: {error.strerror}. Nothing is lost") from error
            if lock.mine:
                break  # else its last owner has just taken it away
        if os.fstat(file.fileno()).st_nlink > 1:
            raise UserError(f"{path} is a second name of another file; remove it")
        with contextlib.suppress(OSError):  # on a full disk the other's complaint lacks the name, and that is all
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
        try:
            yield lock
        finally:
            if lock.mine:
                with contextlib.suppress(OSError):  # one that stays behind is in nobody's way
                    path.unlink()


def _lock(file: BinaryIO, folder: Path, patience: float) -> None:
    if fcntl is None:
        return
    end = time.monotonic() + patience
    try:
        while not _free(file):
            if time.monotonic() > end:
                file.seek(0)
                owner = visible(file.read(200).decode(errors="replace")) or "another process"
                raise InUse(folder, owner)
            time.sleep(PATIENCE / 20)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        warnings.warn(f"the file system of {folder} has no locks: let no second process train there", stacklevel=3)


def _free(file: BinaryIO) -> bool:
    """Take the lock if nobody has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
