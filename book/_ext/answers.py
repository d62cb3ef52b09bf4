"""Sphinx extension of the book: exercises that a built page checks itself.

Each exercise gets the place of its form, with all verdicts (snnbook/book/exercises/page.py); book/_static/answers.js
draws the form. The stubs that JupyterLab needs, `answer = ...`, stay in the notebooks and are tagged remove-cell.
"""

import json
import re
from collections import defaultdict

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import exercise_enumerable_node

from snnbook.book.exercises import load
from snnbook.book.exercises.page import placeholder

LABEL = re.compile(r"exercise-(\d+)-(\d+)")


def setup(app: Sphinx) -> dict:
    app.add_post_transform(PlaceForms)
    app.connect("html-page-context", list_exercises)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def number(label: str) -> str | None:
    """Return the number of the exercise with a label, such as 4.2 for exercise-4-2; None where it has no checker."""
    found = LABEL.fullmatch(label)
    if found is None:
        return None
    name = f"{found[1]}.{found[2]}"
    return name if name in load() else None


class PlaceForms(SphinxPostTransform):
    """Puts the place of the form at the end of each exercise."""

    default_priority = 195
    formats = ("html",)

    def run(self, **kwargs) -> None:
        for node in self.document.findall(exercise_enumerable_node):
            name = number(node.get("label", ""))
            if name is not None:
                node += nodes.raw("", placeholder(load()[name]), format="html")


def exercises_of_pages(env: BuildEnvironment) -> dict[str, list[str]]:
    """Return the numbers of the exercises on each page."""
    found = defaultdict(list)
    for label, entry in getattr(env, "sphinx_exercise_registry", {}).items():
        name = number(label)
        if name is not None:
            found[entry["docname"]].append(name)
    return dict(found)


def list_exercises(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Give each page's script the exercises of all pages, for the counts in the sidebar."""
    app.add_js_file(None, body=f"window.snnExercises = {json.dumps(exercises_of_pages(app.env), sort_keys=True)};")
