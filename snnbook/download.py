"""Where the files of a data set are: the folders looked in, the public mirrors, the checksums.

A file is known by the SHA-256 of its uncompressed content, so the copies that mirrors, Debian and other libraries
compressed in their own ways all count as the published file.
"""

import gzip
import hashlib
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Images and labels of each split, by the names under which they were published (with .gz at the end, or without)."""

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
class Source:
    """Where one data set comes from.

    Args:
        folders: names its folder may have; the first is the one used in the cache folder
        mirrors: addresses of folders that hold its four .gz files, tried in this order; none for a bundled data set
        sha256: of each file's uncompressed content, by the file's name in FILES
    """

    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    sha256: dict[str, str]


SOURCES = {
    "mnist": Source(
        folders=("mnist", "MNIST/raw"),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion_mnist": Source(
        folders=("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        sha256={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    "fashion_mnist_subset": Source(
        folders=("fashion_mnist_subset",),
        mirrors=(),
        sha256={
            "train-images-idx3-ubyte": "a724cd72799a6b1c3a81c4263865a75a73bb6473673b3394e34adf222930f19e",
            "train-labels-idx1-ubyte": "4738fd437c0f8d6498ae7f6f5c86f1cc3c878d4116ff169fc5635bd6847899cc",
            "t10k-images-idx3-ubyte": "7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef",
            "t10k-labels-idx1-ubyte": "3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909",
        },
    ),
}


@dataclass(frozen=True)
class Found:
    """The two files of one split, in one folder.

    Args:
        folder: the folder that holds them
        images, labels: the files
        own: True in the reader's own folder, whose files may differ from the published ones
    """

    folder: Path
    images: Path
    labels: Path
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


def digest(data: bytes) -> str:
    """SHA-256 of uncompressed content, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def published_as(sha256: str) -> str | None:
    """Which published file has this digest, such as "t10k-images-idx3-ubyte of mnist"; None if none has."""
    return next(
        (f"{file} of {name}" for name in SOURCES for file, known in SOURCES[name].sha256.items() if known == sha256),
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
        split: a key of FILES

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
            paths = [_present(folder, file) for file in FILES[split]]
            if all(paths):
                return Found(folder, *paths, own=is_own), missing
            lacking = [f"{file}.gz" for file, path in zip(FILES[split], paths, strict=True) if path is None]
            missing.append(f"{folder} ({'lacks ' + ' and '.join(lacking) if folder.is_dir() else 'no such folder'})")
    return None, missing


def obtain(name: str, split: str) -> Found:
    """One split's files: found on this machine, or else downloaded to the cache folder.

    Args:
        name: a key of SOURCES
        split: a key of FILES

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
    for file in FILES[split]:
        if _present(folder, file) is None:
            failures = _download(file, folder, source)
            if failures:
                files = " and ".join(f"{each}.gz" for each in FILES[split])
                raise UserError(
                    f"the {split} files of {name} were not found and could not be downloaded. "
                    f"Tried: {'; '.join(tried + failures)}. What to do: connect to the network and try again, or put "
                    f"{files} into a folder {source.folders[0]!r} and set {DATA_VARIABLE} to the folder around it, "
                    "or use fashion_mnist_subset, which needs no download"
                )
    return Found(folder, *(_present(folder, file) for file in FILES[split]), own=False)


def _present(folder: Path, file: str) -> Path | None:
    """The file in this folder, compressed or plain; None if it is not there."""
    return next((path for path in (folder / f"{file}.gz", folder / file) if path.is_file()), None)


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
            url = f"{mirror}{file}.gz"
            with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as unfinished:
                part = Path(unfinished) / f"{file}.gz"
                try:
                    _fetch(url, part)
                    if digest(content(part)) == source.sha256[file]:
                        os.replace(part, folder / part.name)
                        return []
                    failures.append(f"{url} (its SHA-256 is not the published file's)")
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
    """Copy an address into a file, with a progress bar on standard error."""
    import pooch
    from tqdm import tqdm

    chunk = 1 << 16  # bytes between two movements of the bar
    # total=1 until the server says more: pooch takes a bar with an open total for "no bar"
    with tqdm(desc=url.rsplit("/", 1)[-1], total=1, unit="B", unit_scale=True) as bar:
        try:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=chunk, timeout=TIMEOUT)(url, str(path), None)
        except BaseException:
            bar.leave = False  # a mirror that failed leaves no bar on the screen
            raise
