"""The pages for teachers: every exercise has its level, times follow the chapters, the sheet prints on one page."""

import re
from collections import Counter

import nbformat
import pytest

from .browser import BOOK, HTML
from .conftest import load

TEACH = (BOOK / "teach.md").read_text(encoding="utf-8")
CHAPTERS = sorted(BOOK.glob("[0-9]*.ipynb"))
v4 = nbformat.v4


@pytest.fixture(scope="module")
def teaching():
    return load(BOOK / "_ext" / "teaching.py")


def text_of(path):
    return "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


def test_every_exercise_has_one_level():
    written = re.findall(r"^:label: (exercise-\S+)", "\n".join(map(text_of, CHAPTERS)), re.M)
    assert len(written) > 30
    table = "\n".join(line for line in TEACH.splitlines() if line.startswith("|"))
    assert Counter(re.findall(r"\{ref\}`(exercise-[\d-]+)`", table)) == Counter(written)


def test_the_plan_of_four_weeks_has_every_chapter_once():
    weeks = TEACH[TEACH.index("## Four weeks") :]
    planned = [int(n) for line in re.findall(r"\{chapter-times\} ([\d ]+)", weeks) for n in line.split()]
    assert planned == list(range(1, len(CHAPTERS) + 1))


PAGE = """# 1. One

{words}

```{{exercise}} Easy
:label: exercise-1-1

Why?
```

````{{solution}} exercise-1-1
:class: dropdown

```python
because = {words!r}
```
````

```{{exercise}} Hard
:label: exercise-1-2

How?
```

```{{solution}} exercise-1-2
A solution.
```

On.
"""


def demo(words=355, code=""):
    cells = [v4.new_markdown_cell(PAGE.format(words="so " * words), id="a"), v4.new_code_cell(code, id="b")]
    return v4.new_notebook(cells=cells)


def test_times_follow_text_and_figures(teaching):
    assert teaching.effort(demo()) == (5, 2)  # 355 + 16 words of 120 a minute, and 0 figures, rounded up to 5
    assert teaching.effort(demo(words=700)) == (10, 2)
    assert teaching.effort(demo(code="x = 1\nexplore(line, m=(0, 2))\nraster({})")) == (10, 2)
    assert teaching.duration(55) == "55\N{NO-BREAK SPACE}min"
    assert teaching.duration(125) == "2\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}05"


def test_a_notebook_without_solutions(teaching):
    bare = teaching.without_solutions(demo())
    assert "because" not in bare.cells[0].source
    assert "solution" not in bare.cells[0].source
    assert "Why?" in bare.cells[0].source
    assert bare.cells[0].source.endswith("How?\n```\n\n\nOn.")
    for path in CHAPTERS:
        whole = nbformat.read(path, 4)
        bare = teaching.without_solutions(whole)
        text = "\n".join(cell.source for cell in bare.cells)
        assert "{solution" not in text
        assert text.count("{exercise}") == text_of(path).count("{exercise}") > 0
        assert text.count("```") % 2 == 0
        assert sum(c.cell_type == "code" for c in bare.cells) == sum(c.cell_type == "code" for c in whole.cells)


def test_the_built_page_has_the_measured_times():
    if not (HTML / "teach.html").exists():
        pytest.skip("the book is not built: run make book first")
    page = (HTML / "teach.html").read_text(encoding="utf-8")
    table = page[page.index('id="times"') : page.index("</table>", page.index('id="times"'))]
    rows = [re.sub(r"<[^>]+>", "", row).split() for row in table.split("<tr")[2:]]
    seconds = [int(row[-2]) for row in rows]
    assert len(rows) == len(CHAPTERS) + 1
    assert all(row[-1] == "s" for row in rows)
    assert min(seconds) > 0
    assert seconds[-1] == pytest.approx(sum(seconds[:-1]), abs=len(CHAPTERS) / 2)


@pytest.mark.browser
def test_the_summary_sheet_prints_on_one_page_of_a4(chromium):
    page = chromium.new_context(offline=True).new_page()
    page.goto((HTML / "sheet.html").as_uri())
    page.wait_for_function("document.querySelectorAll('#summary-sheet mjx-container').length > 20")
    printed = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "15mm"))
    page.emulate_media(media="print")
    assert page.locator("#summary-sheet h1").is_visible()
    page.context.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
