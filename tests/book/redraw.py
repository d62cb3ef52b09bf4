"""Draw some states of notebooks' slider figures again, in a process of its own: `python redraw.py COUNT PAGE.ipynb ..`.

Only cells that a figure depends on are run. Prints one JSON line per page: its name and, for every figure shown, its
states as [number, choice of every control, SVG, alt text, points by which a label stands over the picture's edge].
"""

import ast
import builtins
import contextlib
import json
import os
import random
import sys
from symtable import SymbolTable, symtable

import nbformat

from snnbook.book.canvas import POINTS
from snnbook.book.explore import Explore
from snnbook.book.filed import Growing


def shown_by(sources: list[str]) -> list:
    """What cells show, in order."""
    shown: list = []
    names = {"display": shown.append}
    for source in sources:
        shown.append(run_cell(source, names))
    return [item.inner if isinstance(item, Growing) else item for item in shown]


def run_cell(source: str, names: dict):
    """Run a cell as a kernel does: the value of its last expression comes back."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None


def needed(sources: list[str]) -> list[str]:
    """The cells with `explore(`, and those that set or bind what these need: chapters train and check much else."""
    kept: list[str] = []
    wanted: set[str] = set()
    for source in reversed(sources):
        free, bound = names_of(source)
        if "explore(" in source or "torch.set_" in source or bound & wanted:
            kept.insert(0, source)
            wanted = (wanted - bound) | free
    return kept


def names_of(source: str) -> tuple[set[str], set[str]]:
    """The global names that a cell takes from cells before it, and those that it binds."""
    free: set[str] = set()
    bound: set[str] = set()
    for statement in ast.parse(source).body:
        module = symtable(ast.unparse(statement), "<cell>", "exec")
        free |= used(module) - bound
        bound |= {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return free - set(dir(builtins)), bound


def used(table: SymbolTable) -> set[str]:
    """Global names that a block refers to, with the blocks inside it."""
    inside = table.get_type() != "module"
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (s.is_global() or not inside)}
    return names.union(*map(used, table.get_children()))


def some_states(figure: Explore, count: int, chance: random.Random) -> list:
    states = list(enumerate(figure.states()))
    return [
        [
            k,
            [c.index(values[c.name]) for c in figure.controls],
            figure.canvas.svg(values).decode(),
            figure.alt_text(values),
            cut(figure.canvas.figure),
        ]
        for k, values in chance.sample(states, min(count, len(states)))
    ]


def cut(figure) -> float:
    """Points by which something of the state last drawn, such as a label, stands over the picture's edge."""
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return POINTS * max(0.0, -box.x0, -box.y0, box.x1 - width, box.y1 - height)


def main(count: str, *notebooks: str) -> None:
    """Each notebook in a process of its own, as in the build: what one sets in torch must not reach another."""
    for notebook in notebooks:
        child = os.fork()
        if child == 0:
            draw(notebook, int(count))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{notebook} failed")


def draw(notebook: str, count: int) -> None:
    chance = random.Random(notebook)
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    with contextlib.redirect_stdout(sys.stderr):
        shown = [item for item in shown_by(needed(cells)) if isinstance(item, Explore)]
        drawn = [some_states(item, count, chance) for item in shown]
    print(json.dumps([notebook.removesuffix(".ipynb"), drawn]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
