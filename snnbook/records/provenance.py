"""The provenance of a run's numbers: sources, versions, hardware, data. It names no person and no folder."""

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import schema
from ..errors import UserError, exactly, instance, shown, whole
from ..schema import checked

PACKAGES = ("snnbook", "torch", "numpy", "numba")
"""Packages whose versions are recorded, in addition to Python's."""


def _texts(name: str, values: Any) -> dict[str, str | None]:
    """Check a table of text, and null."""
    if not isinstance(values, dict) or not all(isinstance(value, str | None) for value in values.values()):
        raise UserError(f"{name} must be a table of text or null, not {shown(values)}")
    return values


@dataclass(frozen=True, kw_only=True)
class Session:
    """One process that worked on a run: the first, or one that resumed it.

    Args:
        started: UTC, ISO 8601, to the second
        from_epoch: number of epochs that were done before
        command: the command line, with only the names of paths outside the working folder; None from Python
        commit: of the source tree, with "+dirty" if files outside results/ differ from it; None if there is no tree
        versions: by package; None if one is not installed
        device: "cpu", or the GPU's name; "4 x cpu" for the devices of four processes
        engine: the neurons' engine
        processor: the CPU's model
        cores: number of logical CPUs
        threads: number of torch's threads
        system: operating system and machine type

    Raises:
        UserError: if one is of the wrong type, or out of its range
    """

    started: str = checked(instance, kind=str, wanted="text")
    from_epoch: int = checked(whole, least=0)
    command: str | None = checked(instance, kind=str, wanted="text or null", optional=True)
    commit: str | None = checked(instance, kind=str, wanted="text or null", optional=True)
    versions: dict[str, str | None] = checked(_texts)
    device: str = checked(instance, kind=str, wanted="text")
    engine: str = checked(instance, kind=str, wanted="text")
    processor: str = checked(instance, kind=str, wanted="text")
    cores: int = checked(whole, least=1)
    threads: int = checked(whole, least=1)
    system: str = checked(instance, kind=str, wanted="text")

    def __post_init__(self) -> None:
        schema.check_fields(self, " of a session")


def _hashes(_: str, values: Any) -> dict[str, str]:
    """Check the hashes of a run's data."""
    values = exactly("data hash", values, ("train", "test"))
    if not all(isinstance(digest, str) for digest in values.values()):
        raise UserError("data hashes must be text")
    return values


def _session(value: Any) -> Session:
    """Check a session, as it is or decoded from JSON."""
    if isinstance(value, Session):
        return value
    return schema.read(Session, "session entry", value)


def _sessions(name: str, values: Any) -> tuple[Session, ...]:
    """Check sessions, as they are or decoded from JSON."""
    if not isinstance(values, (list, tuple)) or not values:
        raise UserError(f"{name} must be a list with one entry or more")
    return tuple(map(_session, values))


@dataclass(frozen=True)
class Provenance:
    """Data and sessions of a run.

    Args:
        data: SHA-256 of the images and labels used, by split
        sessions: the first, and one for each time that the run was resumed

    Raises:
        UserError: if an entry is of the wrong type
    """

    data: dict[str, str] = checked(_hashes)
    sessions: tuple[Session, ...] = checked(_sessions)

    def __post_init__(self) -> None:
        schema.check_fields(self)


def session(
    device: torch.device, engine: str, from_epoch: int, command: Sequence[str] | None, processes: int = 1
) -> Session:
    """Describe this process.

    Args:
        device: of the training
        engine: its name, with "auto" resolved
        from_epoch: number of epochs done before
        command: arguments of the command line, without the program; None from Python
        processes: number of processes that train together
    """
    devices = device.type
    if device.type == "cuda":
        devices = torch.cuda.get_device_name(device)
    if processes > 1:
        devices = f"{processes} x {devices}"
    command_line = None
    if command is not None:
        command_line = shlex.join(["snnbook", *map(_without_folders, command)])
    return Session(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        from_epoch=from_epoch,
        command=command_line,
        commit=_commit(Path(__file__).parents[2]),
        versions=versions(),
        device=devices,
        engine=engine,
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        system=f"{platform.system()} {platform.machine()}",
    )


def _without_folders(argument: str) -> str:
    """Cut an absolute path, or one that leaves the working folder, to its last name."""
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    if path.is_absolute() or ".." in path.parts or value.startswith("~"):
        value = path.name
    return f"{option}{equals}{value}"


def versions() -> dict[str, str | None]:
    """Return the versions of Python and PACKAGES; None for a package that is not installed."""
    found = {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}
    # This version names the CUDA build, which the package's metadata may omit.
    found["torch"] = str(torch.__version__)
    return found


def _version(package: str) -> str | None:
    """Return the installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(tree: Path) -> str | None:
    """Return the commit of the git tree with this package's source; None if the package is installed elsewhere."""
    try:
        top, commit = _git(tree, "rev-parse", "--show-toplevel", "HEAD").split("\n")
        if not Path(top).samefile(tree):
            return None
        changes = _git(tree, "status", "--porcelain", "--", ".", ":!results")
    except (OSError, ValueError, subprocess.SubprocessError):
        # There is no git, no tree, or no commit yet.
        return None
    return f"{commit}+dirty" if changes else commit


def _git(tree: Path, *arguments: str) -> str:
    """Run git, and return its output."""
    done = subprocess.run(["git", "-C", tree, *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def _processor() -> str:
    """Return the CPU's model as the system names it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
