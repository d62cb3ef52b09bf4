"""The list of mutations stays true to the source: every text stands once, every check exists, none is a no-op.

And it is whole: each loss, and each equation that the package cites, has a break that turns a notebook red.
"""

import ast
import inspect

import pytest

from snnbook import losses

from .book.test_labels import CITED
from .break_code import MUTATIONS, ROOT, check_of, places_of


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.where}-{m.old[:30]}")
def test_mutation_applies(mutation):
    (place,) = places_of(mutation)
    assert place.text.count(mutation.old) == 1
    assert mutation.new != mutation.old
    assert len(check_of(mutation)) == 1


def cited():
    """The labels that the package cites."""
    return {
        label for path in (ROOT / "snnbook").rglob("*.py") for label in CITED.findall(path.read_text(encoding="utf-8"))
    }


def scopes(source):
    """Text of the module, and of each class and function in it, that has a docstring: (docstring, text)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            text = source if isinstance(node, ast.Module) else ast.get_source_segment(source, node)
            yield ast.get_docstring(node), text


def test_each_loss_and_each_cited_equation_has_a_break_that_a_notebook_sees():
    shown = {shown for mutation in MUTATIONS for shown in mutation.shows}
    assert set(losses.LOSSES) - shown == set()
    assert cited() - shown == set()
    assert shown - cited() == set(losses.LOSSES)


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.shows], ids=lambda m: " ".join(m.shows))
def test_what_a_break_shows_is_what_it_breaks(mutation):
    """A notebook goes red, and the broken line stands in the loss, or in code whose docstring cites the equation."""
    assert mutation.check.endswith(".ipynb")
    (place,) = places_of(mutation)
    source = place.path.read_text(encoding="utf-8")
    for shown in mutation.shows:
        if shown in losses.LOSSES:
            assert mutation.old in inspect.getsource(losses.LOSSES[shown])
        else:
            assert any(mutation.old in text and f"({shown})" in doc for doc, text in scopes(source))


def test_a_label_in_another_place_is_no_citation():
    source = (
        '"""Eq. (eq-a)."""\n\ndef f():\n    """Eq. (eq-b)."""\n    return 1\n\ndef g():\n    """No."""\n    return 2\n'
    )
    found = [("eq-b" in doc, "return 2" in text) for doc, text in scopes(source)]
    assert found == [(False, True), (True, False), (False, True)]
