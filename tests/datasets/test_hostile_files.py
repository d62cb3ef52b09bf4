"""Data files made to do harm: each costs one line, seconds, and little memory."""

import gzip
import hashlib
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from snnbook import datasets
from snnbook.datasets import archives, cifar, download, idx, nmnist, tars, zips
from snnbook.datasets.sources import SOURCES
from snnbook.errors import UserError

from .. import conftest
from ..small_runs import idx as idx_file
from ..small_runs import write_data

pytestmark = pytest.mark.timeout(180)  # a pipe that is waited for would hang for ever
ROOT = Path(__file__).parents[2]
CIFAR10 = SOURCES["cifar10"]
NMNIST = SOURCES["nmnist"]
TEST10 = "cifar-10-batches-bin/test_batch.bin"
RECORD = bytes([7]) + bytes(3072)
EVENT = bytes([1, 2, 3, 4, 5])


def fails(call, *words):
    """As `conftest.fails`; whatever a file holds, the line is short and printable."""
    line = conftest.fails(call, *words)
    assert line.isprintable()
    assert len(line) < 1000


def zeros(count, start=b"", end=b"", wbits=31):
    """`start`, 2^20 zeros `count` times and `end`. Quick: the zeros are packed once. The checksum is not right."""
    stream = zlib.compressobj(9, zlib.DEFLATED, wbits)
    head = stream.compress(start) + stream.flush(zlib.Z_FULL_FLUSH)
    block = stream.compress(bytes(2**20)) + stream.flush(zlib.Z_FULL_FLUSH)
    return head + block * count + stream.compress(end) + stream.flush()


def header(name, count, flag=b"0", **changes):
    """A tar header with a right checksum."""
    fields = {"name": name, "mode": b"0000644\0", "uid": b"0000000\0", "gid": b"0000000\0"}
    fields |= {"size": b"%011o\0" % count if count < 8**11 else b"\x80" + count.to_bytes(11, "big")}
    fields |= {"mtime": b"00000000000\0", "sum": b" " * 8, "flag": flag, "link": b"", "magic": b"ustar\x0000"} | changes
    widths = {"name": 100, "mode": 8, "uid": 8, "gid": 8, "size": 12, "mtime": 12, "sum": 8, "flag": 1}
    widths |= {"link": 100, "magic": 8}
    block = b"".join(fields[key].ljust(width, b"\0") for key, width in widths.items()).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def member(name, content, flag=b"0"):
    return header(name, len(content), flag) + content + bytes(-len(content) % 512)


def pax(**records):
    """A special file of PAX records."""
    lines = b""
    for key, value in records.items():
        text = b" %s=%s\n" % (key.replace("_", ".").encode(), value)
        length = next(n for n in range(len(text), len(text) + 9) if n == len(text) + len(str(n)))
        lines += str(length).encode() + text
    return member(b"pax", lines, b"x")


GOOD = member(TEST10.encode(), RECORD)
END = bytes(1024)


# ---- archives that lie about size ----


def zip_file(path, name, content, size, packed=None):
    """A zip with one deflated file that declares `size` bytes."""
    data = zlib.compress(content)[2:-4] if packed is None else packed
    crc = zlib.crc32(content)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(data), size, len(name), 0)
    entry = (b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(data), size, len(name), 0, 0, 0, 0, 0, 0)
    listed = struct.pack("<4s6H3L5H2L", *entry) + name
    start = len(local) + len(name) + len(data)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), start, 0)
    path.write_bytes(local + name + data + listed + end)


def bombs(folder):
    """Files of a few megabytes that unpack to 4 GB or declare more: reader, path."""
    made = []

    def add(reader, name, content):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        made.append((reader, str(path)))

    twenty = struct.pack(">4B3I", 0, 0, 8, 3, 5, 2, 2)
    huge = struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 28, 28)
    add("idx", "twenty.gz", zeros(4096, twenty))
    add("idx", "huge.gz", zeros(4096, huge))
    add("idx", "no-idx.gz", zeros(4096, b"<html>"))
    add("idx", "largest.gz", zeros(300, struct.pack(">4B3I", 0, 0, 8, 3, idx.LARGEST // 784, 28, 28)))
    add("cifar", "long-name.tar.gz", zeros(4096, header(b"long", 2**32, b"L")))
    add("cifar", "pax.tar.gz", zeros(4096, header(b"pax", 2**32, b"x")))
    add("cifar", "pax-400.tar.gz", zeros(410, header(b"pax", 400 * 2**20, b"x")))
    add("cifar", "global.tar.gz", zeros(4096, header(b"pax", 2**32, b"g")))
    add("cifar", "unrelated.tar.gz", zeros(4096, header(b"other", 2**32)))
    add("cifar", "tail.tar.gz", zeros(4096, GOOD))
    add("cifar", "wanted.tar.gz", zeros(4096, header(TEST10.encode(), 2**32)))
    add("cifar", "large.tar.gz", zeros(300, header(TEST10.encode(), 2**28)))
    add("cifar", "link.tar.gz", zeros(4096, header(TEST10.encode(), 2**32, b"2")))
    add("cifar", "sparse.tar.gz", zeros(4096, header(TEST10.encode(), 2**32, b"S")))
    for size in (20, 2**24, 2**32 - 1):
        path = folder / f"{size}.zip"
        zip_file(path, b"Test/1/00001.bin", b"", size, zeros(4096, wbits=-15))
        made.append(("nmnist", str(path)))
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        add("check", f"own/fashion-mnist/{name}", zeros(4096, twenty))
    add("check", "own/cifar10/cifar-10-binary.tar.gz", zeros(4096, header(b"pax", 2**32, b"x")))
    return made


READ_ALL = """
import json, os, resource, sys, time
from pathlib import Path
from snnbook import datasets
from snnbook.errors import UserError
from snnbook.datasets import cifar, idx, nmnist
from snnbook.datasets.sources import SOURCES

readers = {
    "idx": lambda path: idx.read(path, 3),
    "cifar": lambda path: cifar.read(Path(path), "test", SOURCES["cifar10"]),
    "nmnist": lambda path: nmnist.read(Path(path), "test", SOURCES["nmnist"]),
    "check": lambda path: datasets.check(["fashion_mnist", "cifar10"]),
}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for reader, path in json.load(sys.stdin):
    start, line = time.process_time(), None
    try:
        found = readers[reader](path)
        if reader == "check":
            line = "; ".join(row.note for row in found if row.state == "damaged")
    except UserError as error:
        line = str(error)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps([reader, path, line, time.process_time() - start, grown]), flush=True)
"""


def test_small_files_do_not_fill_the_memory(tmp_path):
    """Up to 4 GB in 4 MB: at most 700 MB, twice the largest file that may be, and a few seconds."""
    made = bombs(tmp_path)
    environment = os.environ | {"SNNBOOK_DATA": str(tmp_path / "own"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input=json.dumps(made),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(made)
    for reader, path, line, seconds, grown in rows:
        assert line, f"{path} was taken"
        assert line.isprintable()
        assert reader == "check" or path in line
        assert seconds < 15, (path, seconds)
        assert grown < 700, (path, grown)


def test_a_small_zip_holds_no_more_than_a_small_data_set(tmp_path):
    """Recordings of nothing but zeros are well-formed; there is an end to how many a small file may hold."""
    path = tmp_path / "Test.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"Test/1/{number}.bin", bytes(3 * 2**20 * 5))
    assert path.stat().st_size < 2**18
    fails(lambda: nmnist.read(path, "test", NMNIST), path, "134,217,728 bytes, more than can be")


def test_files_in_a_zip_do_not_share_their_bytes(tmp_path):
    path = tmp_path / "Test.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Test/1/1.bin", EVENT * 1000)
        archive.filelist *= 1000
    fails(lambda: nmnist.read(path, "test", NMNIST), path, "is damaged: ")


def test_files_larger_than_can_be_are_not_opened(tmp_path, monkeypatch):
    """Empty space on the disk costs nothing: a file of terabytes is made at once."""
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path))
    for name, files in (("mnist", sources_files("mnist")), ("cifar10", sources_files("cifar10"))):
        for file in files:
            (tmp_path / name).mkdir(exist_ok=True)
            with (tmp_path / name / file).open("wb") as stream:
                stream.truncate(2**42)
        fails(lambda name=name: datasets.load(name, "train"), name, "4,398,046,511,104 bytes, more than can be")
    (tmp_path / "n-mnist").mkdir()
    with (tmp_path / "n-mnist" / "Train.zip").open("wb") as stream:
        stream.truncate(2**42)
    fails(lambda: datasets.load("nmnist", "train"), "Train.zip", "more than can be")


def sources_files(name):
    return [SOURCES[name].published(file) for file in SOURCES[name].files["train"]]


def test_a_gzip_file_of_many_streams(tmp_path):
    """Streams in a row are one file, with zeros between or behind them too; but not any number of streams."""
    raw = idx_file(np.arange(100, dtype=np.uint8))
    path = tmp_path / "labels.gz"
    path.write_bytes(b"".join(gzip.compress(raw[n : n + 1]) + bytes(n) for n in range(len(raw))))
    assert idx.read(path).tolist() == list(range(100))
    path.write_bytes(gzip.compress(raw) + b"tail")
    fails(lambda: idx.read(path), path, "is damaged: ")
    path.write_bytes(gzip.compress(raw) + gzip.compress(b"") * (archives.STREAMS + 1))
    fails(lambda: idx.read(path), path, "more than 65,536 gzip streams")


def test_files_of_an_archive_together_are_not_too_large(tmp_path):
    """Each is small enough, but images of all of them are put together, which takes their memory once more."""
    path = tmp_path / "archive.tar.gz"
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b""
    for name in cifar.LAYOUTS[10].members["train"]:
        packed += stream.compress(header(name.encode(), 100 * 2**20)) + stream.flush(zlib.Z_FULL_FLUSH)
        block = stream.compress(bytes(2**20)) + stream.flush(zlib.Z_FULL_FLUSH)
        packed += block * 100
    path.write_bytes(packed + stream.flush())
    fails(lambda: cifar.read(path, "train", CIFAR10), path, "more than 268,435,456 bytes unpacked")


def test_a_recording_is_there_once(tmp_path):
    """Which of two is meant nobody knows, and counting both would change the data set without a word."""
    path = tmp_path / "Test.zip"
    zip_of(path, ["Test/1/00001.bin", "Test/2/00001.bin", "Test/1/00002.bin"])
    assert nmnist.read(path, "test", NMNIST)[2].tolist() == [1, 2, 1]
    for again in ("Test/1/1.bin", "copy/Test/1/00001.bin"):
        zip_of(path, ["Test/1/00001.bin", "Test/2/00001.bin", again])
        fails(lambda: nmnist.read(path, "test", NMNIST), path, "two recordings with the number and digit of Test/1/")


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="Linux has such files")
def test_files_of_proc_are_not_read(tmp_path):
    """They are regular files without a size, and some of them have no end: they count as empty."""
    path = tmp_path / "archive"
    path.symlink_to("/proc/self/pagemap")
    fails(lambda: idx.read(path), path, "holds 0 bytes")
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "is cut short")
    fails(lambda: nmnist.read(path, "test", NMNIST), path, "is cut short")
    assert download.checksum(path, "Train.zip", NMNIST) == f"md5:{hashlib.md5(b'').hexdigest()}"


# ---- IDX headers ----


@pytest.mark.parametrize(
    "shape",
    [
        (0, 2**32 - 1, 2**32 - 1),
        (2**32 - 1, 0, 2**32 - 1),
        (2**32 - 1, 2**32 - 1, 2**32 - 1),
        (2**31, 2**31, 2**31),
        (0,) + (2**32 - 1,) * 31,
        (1,) * 33,
        (1,) * 255,
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_headers_that_cannot_be(shape, packed, tmp_path):
    path = tmp_path / "images"
    raw = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    fails(lambda: idx.read(path), path)


# ---- tar headers ----


@pytest.mark.parametrize(
    "records",
    [
        {"GNU_sparse_map": b"a,b"},
        {"GNU_sparse_size": b"abc"},
        {"GNU_sparse_realsize": b"x"},
        {"GNU_sparse_map": b"0,512", "GNU_sparse_size": b"99999999999999"},
        {"GNU_sparse_major": b"1", "GNU_sparse_minor": b"0"},
        {"size": b"x"},
        {"size": b"-1"},
        {"size": b""},
        {"size": b"9" * 5000},
        {"size": str(2**60).encode()},
        {"size": str(2**63).encode()},
        {"size": b"3074"},
    ],
)
def test_pax_records_that_cannot_be(records, tmp_path):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(gzip.compress(pax(**records) + GOOD + END))
    fails(lambda: cifar.read(path, "test", CIFAR10), path)
    path.write_bytes(gzip.compress(pax(**records) + member(b"other", b"hello") + GOOD + END))
    if "size" in records:
        fails(lambda: cifar.read(path, "test", CIFAR10), path)


@pytest.mark.parametrize("text", [b"", b"5", b"99 a=b\n", b"5 a=b", b"-1 a=b\n", b"3 =\n", b"0 a=b\n", b"\xff" * 300])
def test_pax_records_that_are_torn(text, tmp_path):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(gzip.compress(member(b"pax", text, b"x") + GOOD + END))
    if text:
        fails(lambda: cifar.read(path, "test", CIFAR10), path, "is damaged")
    else:
        assert cifar.read(path, "test", CIFAR10)[1].tolist() == [7]


@pytest.mark.parametrize("size", [2**60, 2**63, 2**80, 2**33])
@pytest.mark.parametrize("flag", [b"0", b"L", b"K", b"x", b"g", b"S", b"V", b"\xff"])
def test_sizes_that_cannot_be(size, flag, tmp_path):
    path = tmp_path / "archive.tar.gz"
    for name in (TEST10.encode(), b"other"):
        path.write_bytes(gzip.compress(header(name, size, flag) + GOOD + END))
        fails(lambda: cifar.read(path, "test", CIFAR10), path)


@pytest.mark.parametrize(
    "field", [b"\xff" * 12, b"-0000000001\0", b"0x000000010\0", b"000 0000010\0", b"         a\0\0"]
)
def test_numbers_that_are_none(field, tmp_path):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(gzip.compress(header(b"other", 0, size=field) + GOOD + END))
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "is damaged")


def test_tar_archives_of_all_usual_kinds_are_read(tmp_path):
    path = tmp_path / "archive.tar.gz"
    long = "x" * 200
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(path, "w:gz", format=form, pax_headers={"comment": "héllo"}) as archive:
            for name, content in ((f"{long[:90]}/{long[:90]}", b"a" * 700), (f"./{TEST10}", RECORD), ("last", b"")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                info.mtime = 1.5
                info.uname = "ä"
                archive.addfile(info, io.BytesIO(content))
        assert cifar.read(path, "test", CIFAR10)[1].tolist() == [7]
    # names that stand in a special file before the header, with the header's own name cut
    for special in (member(b"././@LongLink", TEST10.encode() + b"\0", b"L"), pax(path=TEST10.encode())):
        path.write_bytes(gzip.compress(special + member(b"cut", RECORD) + END))
        assert cifar.read(path, "test", CIFAR10)[1].tolist() == [7]
    oldest = header(TEST10.encode(), len(RECORD), b"\0", magic=b"")
    path.write_bytes(gzip.compress(oldest + RECORD + bytes(-len(RECORD) % 512)))  # and no zeros at the end
    assert cifar.read(path, "test", CIFAR10)[1].tolist() == [7]
    links = header(b"link", 5000, b"2") + header(b"folder/", 5000, b"5")  # nothing follows, whatever the size
    path.write_bytes(gzip.compress(links + GOOD + END))
    assert cifar.read(path, "test", CIFAR10)[1].tolist() == [7]


def test_the_last_of_two_files_counts_and_their_number_has_an_end(tmp_path):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(gzip.compress(GOOD + member(TEST10.encode(), RECORD * 2) + END))
    assert len(cifar.read(path, "test", CIFAR10)[1]) == 2
    path.write_bytes(gzip.compress(header(b"empty", 0) * (tars.MOST_HEADERS + 1) + GOOD + END))
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "more than 10,000 files")


# ---- zip names ----


def zip_of(path, names):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, EVENT)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("where", ["local", "list", "both"])
@pytest.mark.parametrize("flag", [0, 0x08])
def test_names_in_no_encoding(where, flag, tmp_path):
    """Bytes that are no UTF-8, with and without the flag that says UTF-8: no matter, if the digits can be read."""
    path = tmp_path / "Test.zip"
    raw = zip_of(path, ["aa/Test/1/00001.bin"])
    places = [found.start() for found in re.finditer(b"aa/", bytes(raw))]
    for place in {"local": places[:1], "list": places[1:], "both": places}[where]:
        raw[place : place + 2] = b"\xff\xfe"
    raw[7] |= flag
    raw[raw.index(b"PK\1\2") + 9] |= flag
    path.write_bytes(raw)
    if where == "both":
        assert nmnist.read(path, "test", NMNIST)[2].tolist() == [1]
    else:
        fails(lambda: nmnist.read(path, "test", NMNIST), path, "is damaged: ")


def test_zips_of_all_usual_kinds_are_read(tmp_path):
    """With sizes behind the content, with sizes of 64 bits, with a comment, with a tail."""

    class Pipe(io.RawIOBase):
        """A stream that goes forward only."""

        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    path = tmp_path / "Test.zip"
    with path.open("wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("any/Test/3/1.bin", EVENT * 9)
        archive.comment = b"see PK\5\6" * 5
    assert nmnist.read(path, "test", NMNIST)[2].tolist() == [3]
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(zipfile.ZipInfo("Test/4/1.bin"), "w", force_zip64=True) as file:
            file.write(EVENT)
        for number in range(66_000):
            archive.writestr(f"other/{number}", b"")
    with path.open("ab") as file:
        file.write(b"tail")
    assert nmnist.read(path, "test", NMNIST)[2].tolist() == [4]


def test_names_do_not_reach_the_line(tmp_path):
    path = tmp_path / "Test.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\x1b[31m/Test/1/00001.bin", b"1234")
    fails(lambda: nmnist.read(path, "test", NMNIST), f"{path}: Test/1/00001.bin: it holds 4 bytes")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(method, tmp_path):
    path = tmp_path / "Test.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("Test/1/00001.bin", EVENT)
    fails(lambda: nmnist.read(path, "test", NMNIST), path, "is damaged: ")


def test_every_field_of_a_zip_at_its_ends(tmp_path):
    """Each field of the three headers in turn made 0, its largest value, and half of it."""
    path = tmp_path / "Test.zip"
    whole = zip_of(path, ["Test/1/00001.bin"])
    right = [part.tolist() for part in nmnist.read(path, "test", NMNIST)]
    taken = 0
    for signature, form in ((b"PK\3\4", zips.LOCAL), (b"PK\1\2", zips.ENTRY), (b"PK\5\6", zips.END)):
        start = whole.index(signature)
        place = start + 4
        for letter in re.sub(r"(\d)([HL])", lambda found: found[2] * int(found[1]), form.format[3:]):
            width = {"H": 2, "L": 4}[letter]
            for value in (0, 256**width - 1, 256**width // 2):
                raw = bytearray(whole)
                raw[place : place + width] = value.to_bytes(width, "little")
                path.write_bytes(raw)
                try:
                    assert [part.tolist() for part in nmnist.read(path, "test", NMNIST)] == right
                    taken += 1
                except UserError:
                    continue
            place += width
        assert place == start + form.size
    assert taken < 80  # dates, versions and other fields that say nothing about the content


# ---- special files ----

MAKERS = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "dangling link": lambda path: os.symlink("nowhere", path),
    "looping link": lambda path: os.symlink(path, path),
    "link to a device": lambda path: os.symlink("/dev/zero", path),
    "link to a folder": lambda path: os.symlink("/", path),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
}


@pytest.mark.parametrize("special", MAKERS)
def test_something_else_where_a_file_must_be(special, tmp_path, monkeypatch):
    monkeypatch.setenv("SNNBOOK_DATA", str(write_data(tmp_path)))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "fashion-mnist" / "train-labels-idx1-ubyte.gz"
    content = path.read_bytes()
    path.unlink()
    MAKERS[special](path)
    fails(lambda: datasets.load("fashion_mnist", "train"), path, "and a file must be there")
    rows = {row.split: row for row in datasets.check(["fashion_mnist"])}
    assert (rows["train"].state, rows["test"].state) == ("damaged", "differs")
    fails(lambda: idx.read(path), f"cannot read {path}: ")
    fails(lambda: cifar.read(path, "test", CIFAR10), f"cannot read {path}: ")
    fails(lambda: nmnist.read(path, "test", NMNIST), f"cannot read {path}: ")
    fails(lambda: download.checksum(path, "Train.zip", NMNIST), f"cannot read {path}: ")
    # the unpacked file beside it is a file, and is taken
    (path.parent / "train-labels-idx1-ubyte").write_bytes(gzip.decompress(content))
    assert len(datasets.load("fashion_mnist", "train")) == 60


def test_a_link_to_a_file_is_as_good_as_the_file(tmp_path, monkeypatch):
    write_data(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "fashion-mnist").symlink_to(tmp_path / "fashion-mnist")
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    assert len(datasets.load("fashion_mnist", "train")) == 60
    path = tmp_path / "fashion-mnist" / "train-labels-idx1-ubyte.gz"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert len(datasets.load("fashion_mnist", "train")) == 60
