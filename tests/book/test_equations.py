"""The notation page's equations have numbers of their own."""

import re

import pytest

from .browser import HTML
from .build import build, lay_out

EQUATION = "$$\na = {}\n$$ (eq-{})\n"


def test_equations_of_the_notation_page_have_its_letter(tmp_path):
    book = lay_out(
        tmp_path,
        {
            "index.md": f"# Book\n\nSee {{eq}}`eq-x` and {{eq}}`eq-here`.\n\n{EQUATION.format(0, 'here')}",
            "notation.md": f"# Notation\n\n{EQUATION.format(1, 'w')}\n{EQUATION.format(2, 'x')}\n{{eq}}`eq-w`.\n",
        },
    )
    done = build(book)
    assert done.returncode == 0, done.stdout[-2000:]
    page, notation = ((book / "_build" / "html" / f"{name}.html").read_text() for name in ("index", "notation"))
    assert re.findall(r'href="(?:notation.html)?#equation-eq-\w+">\((.+?)\)</a>', page) == ["N.2", "1"]
    assert re.findall(r'href="#equation-eq-\w+">\((.+?)\)</a>', notation) == ["N.1"]
    assert re.findall(r'class="eqno">\((.+?)\)', notation) == ["N.1", "N.2"]


def test_no_reference_to_an_equation_is_a_bare_number():
    pages = [path.read_text(encoding="utf-8") for path in HTML.glob("*.html")]
    if not pages:
        pytest.skip("the book is not built: run make book first")
    told = [number for page in pages for number in re.findall(r'#equation-eq-[\w-]+">\((.+?)\)</a>', page)]
    assert len(told) > 100
    assert {number for number in told if "." not in number} == set()
