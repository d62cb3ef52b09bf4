"""Where a run's numbers come from: sources, versions, hardware, data. Nothing in it names a person or a folder."""

import dataclasses
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

from ..errors import UserError, exactly, whole

PACKAGES = ("snnbook", "torch", "numpy", "numba")
"""Packages whose versions are recorded, beside Python's."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One process that worked on a run: the first, or one that went on with it.

    What is added later gets a default here: the value of records that were written without it.

    Args:
        started: UTC, ISO 8601, to the second
        from_epoch: epochs that were done before
        command: the command line, paths outside the working folder cut to their names; None from Python
        commit: of the source tree, "+dirty" where files outside results/ differ from it; None where there is no tree
        versions: by package; None where one is not installed
        device: "cpu", or the GPU's name; "4 x cpu" for the devices of four processes
        engine: that ran the neurons
        processor: the CPU's model
        cores: logical CPUs
        threads: that torch used
        system: operating system and machine type
    """

    started: str
    from_epoch: int
    command: str | None
    commit: str | None
    versions: dict[str, str | None]
    device: str
    engine: str
    processor: str
    cores: int
    threads: int
    system: str


@dataclass(frozen=True)
class Provenance:
    """Data and sessions of a run.

    Args:
        data: SHA-256 of the images and labels used, by split
        sessions: the first, and one for every time that the run went on
    """

    data: dict[str, str]
    sessions: tuple[Session, ...]

    @classmethod
    def from_dict(cls, values: Any) -> "Provenance":
        """What was written as JSON.

        Raises:
            UserError: if an entry is missing, unknown or of the wrong type
        """
        values = exactly("provenance entry", values, ("data", "sessions"))
        data = exactly("data hash", values["data"], ("train", "test"))
        if not all(isinstance(digest, str) for digest in data.values()):
            raise UserError("data hashes must be text")
        if not isinstance(values["sessions"], list) or not values["sessions"]:
            raise UserError("sessions must be a list with one entry or more")
        return cls(data, tuple(_session(each) for each in values["sessions"]))


def _session(values: Any) -> Session:
    fields = dataclasses.fields(Session)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    values = exactly("session entry", values, tuple(field.name for field in fields), defaults)
    for field in fields:
        kind = dict if field.name == "versions" else field.type
        if not isinstance(values[field.name], kind) or isinstance(values[field.name], bool):
            raise UserError(f"{field.name} of a session cannot be {values[field.name]!r}")
    if not all(isinstance(number, str | None) for number in values["versions"].values()):
        raise UserError(f"versions of a session must be text or null, not {values['versions']!r}")
    for name, least in (("from_epoch", 0), ("cores", 1), ("threads", 1)):
        whole(f"{name} of a session", values[name], least)
    return Session(**values)


def session(
    device: torch.device, engine: str, from_epoch: int, command: Sequence[str] | None, processes: int = 1
) -> Session:
    """What there is to say about this process.

    Args:
        device: that trains
        engine: its name, "auto" resolved
        from_epoch: epochs done before
        command: arguments of the command line, without the program; None from Python
        processes: that train together
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Session(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        from_epoch=from_epoch,
        command=None if command is None else shlex.join(["snnbook", *map(_without_folders, command)]),
        commit=_commit(Path(__file__).parents[2]),
        versions=versions(),
        device=name if processes == 1 else f"{processes} x {name}",
        engine=engine,
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        system=f"{platform.system()} {platform.machine()}",
    )


def _without_folders(argument: str) -> str:
    """The argument, with an absolute path, or one that leaves the working folder, cut to its last name."""
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    outside = path.is_absolute() or ".." in path.parts or value.startswith("~")
    return f"{option}{equals}{path.name if outside else value}"


def versions() -> dict[str, str | None]:
    """Versions of Python and PACKAGES; None for what is not installed."""
    found = {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}
    return found | {"torch": str(torch.__version__)}  # names the CUDA build, which the package's metadata may leave out


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(tree: Path) -> str | None:
    """Commit of the git tree that this package stands in as source; None where it is installed elsewhere."""
    try:
        top, commit = _git(tree, "rev-parse", "--show-toplevel", "HEAD").split("\n")
        if not Path(top).samefile(tree):
            return None
        return commit + ("+dirty" if _git(tree, "status", "--porcelain", "--", ".", ":!results") else "")
    except (OSError, ValueError, subprocess.SubprocessError):  # no git, no tree, no commit yet
        return None


def _git(tree: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", tree, *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def _processor() -> str:
    """The CPU's model as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
