"""Where the files of a data set are on this machine: the folders looked in, and downloads held against checksums."""

import gzip
import hashlib
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .sources import SOURCES, Source

GZIP_MAGIC = b"\x1f\x8b"

DATA_VARIABLE = "SNNBOOK_DATA"
"""Environment variable that names the reader's own data folder."""

DEBIAN_FOLDER = Path("/usr/share/datasets")
"""Where Debian's package dataset-fashion-mnist puts its folder."""

BUNDLED_FOLDER = Path(__file__).parent / "data"
"""What comes with this package."""

TIMEOUT = 10
"""Seconds without an answer after which a mirror is given up."""


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
    """A file's content, uncompressed if it is a gzip file (known by its first two bytes).

    Raises:
        UserError: if the file cannot be read, or its gzip stream is cut short or damaged
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Check the path and the permissions") from error
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except EOFError as error:
        raise UserError(f"{path} is cut short: its gzip stream has no end. Delete it and get it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged: its gzip stream does not decode. Delete it and get it again") from error


def checksum(path: Path, file: str, source: Source) -> str:
    """What a file would have to be known by, such as "sha256:9f86...".

    Args:
        path: the file
        file: which of the source's files it is taken for
        source: the data set
    Raises:
        UserError: if it cannot be read, or not be unpacked where the checksum is of unpacked content
    """
    kind = source.checksums[file].partition(":")[0]
    if source.format == "idx":
        return f"{kind}:{hashlib.new(kind, content(path)).hexdigest()}"
    try:
        with path.open("rb") as stream:  # archives are large: never whole in memory
            return f"{kind}:{hashlib.file_digest(stream, kind).hexdigest()}"
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Check the path and the permissions") from error


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
    """The user's cache folder for snnbook; downloads go there."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("snnbook", appauthor=False))


def search(name: str, split: str) -> tuple[Found | None, list[str]]:
    """Look for one split of a data set on this machine.

    Args:
        name: a key of SOURCES
        split: one of `sources.SPLITS`

    Returns:
        the files (None if they are nowhere), and one phrase for every place that lacks them
    """
    source, missing = SOURCES[name], []
    if not source.mirrors:
        places = [(BUNDLED_FOLDER, source.folders, False)]
    else:
        own = os.environ.get(DATA_VARIABLE)
        if not own:
            missing.append(f"{DATA_VARIABLE} (not set)")
        places = [(Path(own).expanduser(), source.folders, True)] if own else []
        places += [(cache_folder(), source.folders[:1], False), (DEBIAN_FOLDER, source.folders[:1], False)]
    for root, folders, is_own in places:
        for folder in (root / each for each in folders):
            paths = [_present(folder, file, source) for file in source.files[split]]
            if all(paths):
                return Found(folder, tuple(paths), is_own), missing
            lacking = [
                source.published(file) for file, path in zip(source.files[split], paths, strict=True) if path is None
            ]
            missing.append(f"{folder} ({'lacks ' + ' and '.join(lacking) if folder.is_dir() else 'no such folder'})")
    return None, missing


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
    return next((path for path in (folder / source.published(file), folder / file) if path.is_file()), None)


def _download(file: str, folder: Path, source: Source) -> list[str]:
    """Bring one file from the first mirror that has it; it appears in the folder whole and checked, or not at all.

    Returns:
        one phrase for every mirror that failed; empty if one succeeded
    """
    import requests

    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for mirror in source.mirrors:
            url = mirror + source.addresses.get(file, source.published(file))
            with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as unfinished:
                part = Path(unfinished) / source.published(file)
                try:
                    _fetch(url, part)
                    if checksum(part, file, source) == source.checksums[file]:
                        os.replace(part, folder / part.name)
                        return []
                    failures.append(f"{url} (its {checksum_kind(file, source)} is not the published file's)")
                except requests.HTTPError as error:
                    failures.append(f"{url} (HTTP status {error.response.status_code})")
                except requests.RequestException as error:
                    failures.append(f"{url} ({type(error).__name__})")
                except UserError:
                    failures.append(f"{url} (what came is cut short or damaged)")
    except OSError as error:
        raise UserError(
            f"cannot write to the cache folder {folder}: {error.strerror}. Make room or set the permissions, or put "
            f"the files elsewhere and set {DATA_VARIABLE} to that folder"
        ) from error
    return failures


def _fetch(url: str, path: Path) -> None:
    """Copy an address into a file, with a progress bar on standard error if that is a terminal."""
    import pooch
    from tqdm import tqdm

    chunk = 1 << 16  # bytes between two movements of the bar
    # total=1 until the server says more: pooch takes a bar with an open total for "no bar"
    with tqdm(desc=path.name, total=1, unit="B", unit_scale=True, disable=None) as bar:
        try:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=chunk, timeout=TIMEOUT)(url, str(path), None)
        except BaseException:
            bar.leave = False  # a mirror that failed leaves no bar on the screen
            raise
