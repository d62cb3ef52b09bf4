"""A JupyterLab for the tests: on loopback, with settings and notebooks in a temporary folder."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

LAST_WORDS = "every cell has run"
SETTINGS = {
    # Both would send requests to the web.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Without windowing every cell is in the page.
    "notebook-extension/tracker": {"windowingMode": "none", "kernelShutdown": True},
    "docmanager-extension/plugin": {"autosave": False},
}
PATIENCE = 60  # s


@contextmanager
def jupyterlab(notebooks: list[Path], folder: Path) -> Iterator[str]:
    """Start it on copies of notebooks without outputs; the address, to be formatted with a name, comes back."""
    for path in notebooks:
        copy_without_outputs(path, folder / path.name)
    for name, settings in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    places = {f"JUPYTER_{what}_DIR": str(folder / what.lower()) for what in ("CONFIG", "RUNTIME", "DATA")}
    environment = os.environ | places | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/api?token={token}", process, folder / "log")
            # Each page has its own workspace; in a common one, a second page would show the first notebook, too.
            yield f"{address}/lab/workspaces/{{0}}/tree/{{0}}.ipynb?token={token}"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def copy_without_outputs(source: Path, target: Path) -> None:
    """Copy a notebook without its outputs, and add a last cell that prints that all have run."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    notebook.cells.append(nbformat.v4.new_code_cell(f"print('{LAST_WORDS[:5]}' + '{LAST_WORDS[5:]}')"))
    nbformat.write(notebook, target)


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab does not answer:\n{log.read_text()[-2000:]}")
