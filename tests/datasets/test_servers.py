"""Servers that misbehave: each costs one phrase, and the next mirror is asked."""

import contextlib
import itertools
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from snnbook import datasets
from snnbook.datasets import download
from snnbook.errors import UserError

from .test_datasets import TRAIN, places, publish, small, write  # noqa: F401  `places` is a fixture

pytestmark = pytest.mark.timeout(120)  # a server that is waited for would hang for ever
OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"x" * 1000
IMAGES = b"train-images-idx3-ubyte.gz"


@pytest.fixture
def answer():
    """answer(reply) -> address of a server that says this to every request.

    A reply is bytes, a function of the connection, the request and an event that ends it, or a folder of files.
    """
    listening = []
    stopped = threading.Event()

    def talk(connection, reply):
        with contextlib.suppress(OSError), connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(4096)
            if isinstance(reply, Path):
                name = request.split()[1].decode().rpartition("/")[2]
                connection.sendall(OK + b"\r\n" + (reply / name).read_bytes())
            elif callable(reply):
                reply(connection, stopped)
            else:
                connection.sendall(reply)

    def accept(server, reply):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=talk, args=(connection, reply), daemon=True).start()

    def start(reply):
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        threading.Thread(target=accept, args=(server, reply), daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/"

    yield start
    stopped.set()
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.4)


def drip(connection, stopped):
    """A byte now and then: never too long a silence, and never an end."""
    while not stopped.wait(0.1):
        connection.sendall(b"x")


def after(start, then):
    def reply(connection, stopped):
        connection.sendall(start)
        then(connection, stopped)

    return reply


def pour(connection, stopped):
    """More and more, as fast as it goes."""
    while not stopped.is_set():
        connection.sendall(bytes(2**20))


def pour_lines(connection, stopped):
    for number in itertools.count():
        if stopped.is_set():
            break
        connection.sendall(b"X-%d: %s\r\n" % (number, b"y" * 60_000))


def go_on(connection, stopped):
    while not stopped.is_set():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def moved(location, body=b""):
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n" + body


LENGTHS = [b"abc", b"", b"1e3", b"5, 7", b"-1", b"0x10", b"+1000", b"1_000", b"1" * 5000, b"1.5", b"\xb2", b"9" * 18]
BAD = {
    **{f"length {n}": OK + b"Content-Length: " + text + b"\r\n\r\n" + BODY for n, text in enumerate(LENGTHS)},
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n" + BODY,
    "too long a length": OK + b"Content-Length: 2000\r\n\r\n" + BODY,
    "to IPv6 without an end": moved(b"http://[::1"),
    "to an empty label": moved(b"http://.invalid/"),
    "to a long label": moved(b"http://" + b"a" * 70 + b".invalid/"),
    "to bytes that are no UTF-8": moved(b"http://127.0.0.1:9/\xff\xfe"),
    "to other letters": moved("http://bücher.invalid/ä".encode()),
    "to a host of no letters": moved(b"http://\xff\xfe/"),
    "to a file": moved(b"file:///etc/passwd"),
    "to data": moved(b"data:text/plain,hello"),
    "to FTP": moved(b"ftp://127.0.0.1/x"),
    "to a port that is none": moved(b"http://127.0.0.1:99999999/"),
    "to a port of letters": moved(b"http://127.0.0.1:abc/"),
    "to nothing": moved(b""),
    "to a null byte": moved(b"http://127.0.0.1:9/\0"),
    "to an address of a megabyte": moved(b"http://127.0.0.1:9/" + b"a" * 10**6),
    "to nowhere": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "to itself": moved(b"/again"),
    "no answer": b"",
    "no HTTP": b"hello\r\n\r\n",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "no headers": OK + b"\0\xff\0\r\n\r\n" + BODY,
    "a long line": b"HTTP/1.1 200 " + b"x" * 10**6,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a part": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1000\r\n\r\n" + BODY,
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "an error": b"HTTP/1.1 503 Later\r\nContent-Length: 1000\r\n\r\n" + BODY,
    "a login page": OK + b"Content-Type: text/html\r\n\r\n<html>please log in</html>",
    "torn chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "no chunks": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
    "packed for transport": OK + b"Content-Encoding: gzip\r\n\r\n" + BODY,
    "packed in an unknown way": OK + b"Content-Encoding: zstd, br, x\r\n\r\n" + BODY,
    "silence": lambda connection, stopped: stopped.wait(),
    "silence after the headers": after(OK + b"\r\n", lambda connection, stopped: stopped.wait()),
    "a slow status": drip,
    "slow headers": after(OK + b"X: ", drip),
    "a slow body": after(OK + b"Content-Length: 1000000\r\n\r\n", drip),
    "slow trailers": after(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", drip),
    "an endless body": after(OK + b"\r\n", pour),
    "an endless body of a redirect": after(b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", pour),
    "an endless body of an error": after(b"HTTP/1.1 404 Gone\r\n\r\n", pour),
    "endless headers": after(OK, pour_lines),
    "endless informational answers": go_on,
}


def tried(monkeypatch, addresses, folder):
    """The line of a load that these mirrors fail, and the seconds it took."""
    publish(monkeypatch, small(), addresses)
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        datasets.load("fashion_mnist", "train")
    seconds = time.monotonic() - start
    assert list((folder / "cache" / "snnbook" / "fashion-mnist").iterdir()) == []
    return str(caught.value), seconds


def test_the_servers_of_this_file_can_be_good(answer, monkeypatch, tmp_path):
    contents = small()
    publish(monkeypatch, contents, [answer(write(tmp_path / "full", contents))])
    assert len(datasets.load("fashion_mnist", "train")) == TRAIN


@pytest.mark.parametrize("bad", BAD)
def test_whatever_a_server_does_the_next_is_asked(bad, answer, impatient, monkeypatch, tmp_path):
    address = answer(BAD[bad])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line, seconds = tried(monkeypatch, [address], tmp_path)
    assert line.isprintable()
    phrases = [part for part in line.split("; ") if address in part]
    assert len(phrases) == 1
    assert phrases[0].partition("(")[2]
    assert len(phrases[0]) < 500
    assert seconds < 10
    contents = small()
    labels = "train-labels-idx1-ubyte"
    write(tmp_path / "cache" / "snnbook" / "fashion-mnist", {labels: contents[labels]})
    publish(monkeypatch, contents, [address, answer(write(tmp_path / "full", contents))])
    assert len(datasets.load("fashion_mnist", "train")) == TRAIN
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024, "in kB"


def test_phrases_say_what_a_server_did(answer, impatient, monkeypatch, tmp_path):
    def phrase(reply):
        address = answer(reply)
        line, _ = tried(monkeypatch, [address], tmp_path)
        return line.partition(f"{address}train-images-idx3-ubyte.gz (")[2].partition("). What to do")[0]

    assert phrase(BAD["length 0"]) == "its Content-Length is 'abc', no number"
    assert phrase(BAD["length 11"]) == "announces 999,999,999,999,999,999 bytes, more than the file can have"
    assert phrase(BAD["too long a length"]) in ("ProtocolError", "sends 1,000 of 2,000 bytes")  # by urllib3's version
    assert phrase(BAD["to IPv6 without an end"]) == "redirects to no address"
    assert phrase(BAD["to a file"]) == "redirects to no address of the web"
    assert phrase(BAD["to itself"]) == "redirected more than 10 times"
    assert phrase(BAD["a part"]) == "HTTP status 206"
    assert phrase(BAD["a slow body"]).startswith("too slow: ")
    assert phrase(BAD["an endless body"]).startswith("sends more than ")
    assert phrase(BAD["a login page"]) == "what came is cut short or damaged"


def images_from(answer, monkeypatch, tmp_path, reply):
    """The file of images that a load brings from a server with this reply."""
    contents = small()
    labels = "train-labels-idx1-ubyte"
    cache = write(tmp_path / "cache" / "snnbook" / "fashion-mnist", {labels: contents[labels]})
    publish(monkeypatch, contents, [answer(reply)])
    assert len(datasets.load("fashion_mnist", "train")) == TRAIN
    path = cache / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.unlink()
    return content


def test_redirects_are_followed(answer, monkeypatch, tmp_path):
    """To another server, in ASCII or not, and over another redirect."""
    folder = write(tmp_path / "full", small())
    images = (folder / "train-images-idx3-ubyte.gz").read_bytes()
    good = answer(folder).encode()
    for address in (good, good + b"%C3%A4%20b/", good + "ä ö/".encode(), answer(moved(good + IMAGES)).encode()):
        assert images_from(answer, monkeypatch, tmp_path, moved(address + IMAGES)) == images


def test_what_is_packed_for_transport_is_not_unpacked_again(answer, monkeypatch, tmp_path):
    """Some servers say gzip of a file that is a .gz file."""
    images = (write(tmp_path / "full", small()) / "train-images-idx3-ubyte.gz").read_bytes()
    for start in (OK, OK + b"Content-Encoding: gzip\r\n", OK + b"Content-Length: %d\r\n" % len(images)):
        assert images_from(answer, monkeypatch, tmp_path, start + b"\r\n" + images) == images
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(images), images)
    start = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    assert images_from(answer, monkeypatch, tmp_path, start + chunks) == images


def test_threads_end(answer, impatient, monkeypatch, tmp_path):
    """What is abandoned stops: neither threads nor connections pile up."""
    before = threading.active_count()
    tried(monkeypatch, [answer(BAD["an endless body"]), answer(BAD["silence"])], tmp_path)
    for _ in range(50):
        names = [thread.name for thread in threading.enumerate() if "_work" in thread.name]
        if not names:
            break
        time.sleep(0.1)
    assert not names
    assert threading.active_count() <= before + 8  # the servers of this test
