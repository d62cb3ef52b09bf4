"""Where the files of a data set are on this machine: the folders looked in, and downloads held against checksums."""

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
"""What comes with this package."""

TIMEOUT = 10
"""Seconds without a byte after which a mirror is abandoned; see `mirrors.PATIENCE` for those that send byte by byte."""

LARGEST = {"cifar": tars.LARGEST, "events": zips.LARGEST}
"""Most bytes of an archive, by `Source.format`."""


@dataclass(frozen=True)
class Found:
    """The files of one split, in one folder.

    Args:
        folder: the folder that holds them
        paths: the files, in the order of `Source.files`
        own: True in the reader's own folder, whose files may differ from the published ones
    """

    folder: Path
    paths: tuple[Path, ...]
    own: bool


def content(path: Path) -> bytes:
    """The content of an IDX file, unpacked if it is a gzip file.

    Raises:
        UserError: as `readers.idx.read`
    """
    header, values = idx.parts(path)
    return bytes(header + values)


def checksum(path: Path, file: str, source: Source) -> str:
    """What a file would have to be known by, such as "sha256:9f86...".

    Args:
        path: the file
        file: which of the source's files it is taken for
        source: the data set
    Raises:
        UserError: if it cannot be read, has more bytes than can be, or, where the checksum is of unpacked content, is
            no IDX file
    """
    kind = source.checksums[file].partition(":")[0]
    if source.format == "idx":
        digest = hashlib.new(kind)
        for part in idx.parts(path):
            digest.update(part)
        return f"{kind}:{digest.hexdigest()}"
    with archives.opened(path, LARGEST[source.format]) as stream:  # archives are large: never whole in memory
        return f"{kind}:{hashlib.file_digest(stream, kind).hexdigest()}"


def checksum_kind(file: str, source: Source) -> str:
    """The kind of a file's checksum, as people write it."""
    return {"sha256": "SHA-256", "md5": "MD5"}[source.checksums[file].partition(":")[0]]


def published_as(checksum: str) -> str | None:
    """Which published file has this checksum, such as "t10k-images-idx3-ubyte of mnist"; None if none has."""
    return next(
        (f"{file} of {name}" for name in SOURCES for file, sum in SOURCES[name].checksums.items() if sum == checksum),
        None,
    )


def cache_folder() -> Path:
    """The user's cache folder for snnbook; downloads go there.

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
    """The folder that SNNBOOK_DATA names; None if it is not set.

    Raises:
        UserError: if there is no such folder
    """
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return None
    folder = Path(os.path.expanduser(value))
    there = archives.what(folder)
    if there == archives.FOLDER:
        return folder
    if str(folder).startswith("~"):
        problem = "the home folder of this user is not known"
    elif there is None:
        problem = "there is no such folder"
    else:
        problem = f"this is {there}, and a folder must be there"
    # a shell removes quotes and spaces and replaces variables; other programs pass them on
    bare = value.strip(" \t\r\n\"'")
    meant = folder.parent if there == archives.FILE else Path(os.path.expanduser(os.path.expandvars(bare)))
    advice = "Set it to the folder around the data sets' folders, or unset it"
    if bare and archives.what(meant) == archives.FOLDER:
        advice = f"If {str(meant)!r} is meant, set it to that"
    raise UserError(f"{DATA_VARIABLE} is {value!r}: {problem}. {advice}")


class Place(NamedTuple):
    """A folder to look in.

    Args:
        folder: where it is
        own: True in the reader's own folder
        loose: True if nothing says which data set's files it holds, and so only the published ones are taken
    """

    folder: Path
    own: bool
    loose: bool = False


def search(name: str, split: str) -> tuple[Found | None, list[str]]:
    """Look for one split of a data set on this machine.

    Args:
        name: a key of SOURCES
        split: one of `sources.SPLITS`

    Returns:
        the files (None if they are nowhere), and one phrase for every place that lacks them
    Raises:
        UserError: if SNNBOOK_DATA names no folder, or if something else than a file is where one of the reader's own
            files must be, such as a pipe or a link that leads nowhere
    """
    source, missing = SOURCES[name], []
    for place in _places(source, missing):
        paths = [_present(place.folder, file, source) for file in source.files[split]]
        reason = _lacking(place, paths, name, split)
        if reason is None:
            return Found(place.folder, tuple(paths), place.own), missing
        # a loose folder without any of the files is not worth a word
        if any(paths) or not place.loose:
            missing.append(f"{place.folder} ({reason})")
    return None, missing


def _places(source: Source, missing: list[str]) -> Iterator[Place]:
    """The folders to look in, in this order; what is not there goes into `missing` as a phrase."""
    if not source.mirrors:
        yield from (Place(BUNDLED_FOLDER / each, own=False) for each in source.folders)
        return
    root = own_folder()
    if root is None:
        missing.append(f"{DATA_VARIABLE} (not set)")
    else:
        yield from (Place(folder, own=True) for folder in _own_folders(root, source))
        yield Place(root, own=True, loose=True)
    try:
        yield Place(cache_folder() / source.folders[0], own=False)
    except UserError as error:
        missing.append(str(error))
    yield Place(DEBIAN_FOLDER / source.folders[0], own=False)


def _own_folders(root: Path, source: Source) -> Iterator[Path]:
    """A data set's folders in the reader's folder, and that folder itself or one below it where its name says so.

    FOLDER/FashionMNIST/raw is looked for in FOLDER, FOLDER/FashionMNIST and FOLDER/FashionMNIST/raw.
    """
    parts = Path(os.path.abspath(root)).parts
    for folder in source.folders:
        yield root / folder
    for names in (Path(folder).parts for folder in source.folders):
        for count in range(1, len(names) + 1):
            if parts[-count:] == names[:count]:
                yield root.joinpath(*names[count:])


def _lacking(place: Place, paths: list[Path | None], name: str, split: str) -> str | None:
    """Why one split's files cannot be had from a place; None if they can.

    Raises:
        UserError: if something else than a file is where one of the reader's own files must be
    """
    source = SOURCES[name]
    if not all(paths):
        lacking = [file for file, path in zip(source.files[split], paths, strict=True) if path is None]
        for path in (place.folder / each for file in lacking for each in (source.published(file), file)):
            there = archives.what(path)
            if there is not None and place.own and not place.loose:
                raise UserError(f"{path} is {there}, and a file must be there. Put it there, or take that away")
            if there is not None:
                return f"{path.name} is {there}"
        files = " and ".join(map(source.published, lacking))
        return f"lacks {files}" if archives.what(place.folder) == archives.FOLDER else "no such folder"
    if not place.loose:
        return None
    try:
        altered = [
            path.name
            for path, file in zip(paths, source.files[split], strict=True)
            if checksum(path, file, source) != source.checksums[file]
        ]
    except UserError as error:
        return str(error)
    return f"not {name}'s published {altered[0]}; files of your own go into {source.folders[0]!r}" if altered else None


def obtain(name: str, split: str) -> Found:
    """One split's files: found on this machine, or else downloaded to the cache folder.

    Args:
        name: a key of SOURCES
        split: one of `sources.SPLITS`

    Raises:
        UserError: if no place and no mirror has them; the line names every place that was tried
    """
    found, tried = search(name, split)
    if found:
        return found
    source = SOURCES[name]
    if not source.mirrors:
        raise UserError(f"{name} comes with snnbook but is not there: {'; '.join(tried)}. Install snnbook again")
    folder = cache_folder() / source.folders[0]
    for file in source.files[split]:
        if _present(folder, file, source) is None:
            failures = _download(file, folder, source)
            if failures:
                files = " and ".join(map(source.published, source.files[split]))
                raise UserError(
                    f"the {split} files of {name} were not found and could not be downloaded. "
                    f"Tried: {'; '.join(tried + failures)}. What to do: connect to the network and try again, or put "
                    f"{files} into a folder {source.folders[0]!r} and set {DATA_VARIABLE} to the folder around it, "
                    "or use fashion_mnist_subset, which needs no download"
                )
    return Found(folder, tuple(_present(folder, file, source) for file in source.files[split]), own=False)


def _present(folder: Path, file: str, source: Source) -> Path | None:
    """The file in this folder, as it is published or unpacked; None if it is not there."""
    paths = (folder / source.published(file), folder / file)
    return next((path for path in paths if archives.what(path) == archives.FILE), None)


def _download(file: str, folder: Path, source: Source) -> list[str]:
    """Bring one file from the first mirror that has it; it appears in the folder whole and checked, or not at all.

    Returns:
        one phrase for every mirror that failed; empty if one succeeded
    """
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for mirror in source.mirrors:
            url = mirror + source.addresses.get(file, source.published(file))
            with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as unfinished:
                part = Path(unfinished) / source.published(file)
                try:
                    _fetch(url, part, source.most_bytes)
                    if checksum(part, file, source) == source.checksums[file]:
                        os.replace(part, folder / part.name)
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
    """Copy an address into a file, with a progress bar on standard error if that is a terminal."""
    from tqdm import tqdm

    arriving = mirrors.pieces(url, most, TIMEOUT)
    # without a standard error there is no bar
    disable = True if sys.stderr is None else None
    with (
        path.open("wb") as file,
        contextlib.closing(arriving),
        tqdm(desc=path.name, unit="B", unit_scale=True, disable=disable) as bar,
    ):
        try:
            bar.total = next(arriving)
            for piece in arriving:
                file.write(piece)
                bar.update(len(piece))
        except BaseException:
            bar.leave = False  # a mirror that failed leaves no bar on the screen
            raise
