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

from . import files, records
from .errors import UserError
from .settings import Experiment

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


AT_BIRTH = {LOCK, records.PROVENANCE, *(files.part(Path(name)).name for name in (records.PROVENANCE, records.SETTINGS))}
"""What a run that was killed before it had begun may leave: nothing worth keeping."""

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
        raise UserError(f"{folder} holds a run already: go on with it by --resume {folder}, or name another folder")
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= AT_BIRTH):
        raise UserError(f"{folder} is there already and is not an empty folder; name another one")


def go_on(folder: Path) -> str:
    """What to tell who wants to go on with a run."""
    return f"Go on with: snnbook train --resume {shlex.quote(str(folder))}"


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


@contextlib.contextmanager
def locked(folder: Path, name: str = LOCK, patience: float = PATIENCE) -> Iterator[None]:
    """Within, no other process gets into the folder by this door.

    Args:
        folder: that is there
        name: of the file that is the door
        patience: seconds that another one is waited for
    Raises:
        InUse: if another one is in it
        UserError: if the folder cannot be written to
    """
    path = folder / name
    with contextlib.ExitStack() as held:
        while True:
            try:
                file = held.enter_context(path.open("a+b", buffering=0))
            except OSError as error:
                raise UserError(f"cannot write into {folder}: {error.strerror}. Nothing is lost") from error
            _lock(file, folder, patience)
            if os.fstat(file.fileno()).st_nlink:
                break  # else its last owner has just taken it away
        with contextlib.suppress(OSError):  # on a full disk the other's complaint lacks the name, and that is all
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
        try:
            yield
        finally:
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
                owner = file.read(200).decode(errors="replace") or "another process"
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
