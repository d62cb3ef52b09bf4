"""Draw some states of notebooks' slider figures again, in a process of its own: `python redraw.py COUNT PAGE.ipynb ..`.

Only cells that a figure depends on are run. Prints one JSON line per page: its name and, for every figure shown, its
states as [number, choice of every control, SVG, alt text, points by which a label crosses the picture's edge].
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
    """Return what cells show, in order."""
    shown: list = []
    names = {"display": shown.append}
    for source in sources:
        shown.append(run_cell(source, names))
    return [item.inner if isinstance(item, Growing) else item for item in shown]


def run_cell(source: str, names: dict):
    """Run a cell as a kernel does, and return the value of its last expression."""
    tree = ast.parse(source)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body.pop()
    exec(compile(tree, "<cell>", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def needed(sources: list[str]) -> list[str]:
    """Return the cells with `explore(`, and those that these need: chapters train and check much else."""
    kept: list[str] = []
    wanted: set[str] = set()
    for source in reversed(sources):
        free, bound = names_of(source)
        if "explore(" in source or "torch.set_" in source or bound & wanted:
            kept.insert(0, source)
            wanted = (wanted - bound) | free
    return kept


def names_of(source: str) -> tuple[set[str], set[str]]:
    """Return the global names that a cell takes from cells before it, and those that it binds."""
    free: set[str] = set()
    bound: set[str] = set()
    for statement in ast.parse(source).body:
        module = symtable(ast.unparse(statement), "<cell>", "exec")
        free |= used(module) - bound
        bound |= {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return free - set(dir(builtins)), bound


def used(table: SymbolTable) -> set[str]:
    """Return the global names that a block and the blocks inside it refer to."""
    inside = table.get_type() != "module"
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (s.is_global() or not inside)}
    return names.union(*map(used, table.get_children()))


def some_states(figure: Explore, count: int, chance: random.Random) -> list:
    """Draw a random sample of a figure's states."""
    states = list(enumerate(figure.states()))
    drawn = []
    for number, values in chance.sample(states, min(count, len(states))):
        choices = [c.index(values[c.name]) for c in figure.controls]
        svg = figure.canvas.svg(values).decode()
        drawn.append([number, choices, svg, figure.alt_text(values), cut(figure.canvas.figure)])
    return drawn


def cut(figure) -> float:
    """Return the points by which something of the last state, such as a label, crosses the picture's edge."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return POINTS * max(0.0, -box.x0, -box.y0, box.x1 - width, box.y1 - height)


def main(count: str, *notebooks: str) -> None:
    """Draw each notebook in its own process, as the build does: one's settings of torch must not reach another."""
    for notebook in notebooks:
        child = os.fork()
        if child == 0:
            draw(notebook, int(count))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{notebook} failed")


def draw(notebook: str, count: int) -> None:
    """Print the states of one notebook's figures."""
    chance = random.Random(notebook)
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    with contextlib.redirect_stdout(sys.stderr):
        shown = [item for item in shown_by(needed(cells)) if isinstance(item, Explore)]
        drawn = [some_states(item, count, chance) for item in shown]
    print(json.dumps([notebook.removesuffix(".ipynb"), drawn]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
