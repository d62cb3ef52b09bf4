"""Folders for the kernels that a build, nbval or a refresh of the notebooks starts.

Kernels inherit the environment. So the process that starts them sees to it that Jupyter, IPython and matplotlib have
folders that can be written to, also where the home folder cannot be (containers, clusters, continuous integration).
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from .matplotlib_quietly import import_matplotlib


def prepare() -> None:
    """Point the environment to folders that can be written to, where those in use cannot be.

    Raises:
        UserError: if there is no such folder
    """
    for variable, default in FOLDERS.items():
        if not writable(default()):
            os.environ[variable] = temporary()
    import_matplotlib()


def _runtime() -> str:
    from jupyter_core.paths import jupyter_runtime_dir

    return jupyter_runtime_dir()


def _ipython() -> str:
    return os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")


FOLDERS: dict[str, Callable[[], str]] = {"JUPYTER_RUNTIME_DIR": _runtime, "IPYTHONDIR": _ipython}
"""Environment variables that name a folder, and the folder in use. Matplotlib sets its own variable."""


def writable(folder: str) -> bool:
    """Whether files can be written into a folder, which is made if it is not there."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def temporary() -> str:
    """A new folder that goes away with this process.

    Raises:
        UserError: if none can be made
    """
    try:
        folder = tempfile.mkdtemp(prefix="snnbook-")
    except OSError as error:
        raise UserError(f"no folder for temporary files can be written to ({error}): set TMPDIR to one") from None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
