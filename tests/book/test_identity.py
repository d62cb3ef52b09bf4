"""Titles, icons, descriptions, cards, footer, 404: how the pages present themselves."""

import re
from importlib.metadata import version

import pytest
import yaml
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

from .browser import BOOK, HTML, ROOT, Visit
from .build import build, lay_out
from .conftest import load
from .expected import PAGES

TITLE = "Spikes that learn when to fire"
ADDRESS = "https://me.example.org/spikes/"
PROJECT = "https://github.com/me/spikes"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
FONTS = BOOK / "_static" / "fonts"


@pytest.fixture(scope="module")
def identity():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BOOK / "_ext"))
        yield load(BOOK / "_ext" / "identity.py")


def document(text):
    """A page's document, from reStructuredText."""
    found = new_document("page", get_default_settings(Parser))
    Parser().parse(text, found)
    return found


def test_a_description_is_the_first_paragraph_or_a_chapter_s_goals(identity):
    assert identity.description(document("Title\n=====\n\nOne *fine*\nthing.\n\nAnother.\n"), "T") == "One fine thing."
    goals = document("**After this chapter you can**\n\n- say so;\n- do so.\n\nYou need: nothing.\n")
    assert identity.description(goals, "T") == "After this chapter you can say so; do so."
    assert identity.description(document(""), "T").startswith("T. A spiking neuron")
    assert identity.shortened("word " * 100).endswith("word ...")
    assert len(identity.shortened("word " * 100)) <= identity.LONGEST + 4


def test_nothing_is_absolute_without_an_address(identity):
    tags = identity.head("A <b>", 'about "it"', TITLE, "", "page")
    assert "://" not in tags
    assert 'content="A &lt;b&gt;"' in tags
    assert 'name="description" content="about &quot;it&quot;"' in tags
    tags = identity.head("A", "about", TITLE, ADDRESS.rstrip("/"), "page")
    assert f'property="og:url" content="{ADDRESS}page.html"' in tags
    assert f'property="og:image" content="{ADDRESS}_static/card.png"' in tags


def test_a_site_map_lists_addresses(identity):
    text = identity.site_map([f"{ADDRESS}a.html?b&c"])
    assert f"<loc>{ADDRESS}a.html?b&amp;c</loc>" in text
    assert text.count("<url>") == 1


def test_the_card_is_a_picture_of_the_size_that_services_want(identity, tmp_path):
    identity.draw_card(tmp_path / "card.png", TITLE)
    data = (tmp_path / "card.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (1200, 630)
    assert len(data) < 200_000


@pytest.fixture(scope="module", params=["", ADDRESS])
def small(request, tmp_path_factory):
    """A small book, without an address and with one."""
    source = "```{book-source}\nIt says *nothing* of itself.\n```\n"
    start = f"# {TITLE}\n\nA start.\n\n(how-to-cite)=\n## How to cite\n\n```{{book-citation}}\n```\n"
    pages = {"index.md": start, "more.md": f"# More\n\nMuch more.\n\n{source}"}
    book = lay_out(tmp_path_factory.mktemp("small"), pages)
    config = yaml.safe_load((book / "_config.yml").read_text())
    config["html"]["baseurl"] = request.param
    config["repository"]["url"] = PROJECT if request.param else ""
    (book / "_config.yml").write_text(yaml.safe_dump(config))
    done = build(book)
    assert done.returncode == 0, done.stdout
    return request.param, book / "_build" / "html"


@pytest.mark.slow
def test_a_small_book_presents_itself(small):
    address, folder = small
    index, more = ((folder / f"{name}.html").read_text() for name in ("index", "more"))
    assert f"<title>{TITLE}</title>" in index
    assert re.search(rf"<title>More (—|&#8212;) {TITLE}</title>", more)
    assert 'name="description" content="Much more."' in more
    assert '<link rel="icon" href="_static/favicon.svg"' in more
    assert f"Version {version('snnbook')}, MIT licence." in more
    assert 'href="index.html#how-to-cite"' in more
    assert index.count('name="viewport"') == 2, "Sphinx and the theme write one each"
    assert "It says <em>nothing</em> of itself." in more
    assert bool(re.search(rf'The project is at <a class="[^"]*" href="{PROJECT}"', more)) == bool(address)
    assert "zhu2023loss" in index
    absolute = re.findall(r'<(?:meta|link)[^>]*(?:content|href)="(https?://[^"]*)"', more)
    missing = (folder / "404.html").read_text()
    assert re.findall(r'(?:href|src)="([^"]*)"', missing) == [f"{address}index.html"]
    assert "<svg" in missing
    if address:
        assert f'<link rel="canonical" href="{ADDRESS}more.html"' in more
        assert set(absolute) == {f"{ADDRESS}more.html", f"{ADDRESS}_static/card.png"}
        assert f"<loc>{ADDRESS}more.html</loc>" in (folder / "sitemap.xml").read_text()
        assert (folder / "_static" / "card.png").exists()
    else:
        assert absolute == []
        assert not (folder / "sitemap.xml").exists()


def test_the_version_is_the_package_s():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version("snnbook")


def test_the_fonts_have_their_licence_and_are_light():
    licence = (FONTS / "OFL.txt").read_text(encoding="utf-8")
    fonts = sorted(FONTS.glob("*.woff2"))
    assert len(fonts) == 2
    for font in fonts:
        assert font.name in licence
        assert 10_000 < font.stat().st_size < 90_000
        assert font.read_bytes().startswith(b"wOF2")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    sheet = (BOOK / "_static" / "identity.css").read_text(encoding="utf-8")
    assert set(re.findall(r'url\("fonts/([^"]+)"\)', sheet)) == {font.name for font in fonts}


def test_the_parts_keep_every_page_and_the_chapters_numbers():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [page for part in contents["parts"] for page in part["chapters"]]
    below = [section for page in pages for section in page.get("sections", [])]
    assert {contents["root"], *(page["file"] for page in pages + below)} == set(PAGES)
    numbered = [page for page in pages if page["file"][0].isdigit()]
    assert [int(page["file"][:2]) for page in numbered] == list(range(1, len(numbered) + 1))
    for page in numbered:
        if "title" in page:
            assert page["title"].startswith(f"{int(page['file'][:2])}. ")


browser = pytest.mark.browser


@browser
def test_the_missing_page_needs_no_other_file(chromium, book):
    seen = Visit(chromium, (HTML / "404.html").as_uri())
    assert seen.page.locator("h1").inner_text() == "No such page"
    assert len(seen.loaded) == 1
    seen.page.get_by_role("link").click()
    seen.page.wait_for_load_state("load")
    assert seen.page.title() == TITLE
    seen.context.close()


@browser
@pytest.mark.parametrize("name", ["index", "06_six_losses_one_train"])
def test_a_page_s_fonts_are_the_book_s_own(visit, name):
    seen = visit(name)
    seen.page.evaluate("document.fonts.ready.then(() => true)")
    loaded = seen.page.evaluate("[...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)")
    assert "Inter" in {family.strip('"') for family in loaded}
    assert seen.page.title() == (TITLE if name == "index" else f"6. Six losses on one spike train — {TITLE}")
    captions = seen.page.locator(".bd-links .caption").all_inner_texts()
    assert [caption.lower() for caption in captions][:3] == [
        "i · how a spike learns",
        "ii · six losses",
        "iii · training for real",
    ]


RING = """e => { e.focus({focusVisible: true}); const s = getComputedStyle(e);
    return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow]; }"""


@browser
@pytest.mark.parametrize(("scheme", "color"), [("light", "rgb(68, 51, 187)"), ("dark", "rgb(169, 161, 255)")])
def test_one_ring_of_focus_for_everything(visit, scheme, color):
    seen = visit("06_six_losses_one_train", color_scheme=scheme)
    seen.page.wait_for_selector("figure.snn-raster[data-state]")
    places = ["article section > p a", ".bd-links a", ".snn-control input", "button.copybtn", "details summary"]
    places += [f"figure.snn-raster {part}" for part in ("[role=grid] button", "summary", ".snn-choices input")]
    seen.page.keyboard.press("Tab")
    for place in places:
        ring = seen.page.locator(f"{place} >> visible=true").first.evaluate(RING)
        assert ring == ["solid", "3px", color, "none"], place


@browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_links_in_tables_have_the_colour_of_links(visit, scheme):
    seen = visit("teach", color_scheme=scheme)
    colours = "all => [...new Set(all.map(a => getComputedStyle(a).color))]"
    inside = seen.page.locator("article table a").evaluate_all(colours)
    outside = seen.page.locator("article section > p a").evaluate_all(colours)
    assert len(inside) == 1
    assert inside == outside
