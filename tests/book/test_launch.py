"""Launch and download buttons: there where they lead somewhere, and nowhere else; what Binder will install."""

import copy
import os
import re
from types import SimpleNamespace

import nbformat
import pytest
import yaml

from .browser import HTML, ROOT
from .build import build, lay_out
from .conftest import load

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
WANTED = CONFIG["launch_buttons"] | {"jupyterhub_url": "https://hub.example.org"}
PAGE = """# 1. One

```{exercise} Easy
:label: exercise-1-1

Why?
```

```{solution} exercise-1-1
Because.
```
"""
BUTTON = re.compile(r'<a href="([^"]*)"[^>]*class="btn btn-sm[^"]*dropdown-item')


@pytest.fixture(scope="module")
def launch():
    return load(ROOT / "book" / "_ext" / "launch.py")


def options(launch, url):
    """The theme's options for an address, after the extension has been at them."""
    config = SimpleNamespace(html_theme_options={"repository_url": url, "launch_buttons": dict(WANTED)})
    launch.configure(None, config)
    return config.html_theme_options


@pytest.mark.parametrize(
    ("url", "openers"),
    [
        ("", set()),
        ("  ", set()),
        ("https://github.com/me/mine", {"binderhub_url", "colab_url", "jupyterhub_url"}),
        ("https://gitlab.com/us/ours.git", {"binderhub_url", "jupyterhub_url"}),
        ("https://git.school.example/us/ours/", {"jupyterhub_url"}),
    ],
)
def test_an_address_has_the_buttons_that_can_open_it(launch, url, openers):
    given = options(launch, url)
    assert {key for key in given["launch_buttons"] if key.endswith("_url")} == openers
    assert given.get("use_repository_button", False) == bool(openers)
    assert given["repository_url"].strip() == url.strip().removesuffix("/").removesuffix(".git")
    assert given.get("repository_provider") == ("gitlab" if "school" in url else None)


@pytest.mark.parametrize("url", ["github.com/me/mine", "https://github.com/me", "https://github.com/me/my book"])
def test_an_address_that_is_none(launch, url):
    with pytest.raises(launch.ExtensionError, match="must look like https://github"):
        options(launch, url)


def test_the_committed_address_is_none_or_one(launch):
    options(launch, CONFIG["repository"]["url"])


@pytest.mark.slow
def test_a_page_with_an_address_leads_to_running_copies(tmp_path):
    """The hosts' own forms of a link, spelt out by hand; a page that is no notebook has none; solutions hidden."""
    v4 = nbformat.v4
    page = nbformat.writes(v4.new_notebook(cells=[v4.new_markdown_cell(PAGE, id="a")]))
    start = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n\n# Start\n\n```{chapter-times}\n```\n"
    book = lay_out(tmp_path, {"index.md": start, "01_one.ipynb": page})
    config = copy.deepcopy(CONFIG) | {
        "launch_buttons": WANTED,
        "repository": CONFIG["repository"] | {"url": "https://github.com/me/mine"},
    }
    config["sphinx"]["config"]["hide_solutions"] = True
    (book / "_config.yml").write_text(yaml.safe_dump(config))
    done = build(book)
    assert done.returncode == 0, done.stdout
    html = book / "_build" / "html"
    assert BUTTON.findall((html / "01_one.html").read_text()) == [
        "https://mybinder.org/v2/gh/me/mine/main?urlpath=lab/tree/book/01_one.ipynb",
        "https://hub.example.org/hub/user-redirect/git-pull"
        "?repo=https%3A//github.com/me/mine&urlpath=lab/tree/mine/book/01_one.ipynb&branch=main",
        "https://colab.research.google.com/github/me/mine/blob/main/book/01_one.ipynb",
        "_sources/01_one.ipynb",
    ]
    assert BUTTON.findall((html / "index.html").read_text()) == ["_sources/index.md"]
    assert '<a href="https://github.com/me/mine"' in (html / "index.html").read_text()
    assert "Because." not in (html / "01_one.html").read_text() + (html / "_sources" / "01_one.ipynb").read_text()
    assert "Why?" in (html / "_sources" / "01_one.ipynb").read_text()
    assert re.search(r'href="01_one.html".*1. One', (html / "index.html").read_text())
    assert "5\N{NO-BREAK SPACE}min" in (html / "index.html").read_text()


def test_every_chapter_can_be_downloaded_as_it_is():
    if not (HTML / "index.html").exists():
        pytest.skip("the book is not built: run make book first")
    chapters = sorted((ROOT / "book").glob("*.ipynb"))
    assert len(chapters) > 10
    for path in chapters:
        links = BUTTON.findall((HTML / f"{path.stem}.html").read_text(encoding="utf-8"))
        assert links[-1] == f"_sources/{path.name}"
        hidden = CONFIG["sphinx"]["config"].get("hide_solutions")
        assert hidden or (HTML / links[-1]).read_bytes() == path.read_bytes()
        assert len(links) == 1 or CONFIG["repository"]["url"]


def test_binder_installs_what_the_chapters_run_with():
    folder = ROOT / ".binder"
    environment = yaml.safe_load((folder / "environment.yml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    torch = re.search(r'"torch(>=[\d.]+)"', project)[1]
    python = next(each for each in environment["dependencies"] if each.startswith("python="))
    assert f"pytorch-cpu{torch}" in environment["dependencies"]
    least = re.search(r'requires-python = ">=3\.(\d+)"', project)[1]
    assert int(python.removeprefix("python=3.")) >= int(least)
    after = folder / "postBuild"
    assert os.access(after, os.X_OK)
    assert '--editable ".[live]"' in after.read_text()
    assert re.search(r"^live = \[", project, re.M)
