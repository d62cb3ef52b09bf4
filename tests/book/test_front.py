"""The first page: its numbers are counted or read from records, and one screen holds what a visitor needs."""

import re

import nbformat
import pytest
import yaml

from snnbook.book import filed
from snnbook.results import paper, tables

from .browser import BOOK, HTML, ROOT, WIDE
from .conftest import load

INDEX = (BOOK / "index.md").read_text(encoding="utf-8")
CHAPTERS = sorted(BOOK.glob("[0-9]*.ipynb"))
PHONE = {"width": 390, "height": 844}
NUMBER = re.compile(r"\d+(?:\.\d+)? ?%|\b\d+ (?:chapters|exercises|hours)")
SPACE = "\N{NO-BREAK SPACE}"


@pytest.fixture(scope="module")
def front(monkeymodule):
    monkeymodule.syspath_prepend(str(BOOK / "_ext"))
    return load(BOOK / "_ext" / "front.py")


@pytest.fixture(scope="module")
def monkeymodule():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_chapters_and_exercises_are_counted(front):
    text = "\n".join(cell.source for path in CHAPTERS for cell in nbformat.read(path, 4).cells)
    found = front.count(BOOK)
    assert found["chapters"] == str(len(CHAPTERS))
    assert found["exercises"] == str(text.count("```{exercise}"))
    assert set(found) == {"chapters", "exercises", "reading", "solving"}


@pytest.mark.parametrize(
    ("minutes", "said"), [(10, "0 hours"), (30, "½ hours"), (130, "2 hours"), (140, "2½ hours"), (325, "5½ hours")]
)
def test_hours_are_halves(front, minutes, said):
    assert front.hours(minutes) == said.replace(" ", SPACE)


def test_no_number_of_the_first_page_is_typed():
    assert NUMBER.findall(re.sub(r"\{\w+\}`[^`]*`", "", INDEX)) == []
    assert NUMBER.findall("falls to 14 % in 10 chapters") == ["14 %", "10 chapters"]


def last(experiment):
    """Mean test accuracy of a row's last epoch with the paper's schedule, %."""
    (group,) = [group for group in tables.groups(filed.on_file(), experiment) if group.full]
    return group.last.mean


def test_the_lead_says_what_the_records_say(front):
    """Of the six losses the first has the highest accuracy and the second the lowest; the third differs in a number."""
    shown = re.findall(r"\{accuracy\}`([^`]*)`", INDEX)
    experiments = [text.split(",")[0] for text in shown]
    rows = {row.experiment: last(row.experiment) for row in paper.TABLES["3"]}
    best, worst, fallen = experiments
    assert best == max(rows, key=rows.get)
    assert worst == min(rows, key=rows.get)
    assert last(fallen) < 20 < 90 < last("fashion_mnist_ttfs")
    assert all(text.endswith(", 100 epochs, last") for text in shown)
    assert front.accuracy(fallen, 100, "last") == last(fallen)
    with pytest.raises(front.ExtensionError, match="no run of nothing with 100 epochs"):
        front.accuracy("nothing", 100, "last")


def test_the_cards_are_the_contents_of_the_book():
    """Each part has its caption and its chapters, in their order."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for part in contents["parts"][:3]:
        card = INDEX[INDEX.index(f"**{part['caption']}**") :].split("::::")[0]
        assert re.findall(r"\]\((\w+)\.ipynb\)", card) == [chapter["file"] for chapter in part["chapters"]]
    pages = [page["file"] for part in contents["parts"] for page in part["chapters"]]
    assert {page for page in pages if page != "references"} <= set(re.findall(r"\((\w+)\.(?:ipynb|md)\)", INDEX))


def test_the_entries_for_citing(front):
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    text = front.bibtex(cited)
    assert text.startswith("@inproceedings{zhu2023loss,\n  author = {Zhu, Yaoyu and\n    Fang, Wei and\n")
    assert f"  version = {{{cited['version']}}},\n" in text
    assert text.count("{") == text.count("}")
    assert max(map(len, text.splitlines())) < 120


@pytest.mark.browser
def test_one_screen_says_what_the_book_is_and_lets_a_visitor_play(visit):
    seen = visit("index")
    seen.page.wait_for_selector("figure.snn-raster[data-state]")
    wanted = [
        "article h1",
        ".snn-lead",
        ".snn-facts",
        ".snn-doors",
        ".snn-try",
        "[role=grid]",
        ".snn-chosen",
        ".snn-panels",
    ]
    for selector in wanted:
        box = seen.page.locator(selector).bounding_box()
        assert box["y"] > 0, selector
        assert box["y"] + box["height"] <= WIDE["height"], selector
    assert seen.page.locator(".logo__image").first.is_visible()
    buttons = seen.page.locator(".snn-doors a")
    targets = buttons.evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert targets == ["01_spikes_in_time.html", "06_six_losses_one_train.html", "#run-it-yourself"]
    facts = seen.page.locator(".snn-facts").inner_text()
    assert f"{len(CHAPTERS)} chapters" in facts
    assert "backpropagation" in facts
    lead = seen.page.locator(".snn-lead").inner_text()
    assert f"falls to {last('fashion_mnist_ttfs_20T'):.0f}{SPACE}%" in lead
    seen.assert_quiet()


@pytest.mark.browser
def test_a_phone_shows_buttons_and_the_first_spikes_on_its_first_screen(visit):
    seen = visit("index", viewport=PHONE)
    seen.page.wait_for_selector("figure.snn-raster[data-state]")
    box = seen.page.locator(".snn-doors").bounding_box()
    assert box["y"] + box["height"] < PHONE["height"]
    assert seen.page.locator("[role=grid] tbody tr").first.bounding_box()["y"] < PHONE["height"] - 40


def test_the_first_page_names_the_other_book_and_how_to_cite():
    assert "https://snnbook.net" in INDEX
    if not (HTML / "index.html").exists():
        pytest.skip("the book is not built: run make book first")
    page = (HTML / "index.html").read_text(encoding="utf-8")
    assert "zhu2023loss" in page[page.index('id="how-to-cite"') :]
