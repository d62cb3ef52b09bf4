"""What proves is folded: one line for a check, a name for every fold, and pages that begin with a picture."""

import nbformat
import pytest

from . import browser
from .browser import BOOK
from .build import build, lay_out
from .conftest import load
from .expected import PAGES

CHAPTERS = [name for name in PAGES if name[0].isdigit()]
MOST_CODE = 1 / 3
"""The largest part of a chapter's height that code and its output may take."""

FIRST_PICTURE = 1350
"""By this height, a screen and a half of 900 px, a chapter's first picture has begun."""

every_chapter = pytest.mark.parametrize("disk", CHAPTERS, indirect=True)


@pytest.fixture(scope="module")
def checks():
    return load(BOOK / "_ext" / "checks.py")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["the peak is there: True", "they add up to tau_m: True"], "the peak is there; they add up to tau_m"),
        (
            ["with +1, m spikes make Eq. 6: False", "with -1, they do: True"],
            "not so: with +1, m spikes make Eq. 6; with -1, they do",
        ),
        (["10000 samples", "same, to 1e-10: True"], "same, to 1e-10"),
        (["fires at [3]", "fires at no step"], "fires at [3]; fires at no step"),
        ([f"{n}: True" for n in range(6)], "0; 1; 2; 3; and 2 more"),
        (["head", "a", "b", "c", "12288 of 12288 as by hand"], "12288 of 12288 as by hand"),
        (
            ["9 samples; silent: True; full: True", "tet : below 1e-10: True"],
            "9 samples; silent; full; tet: below 1e-10",
        ),
        ([], ""),
    ],
)
def test_a_check_s_line_is_what_its_cell_printed(checks, lines, said):
    assert checks.summary(lines) == said


@pytest.mark.parametrize(
    ("code", "mode", "shown", "is_silent", "called"),
    [
        ("import torch\n\ntorch.set_num_threads(1)", "input", "", True, "Imports and settings"),
        ("def one():\n    pass", "input", "", True, "Functions for what follows (one)"),
        ("def draw(ax):\n    pass\n\n\nexplore(\n    draw,\n)", "input", "", False, "Code of this figure (draw)"),
        ("raster(STARTS)", "input", "", False, "Code of this figure (STARTS)"),
        ('sheet(tables.build("3", results))', "input", "Table: Table 3", False, "Code of this table"),
        ("def one():\n    pass\n\n\nprint(one())", "input", "", False, "Code of this output (one)"),
        ("show(eps)", "output", "Listing: snnbook.neuron.eps", False, "Listing: snnbook.neuron.eps"),
    ],
)
def test_a_fold_is_named_after_what_it_holds(checks, code, mode, shown, is_silent, called):
    assert checks.name(code, mode, shown, is_silent) == called


PAGE = """# 1. One

Words.

## Two

(the-check)=
### Check: it adds up

First words, see {ref}`the-check`.
"""
AFTER = """After it.

```{exercise} Be the neuron
:label: exercise-1-1

When?
```"""
ANSWER = 'answer = ...\nprint("waiting")'


def chapter():
    """A small chapter with a check, a fold and an exercise."""
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell(PAGE),
        v4.new_code_cell("def total():\n    return 2", metadata={"tags": ["check"]}),
        v4.new_code_cell('print("one:   True")\nprint("two < 3:   True")', metadata={"tags": ["check"]}),
        v4.new_markdown_cell(AFTER),
        v4.new_code_cell(ANSWER, metadata={"tags": ["remove-cell"]}),
        v4.new_code_cell("import math", metadata={"tags": ["hide-input"]}),
        v4.new_code_cell('print("alone, 7 samples:  True")', metadata={"tags": ["check"]}),
    ]
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place}"
    return v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pages = {"index.md": "# Start\n\n[On](one.ipynb)\n", "one.ipynb": nbformat.writes(chapter())}
    book = lay_out(tmp_path_factory.mktemp("folds"), pages)
    done = build(book)
    assert done.returncode == 0, done.stdout
    return book / "_build" / "html"


@pytest.mark.slow
def test_what_a_page_shows_of_a_check(built):
    page = (built / "one.html").read_text(encoding="utf-8")
    assert page.count('<details class="snn-check"') == 2
    first = page[page.index('<details class="snn-check"') :]
    line, inside = first[: first.index("</summary>")], first[: first.index("</details>")]
    assert 'id="check-it-adds-up"' in line
    assert 'id="the-check"' in line
    assert '<span class="snn-check-title">It adds up:</span>' in line
    assert '<span class="snn-said">one; two &lt; 3</span>' in line
    assert "First words" in inside
    assert "total" in inside
    assert "After it." not in inside
    assert '<span class="snn-said">alone, 7 samples</span>' in page
    assert "<h3>" not in page


@pytest.mark.slow
def test_stubs_are_left_out_and_folds_are_named(built):
    page = (built / "one.html").read_text(encoding="utf-8")
    assert "waiting" not in page
    assert "<summary>Imports and settings</summary>" in page
    assert "Toggle hidden content" not in page
    assert 'data-exercise="1.1"' in page
    assert 'window.snnExercises = {"one": ["1.1"]}' in page
    assert "waiting" in (built / "_sources" / "one.ipynb").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.browser
def test_a_built_page_checks_an_answer_and_the_sidebar_counts(built, chromium):
    seen = browser.Visit(chromium, (built / "one.html").as_uri())
    seen.page.get_by_label("steps, such as 2, 7").fill("3, 5")
    seen.page.keyboard.press("Enter")
    assert seen.page.locator(".snn-verdict").inner_text().startswith("✓ right")
    seen.page.goto((built / "index.html").as_uri())
    assert seen.page.locator(".bd-links .snn-done").all_text_contents() == [" 1 of 1 exercises answered"]
    assert seen.count(".copybtn") == 0
    seen.page.goto((built / "one.html").as_uri() + "#the-check")
    seen.page.wait_for_function("document.querySelector('#check-it-adds-up').open")
    assert seen.page.locator(".copybtn").count() == 4
    seen.assert_quiet()
    seen.context.close()


MEASURE = """() => {
    const code = ".cell_input, .cell_output .output.stream, .cell_output .output.text_plain, .snn-source, " +
        "details.snn-check, details.snn-fold";
    const height = e => e.getBoundingClientRect().height;
    const top = e => Math.round(e.getBoundingClientRect().top + scrollY);
    const outermost = [...document.querySelectorAll(code)].filter(e => !e.parentElement.closest(code));
    const pictures = [...document.querySelectorAll("article :is(.snn-picture, .snn-raster)")]
        .filter(e => height(e) > 50);
    const all = height(document.querySelector("article"));
    return {
        height: Math.round(all), code: outermost.reduce((sum, e) => sum + height(e), 0) / all,
        picture: top(pictures[0]), ends: Math.round(top(pictures[0]) + height(pictures[0])),
    };
}"""


@pytest.mark.browser
@every_chapter
def test_a_chapter_shows_more_than_code(disk):
    disk.typeset()
    found = disk.page.evaluate(MEASURE)
    browser.LAYOUT[disk.name] = found
    assert found["code"] <= MOST_CODE
    assert found["picture"] <= FIRST_PICTURE


NAMES = """() => [...document.querySelectorAll("article summary, article .toggle-button")].map(e =>
    e.getAttribute("aria-label") ?? e.innerText.trim())"""


@pytest.mark.browser
@every_chapter
def test_every_fold_says_what_it_holds(disk):
    named = disk.page.evaluate(NAMES)
    assert len(named) > 10
    assert all(len(each) > 8 for each in named)
    assert not any("Toggle hidden" in each or "code cell" in each for each in named)
    outputs = disk.page.locator(".cell_output .output.stream .copybtn").count()
    assert outputs == 0


@pytest.mark.browser
@every_chapter
def test_a_chapter_takes_a_guess_and_answers(disk):
    wanted = len(disk.page.evaluate(f"window.snnExercises[{disk.name!r}]"))
    assert disk.count(".snn-answer form") == wanted == PAGES[disk.name].exercises
    assert disk.count(".predict .snn-guess") > 0
    assert disk.count(".predict .snn-guess input") >= disk.count(".predict .snn-guess")
    assert disk.count(".predict + .reveal") == 1
    assert disk.page.get_by_role("button", name="Forget my answers").count() == 1


@pytest.mark.browser
def test_without_javascript_a_chapter_is_as_it_was(visit):
    seen = visit(CHAPTERS[0], java_script_enabled=False)
    assert seen.count(".snn-answer") == PAGES[CHAPTERS[0]].exercises
    assert seen.count("article form, article button.snn-forget, .snn-commit") == 0
    assert "(yes / no)" in seen.page.locator(".predict").inner_text()
    assert all(box["height"] == 0 for box in [e.bounding_box() for e in seen.page.locator(".snn-answer").all()])
