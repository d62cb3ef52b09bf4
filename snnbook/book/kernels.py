"""Folders for the kernels that a build, nbval or a refresh of the notebooks starts.

In containers, on clusters and in continuous integration the home folder may be read-only. Kernels inherit the
environment, so the process that starts them sets folders there that Jupyter, IPython and matplotlib can write to.
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
    """Set the environment to writable folders, where those in use are read-only.

    Raises:
        UserError: if there is no such folder
    """
    for variable, default in FOLDERS.items():
        if not writable(default()):
            os.environ[variable] = temporary()
    import_matplotlib()


def _runtime() -> str:
    """Return the folder of Jupyter's connection files."""
    from jupyter_core.paths import jupyter_runtime_dir

    return jupyter_runtime_dir()


def _ipython() -> str:
    """Return IPython's folder."""
    return os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")


FOLDERS: dict[str, Callable[[], str]] = {"JUPYTER_RUNTIME_DIR": _runtime, "IPYTHONDIR": _ipython}
"""Environment variables that name a folder, and the folder in use. Matplotlib sets its own variable."""


def writable(folder: str) -> bool:
    """Return whether files can be written into a folder, which is created if it is missing."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def temporary() -> str:
    """Create a folder that is removed when this process ends.

    Raises:
        UserError: if none can be created
    """
    try:
        folder = tempfile.mkdtemp(prefix="snnbook-")
    except OSError as error:
        raise UserError(f"no folder for temporary files can be written to ({error}): set TMPDIR to one") from None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
