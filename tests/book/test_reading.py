"""A chapter takes a quarter of an hour, begins with a question, has exercises, and defines each symbol."""

import re

import nbformat
import pytest

from .browser import BOOK
from .expected import PAGES

CHAPTERS = sorted(name for name in PAGES if name[0].isdigit())

PACE = 200  # words a minute
LONGEST = 15  # minutes
EQUATION = " an equation that is read symbol by symbol for as long as these "  # a displayed one counts as a dozen words

FENCE = re.compile(r"(`{3,}|:{3,})(.*)$")
DISPLAYED = re.compile(r"(?s)\$\$.*?\$\$(?: \([\w-]+\))?")
INLINE = re.compile(r"\$[^$]+\$")
MARKUP = re.compile(r"(?m)^:\w+:.*$|\]\([^)]*\)|\{[\w:]+\}")


def prose(name):
    """The text cells of a page, one after the other."""
    return "\n\n".join(
        cell.source
        for cell in nbformat.read(BOOK / f"{name}.ipynb", as_version=4).cells
        if cell.cell_type == "markdown"
    )


def read(text):
    """Return the lines that are read, without listings and the folded solutions of exercises."""
    fences = []
    for line in text.splitlines():
        if fence := FENCE.match(line):
            if fences and fence[2] == "" and fence[1] == fences[-1][0]:
                fences.pop()
            else:
                fences.append((fence[1], fence[2]))
        elif all(kind.startswith("{") and not kind.startswith("{solution}") for _, kind in fences):
            yield line


def words(text):
    """Words of it, without markup; a symbol counts as one, a displayed equation as a dozen."""
    text = INLINE.sub("symbol", DISPLAYED.sub(EQUATION, "\n".join(read(text))))
    return len(re.findall(r"\w[\w'’-]*", MARKUP.sub(" ", text)))


def test_words_by_hand():
    assert words("# One title\n\nTwo $a + b$, it's `three`.") == 6
    assert words("```{exercise} Sum\n:label: exercise-1-1\n\nAdd.\n```\n\n```python\na = 1\n```") == 1
    assert words("````{solution} exercise-1-1\n\n```python\na\n```\nGone.\n````\n\n[Here](there.md) {eq}`eq-a`.") == 2
    assert words("$$\na = b + c\n$$ (eq-a)") == 13


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_is_read_in_a_quarter_of_an_hour(name):
    assert words(prose(name)) <= PACE * LONGEST


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_asks_first_and_answers_on_a_click(name):
    """A question is before the first cell of code, and its answer is folded."""
    first = nbformat.read(BOOK / f"{name}.ipynb", as_version=4).cells
    opening = prose(name)
    question = opening.find("```{admonition} Predict first")
    answer = opening.find("```{admonition} And now look")
    assert 0 < question < answer
    assert ":class: note dropdown" in opening[answer : answer + 80]
    assert first[0].cell_type == "markdown"


def test_there_are_thirty_exercises():
    assert sum(page.exercises for page in PAGES.values()) >= 30


SECTION = re.compile(r"(?ms)^\((notation-\w+)\)=\n## .*?(?=^\(notation-|^## One letter|\Z)")
ROW = re.compile(r"(?m)^\| (\$[^|]*\$) \|")
SYMBOL = re.compile(r"(?:\\(?:hat|bar) \w|\\\w+|\w)(?:_(?:\w|\{\\text\{\w+\}\}))?")
SEVERAL = {r"\delta", r"\Delta", r"\text", r"\mathcal"}  # these stand for more than one thing, or for none alone


def symbols():
    """The sections of the notation page that explain a symbol, for those that are known by more than a letter."""
    found = {}
    for section in SECTION.finditer((BOOK / "notation.md").read_text(encoding="utf-8")):
        for symbol in SYMBOL.findall(" ".join(ROW.findall(section[0]))):
            if len(symbol) > 2 and symbol not in SEVERAL:
                found.setdefault(symbol, set()).add(section[1])
    return found


def unlinked(text):
    """Symbols of a chapter's formulas whose section of the notation page the chapter does not link to."""
    formulas = " ".join(re.findall(r"(?s)\$\$.*?\$\$|\$[^$]+\$", text))
    linked = set(re.findall(r"notation-\w+", text))
    used = {symbol for symbol in symbols() if re.search(re.escape(symbol) + r"(?![A-Za-z_])", formulas)}
    return {symbol for symbol in used if not symbols()[symbol] & linked}


def test_symbols_are_found():
    known = symbols()
    assert len(known) > 25
    assert known[r"\hat W"] == known[r"\gamma"] == {"notation-layers"}
    assert known[r"t_{\text{unfired}}"] == {"notation-losses"}
    assert known[r"\lambda"] == {"notation-layers", "notation-losses"}
    assert unlinked(r"As $\theta_0 = G_w[t]$ and $$\theta$$ say.") == {r"\theta", "G_w"}
    assert unlinked(r"See {ref}`there <notation-neuron>`: $\theta$.") == set()


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_symbol_is_linked_to_the_notation_page(name):
    assert unlinked(prose(name)) == set()
