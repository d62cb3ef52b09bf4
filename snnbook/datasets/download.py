"""Find the files of a data set on this machine, or download them and compare them with their checksums."""

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from . import archives, idx, mirrors, tars, zips
from .sources import SOURCES, Source

DATA_VARIABLE = "SNNBOOK_DATA"
"""Environment variable that names the reader's own data folder."""

DEBIAN_FOLDER = Path("/usr/share/datasets")
"""Where Debian's package dataset-fashion-mnist puts its folder."""

BUNDLED_FOLDER = Path(__file__).parents[1] / "data"
"""The data that comes with this package."""

TIMEOUT = 10
"""Seconds without a byte after which a mirror is abandoned; `mirrors.PATIENCE` limits servers that send slowly."""

LARGEST = {"cifar": tars.LARGEST, "events": zips.LARGEST}
"""Most bytes of an archive, by `Source.format`."""

CHECKSUM_KINDS = {"sha256": "SHA-256", "md5": "MD5"}
"""Names of the checksums for messages."""


@dataclass(frozen=True)
class Found:
    """The files of one split, in one folder.

    Args:
        folder: the folder that contains them
        paths: the files, in the order of `Source.files`
        own: True in the reader's own folder, whose files may differ from the published ones
    """

    folder: Path
    paths: tuple[Path, ...]
    own: bool


def checksum(path: Path, file: str, source: Source) -> str:
    """Compute the checksum of a file, such as "sha256:9f86...", of the kind that is known of the published file.

    Args:
        path: the file
        file: the source's name of this file
        source: the data set
    Raises:
        UserError: if it cannot be read, is too large, or is not an IDX file where the checksum is of unpacked content
    """
    kind = source.checksums[file].partition(":")[0]
    if source.format == "idx":
        digest = hashlib.new(kind)
        for part in idx.parts(path):
            digest.update(part)
        return f"{kind}:{digest.hexdigest()}"
    # Archives are large, so they are never whole in memory.
    with archives.opened(path, LARGEST[source.format]) as stream:
        return f"{kind}:{hashlib.file_digest(stream, kind).hexdigest()}"


def checksum_kind(file: str, source: Source) -> str:
    """Return the kind of a file's checksum for a message, such as "SHA-256"."""
    return CHECKSUM_KINDS[source.checksums[file].partition(":")[0]]


def published_as(checksum: str) -> str | None:
    """Return which published file has this checksum, such as "t10k-images-idx3-ubyte of mnist"; None if none has."""
    for source in SOURCES.values():
        for file, published in source.checksums.items():
            if published == checksum:
                return f"{file} of {source.name}"
    return None


def _is_published(path: Path, file: str, source: Source) -> bool:
    """Compare a file with the published checksum."""
    return checksum(path, file, source) == source.checksums[file]


def cache_folder() -> Path:
    """Return the user's cache folder for snnbook, the target of downloads.

    Raises:
        UserError: if the user has no home folder
    """
    import platformdirs

    folder = platformdirs.user_cache_dir("snnbook", appauthor=False)
    if folder.startswith("~"):
        raise UserError(
            f"there is no cache folder: the home folder in {folder!r} is not known. Set HOME or XDG_CACHE_HOME to a "
            f"whole path, or put the files into a folder and set {DATA_VARIABLE} to it"
        )
    return Path(folder)


def own_folder() -> Path | None:
    """Return the folder that SNNBOOK_DATA names; None if it is not set.

    Raises:
        UserError: if there is no such folder
    """
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return None
    folder = Path(os.path.expanduser(value))
    kind = archives.kind_at(folder)
    if kind == archives.FOLDER:
        return folder
    if str(folder).startswith("~"):
        problem = "the home folder of this user is not known"
    elif kind is None:
        problem = "there is no such folder"
    else:
        problem = f"this is {kind}, and a folder must be there"
    # A shell removes quotes and spaces and replaces variables. Other programs pass them on, and then the reader's
    # folder is the value after what a shell would have done.
    bare = value.strip(" \t\r\n\"'")
    meant = Path(os.path.expanduser(os.path.expandvars(bare)))
    if kind == archives.FILE:
        meant = folder.parent
    advice = "Set it to the folder around the data sets' folders, or unset it"
    if bare and archives.kind_at(meant) == archives.FOLDER:
        advice = f"If {str(meant)!r} is meant, set it to that"
    raise UserError(f"{DATA_VARIABLE} is {value!r}: {problem}. {advice}")


class Candidate(NamedTuple):
    """A folder that may contain a data set.

    Args:
        folder: its path
        own: True in the reader's own folder
        unnamed: True if its name does not identify the data set, so that only the published files are accepted
    """

    folder: Path
    own: bool
    unnamed: bool = False


def search(source: Source, split: str) -> tuple[Found | None, list[str]]:
    """Search for one split of a data set on this machine.

    Args:
        source: the data set
        split: one of `sources.SPLITS`

    Returns:
        the files (None if they were not found), and one phrase for each folder that lacks them
    Raises:
        UserError: if SNNBOOK_DATA names no folder, or if something other than a file has the name of one of the
            reader's own files, such as a pipe or a link that leads nowhere
    """
    missing: list[str] = []
    for candidate in _candidates(source, missing):
        paths = [_present(candidate.folder, file, source) for file in source.files[split]]
        reason = _problem(candidate, paths, source, split)
        if reason is None:
            return Found(candidate.folder, tuple(paths), candidate.own), missing
        # An unnamed folder without any of the files is not worth a phrase.
        if any(paths) or not candidate.unnamed:
            missing.append(f"{candidate.folder} ({reason})")
    return None, missing


def _candidates(source: Source, missing: list[str]) -> Iterator[Candidate]:
    """Yield the folders to search, in this order; append a phrase to `missing` for those that do not exist."""
    if not source.mirrors:
        for name in source.folders:
            yield Candidate(BUNDLED_FOLDER / name, own=False)
        return
    root = own_folder()
    if root is None:
        missing.append(f"{DATA_VARIABLE} (not set)")
    else:
        for folder in _own_folders(root, source):
            yield Candidate(folder, own=True)
        yield Candidate(root, own=True, unnamed=True)
    try:
        yield Candidate(cache_folder() / source.folders[0], own=False)
    except UserError as error:
        missing.append(str(error))
    yield Candidate(DEBIAN_FOLDER / source.folders[0], own=False)


def _own_folders(root: Path, source: Source) -> Iterator[Path]:
    """Yield a data set's folders in the reader's folder, and the reader's folder itself if it has such a name.

    FashionMNIST/raw is searched for in ROOT/FashionMNIST/raw. If ROOT ends in FashionMNIST, ROOT/raw is yielded too;
    if it ends in FashionMNIST/raw, so is ROOT.
    """
    for folder in source.folders:
        yield root / folder
    root_names = Path(os.path.abspath(root)).parts
    for folder in source.folders:
        names = Path(folder).parts
        for count in range(1, len(names) + 1):
            if root_names[-count:] == names[:count]:
                yield root.joinpath(*names[count:])


def _problem(candidate: Candidate, paths: list[Path | None], source: Source, split: str) -> str | None:
    """Say why one split cannot be read from a folder; None if it can. A UserError if the reader must act."""
    files = source.files[split]
    lacking = [file for file, path in zip(files, paths, strict=True) if path is None]
    if lacking:
        return _lacking(candidate, lacking, source)
    if not candidate.unnamed:
        return None
    try:
        altered = [path for path, file in zip(paths, files, strict=True) if not _is_published(path, file, source)]
    except UserError as error:
        return str(error)
    if not altered:
        return None
    return f"not {source.name}'s published {altered[0].name}; files of your own go into {source.folders[0]!r}"


def _lacking(candidate: Candidate, lacking: list[str], source: Source) -> str:
    """Say what is in a folder instead of these files; a UserError if the reader put something else in their place."""
    for file in lacking:
        for path in (candidate.folder / source.published(file), candidate.folder / file):
            kind = archives.kind_at(path)
            if kind is None:
                continue
            if candidate.own and not candidate.unnamed:
                raise UserError(f"{path} is {kind}, and a file must be there. Put it there, or take that away")
            return f"{path.name} is {kind}"
    if archives.kind_at(candidate.folder) != archives.FOLDER:
        return "no such folder"
    return f"lacks {_published_names(lacking, source)}"


def _published_names(files: list[str] | tuple[str, ...], source: Source) -> str:
    """List published names for a message."""
    return " and ".join(map(source.published, files))


def obtain(source: Source, split: str) -> Found:
    """Find one split's files on this machine, or else download them to the cache folder.

    Args:
        source: the data set
        split: one of `sources.SPLITS`

    Raises:
        UserError: if no folder and no mirror has them; the line names every folder and mirror that was tried
    """
    found, tried = search(source, split)
    if found:
        return found
    if not source.mirrors:
        raise UserError(f"{source.name} comes with snnbook but is not there: {'; '.join(tried)}. Install snnbook again")
    folder = cache_folder() / source.folders[0]
    files = source.files[split]
    for file in files:
        if _present(folder, file, source) is not None:
            continue
        failures = _download(file, folder, source)
        if failures:
            raise UserError(
                f"the {split} files of {source.name} were not found and could not be downloaded. "
                f"Tried: {'; '.join(tried + failures)}. What to do: connect to the network and try again, or put "
                f"{_published_names(files, source)} into a folder {source.folders[0]!r} and set {DATA_VARIABLE} to the "
                "folder around it, or use fashion_mnist_subset, which needs no download"
            )
    return Found(folder, tuple(_present(folder, file, source) for file in files), own=False)


def _present(folder: Path, file: str, source: Source) -> Path | None:
    """Return the path of a file in this folder, under its published name or unpacked; None if it is not there."""
    for path in (folder / source.published(file), folder / file):
        if archives.kind_at(path) == archives.FILE:
            return path
    return None


def _download(file: str, folder: Path, source: Source) -> list[str]:
    """Download one file from the first mirror that has it; it appears in the folder whole and checked, or not at all.

    Returns:
        one phrase for each mirror that failed; empty if one succeeded
    """
    failures = []
    name = source.published(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for mirror in source.mirrors:
            url = mirror + source.addresses.get(file, name)
            # On the same file system as the target, so that `os.replace` is atomic.
            with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as unfinished:
                part = Path(unfinished) / name
                try:
                    _fetch(url, part, source.most_bytes)
                    if _is_published(part, file, source):
                        os.replace(part, folder / name)
                        return []
                    failures.append(f"{url} (its {checksum_kind(file, source)} is not the published file's)")
                except mirrors.Failed as failure:
                    failures.append(f"{url} ({failure})")
                except UserError:
                    failures.append(f"{url} (what came is cut short or damaged)")
    except OSError as error:
        raise UserError(
            f"cannot write to the cache folder {folder}: {error.strerror}. Make room or set the permissions, or put "
            f"the files elsewhere and set {DATA_VARIABLE} to that folder"
        ) from error
    return failures


def _fetch(url: str, path: Path, most: int) -> None:
    """Download an address into a file, with a progress bar on standard error if that is a terminal."""
    from tqdm import tqdm

    pieces = mirrors.pieces(url, most, TIMEOUT)
    # None lets tqdm decide; it fails where there is no standard error at all.
    disable = True if sys.stderr is None else None
    with (
        path.open("wb") as file,
        contextlib.closing(pieces),
        tqdm(desc=path.name, unit="B", unit_scale=True, disable=disable) as bar,
    ):
        try:
            bar.total = next(pieces)
            for piece in pieces:
                file.write(piece)
                bar.update(len(piece))
        except BaseException:
            # The bar of a mirror that failed disappears from the screen.
            bar.leave = False
            raise
