"""Helpers of the browser tests: Chromium without a network, pages open in it, and counts of what was checked."""

import functools
import gzip
import http.server
import os
import shutil
import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
HTML = BOOK / "_build" / "html"
REQUIRED = os.environ.get("SNNBOOK_REQUIRE_BROWSER") == "1"
LAUNCH = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
LOCAL = {"file", "data", "blob", "about"}
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}
PATIENCE = 30_000  # ms
MADE_BY_SPHINX = ("genindex", "search", "prf-prf", "py-modindex")
"""Pages that Sphinx adds to the book's own."""

NOT_FOUND = "404"
"""The page for addresses that do not exist; it has nothing of the theme."""

TALLY: dict[str, Counter] = defaultdict(Counter)
"""Counts of what was checked, by page: printed at the end of the run (conftest.py)."""

LIVE: dict[str, tuple[int, float, float]] = {}
"""By chapter in JupyterLab: keys pressed, and the median and longest time from a key to its picture, ms."""

DRAGS: list[float] = []
"""Times from a dragged spike's move to its picture, ms."""

LAYOUT: dict[str, dict[str, float]] = {}
"""By chapter: its height, the part of it that is code and output, and where its first picture begins and ends, px."""

FINDINGS: Counter = Counter()
"""Number of pages with a finding of axe that fails no test, by rule and impact."""


def missing(reason: str) -> None:
    """Skip, or fail where a browser is required (continuous integration)."""
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def launched() -> Iterator:
    """Start the machine's own Chromium; none is downloaded."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        missing("there is no chromium on the path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=LAUNCH)
        yield browser
        browser.close()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the built book, without messages on stderr."""

    def log_message(self, *_) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on a loopback port; the address comes back."""
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Visit:
    """An open page, with its requests to other hosts and its complaints on the console.

    Args:
        browser: Playwright's browser, or one of its contexts' owner
        address: of the page
        origin: the one server that is allowed beside the disk; every other request is aborted and recorded
        settings: for the browser's context, such as java_script_enabled=False
    """

    def __init__(self, browser, address: str, origin: str | None = None, **settings):
        self.origin = origin
        self.context = browser.new_context(**({"viewport": WIDE} | settings))
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.loaded: set[str] = set()
        self.context.route("**/*", self.filter)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self.note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("websocket", self.note_socket)
        self.page.goto(address)
        self.page.wait_for_load_state("load")

    def own(self, address: str) -> bool:
        """Return whether an address is on the disk, in the page, or on the one server."""
        server = self.origin and address.replace("ws:", "http:", 1).startswith(self.origin + "/")
        return address.split(":")[0] in LOCAL or bool(server)

    def note_message(self, message) -> None:
        """Record an error or warning on the console."""
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def note_socket(self, socket) -> None:
        """Record a connection to another host."""
        if not self.own(socket.url):
            self.asked.append(socket.url)

    def filter(self, route) -> None:
        """Let a request to our own server pass, and abort and record every other."""
        address = route.request.url
        if self.own(address):
            self.loaded.add(address)
            return route.continue_()
        self.asked.append(address)
        return route.abort()

    def count(self, selector: str) -> int:
        return self.page.locator(selector).count()

    def typeset(self) -> None:
        """Wait until MathJax has set all equations."""
        self.page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
        self.page.evaluate("MathJax.startup.promise.then(() => MathJax.startup.document.lazyTypesetAll())")

    def assert_quiet(self) -> None:
        """Check that there was no request to another host, and that the console is empty."""
        assert self.asked == []
        assert self.complaints == []

    def weight(self) -> tuple[float, float]:
        """Return the kB, compressed, of the page, and of the page with all files that it loaded from the disk."""
        files = {Path(unquote(urlsplit(a).path)) for a in self.loaded if a.startswith("file:")}
        own = Path(unquote(urlsplit(self.page.url).path))
        return compressed(own) / 1000, sum(map(compressed, files | {own})) / 1000


@functools.cache
def compressed(path: Path) -> int:
    """Return the bytes of a file as servers send it."""
    return len(gzip.compress(path.read_bytes(), 6))


def table() -> list[str]:
    """Return the counts as lines, one for each page, with the sums below."""
    columns = ("widgets", "controls", "keys", "frames", "sheets", "page kB", "all kB", "contrasts", "axe passes")
    sums = Counter()
    for counts in TALLY.values():
        sums.update({name: counts[name] for name in columns if "kB" not in name})
    rows = [("page", *columns)]
    rows += [(page, *(f"{TALLY[page][name]:.0f}" for name in columns)) for page in TALLY]
    rows.append((f"{len(TALLY)} pages", *("" if "kB" in name else f"{sums[name]}" for name in columns)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def remarks() -> list[str]:
    """Return lines with times in JupyterLab, chapters' layouts, and findings of axe that fail no test."""
    live = [
        f"live {name}: {keys} keys, key to picture {median:.0f} ms in the median, {longest:.0f} ms at most"
        for name, (keys, median, longest) in LIVE.items()
    ]
    if DRAGS:
        live.append(f"drag to picture {statistics.median(DRAGS):.0f} ms in the median, {max(DRAGS):.0f} ms at most")
    live += [
        f"{name}: {found['height']:.0f} px high, {found['code']:.0%} of it code and output, first picture from "
        f"{found['picture']:.0f} to {found['ends']:.0f} px"
        for name, found in LAYOUT.items()
    ]
    found = [f"{rule} ({impact}): {pages} pages" for (rule, impact), pages in sorted(FINDINGS.items())]
    if found:
        live.append(f"axe finds, not serious: {'; '.join(found)}")
    return live
