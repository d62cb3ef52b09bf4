"""Draw some states of a notebook's slider figures again, in a process of its own: `python redraw.py PAGE.ipynb COUNT`.

Prints one JSON list: for every figure shown, its states as [number, choice of every control, SVG, alt text].
"""

import ast
import contextlib
import json
import random
import sys

import nbformat

from snnbook.book.explore import Explore
from snnbook.book.filed import Growing


def shown_by(notebook: str) -> list:
    """What the cells of a notebook show, in order."""
    shown: list = []
    names = {"display": shown.append}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            shown.append(run_cell(cell.source, names))
    return [item.inner if isinstance(item, Growing) else item for item in shown]


def run_cell(source: str, names: dict):
    """Run a cell as a kernel does: the value of its last expression comes back."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None


def some_states(figure: Explore, count: int, chance: random.Random) -> list:
    states = list(enumerate(figure.states()))
    return [
        [
            k,
            [c.index(values[c.name]) for c in figure.controls],
            figure.canvas.svg(values).decode(),
            figure.alt_text(values),
        ]
        for k, values in chance.sample(states, min(count, len(states)))
    ]


def main(notebook: str, count: str) -> None:
    chance = random.Random(notebook)
    with contextlib.redirect_stdout(sys.stderr):
        drawn = [some_states(item, int(count), chance) for item in shown_by(notebook) if isinstance(item, Explore)]
    json.dump(drawn, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
