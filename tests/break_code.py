"""Break the package on purpose, one sign or scale at a time: every break must turn the named check red.

`make mutations` runs all breaks, `python -m tests.break_code 3 7` the third and the seventh; each takes a few seconds,
on a copy. The breaks are data, in tests/mutations/*.toml. Each names a function and a text in it, so that it survives
when the function moves to another file. `tests/test_mutations.py` checks that the list fits the sources.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "book" / "_build" / "html"
COPIED = ("snnbook", "tests", "book", "examples", "results", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """One change to one place of the package, and the check that must fail for it.

    Args:
        where: qualified name of the function, class or constant, such as "Kernel._filter"; or the name of a file, for
            a statement outside of these and for scripts (.js), which are broken in the built pages too
        old: text that occurs once in that place, and in no other place of this name
        new: text that replaces it
        check: a test's name, with its file's name in front where two tests share it; or a notebook for nbval
        shows: losses by name and equations by label that the notebook is seen to check; the break is in their code
    """

    where: str
    old: str
    new: str
    check: str
    shows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A stretch of a source file.

    Args:
        path: the file
        begin, end: the first character, and the one after the last
    """

    path: Path
    begin: int
    end: int

    @property
    def text(self) -> str:
        """The characters of this place."""
        return self.path.read_text(encoding="utf-8")[self.begin : self.end]


def read_mutations() -> list[Mutation]:
    """Read all breaks, file by file."""
    found = []
    for path in sorted((ROOT / "tests" / "mutations").glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutation"]:
            found.append(Mutation(**{**entry, "shows": tuple(entry.get("shows", ()))}))
    return found


MUTATIONS = read_mutations()


def _named_nodes(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield the functions, classes and module constants below a node, with their qualified names."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name, node
            yield from _named_nodes(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not prefix:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in ast.walk(targets[0]):
                if isinstance(name, ast.Name):
                    yield name.id, node
        else:
            yield from _named_nodes(node, prefix)


@cache
def _places() -> dict[str, list[Place]]:
    """All places of the package by name."""
    found: dict[str, list[Place]] = {}
    for path in sorted((ROOT / "snnbook").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        found.setdefault(path.name, []).append(Place(path, 0, len(source)))
        for name, node in _named_nodes(ast.parse(source)):
            decorators = [each.lineno for each in getattr(node, "decorator_list", [])]
            first = min([node.lineno, *decorators])
            found.setdefault(name, []).append(Place(path, starts[first - 1], starts[node.end_lineno]))
    for path in sorted((ROOT / "snnbook").rglob("*.js")):
        found.setdefault(path.name, []).append(Place(path, 0, len(path.read_text(encoding="utf-8"))))
    return found


def places_of(mutation: Mutation) -> list[Place]:
    """List the places of the mutation's name that hold its text; there should be one."""
    return [place for place in _places().get(mutation.where, []) if mutation.old in place.text]


def check_of(mutation: Mutation) -> list[str]:
    """List the checks that the mutation can mean, as pytest takes them; there should be one."""
    if mutation.check.endswith(".ipynb"):
        return [mutation.check] if (ROOT / mutation.check).exists() else []
    file, _, name = mutation.check.rpartition("::")
    function = name.partition("[")[0]
    paths = sorted((ROOT / "tests").rglob(file or "test_*.py"))
    pattern = re.compile(rf"^def {re.escape(function)}\(", re.MULTILINE)
    return [f"{path.relative_to(ROOT)}::{name}" for path in paths if pattern.search(path.read_text(encoding="utf-8"))]


def _copy_project(folder: Path) -> None:
    """Copy what a check needs."""
    ignore = shutil.ignore_patterns("_build", "vendor", "__pycache__", ".ipynb_checkpoints")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore, symlinks=True)
        else:
            shutil.copy(source, folder / name)


def _break(mutation: Mutation, folder: Path) -> None:
    """Write the mutation into a copy of the project, and a script's mutation into the built pages too."""
    (place,) = places_of(mutation)
    path = folder / place.path.relative_to(ROOT)
    source = path.read_text(encoding="utf-8")
    broken = place.text.replace(mutation.old, mutation.new)
    path.write_text(source[: place.begin] + broken + source[place.end :], encoding="utf-8")
    if path.suffix != ".js":
        return
    pages = shutil.copytree(PAGES, folder / PAGES.relative_to(ROOT), symlinks=True)
    holding = [page for page in pages.glob("*.html") if mutation.old in page.read_text(encoding="utf-8")]
    if not holding:
        raise RuntimeError(f"no built page holds {path.name} as it is: run make book first")
    for page in holding:
        page.write_text(page.read_text(encoding="utf-8").replace(mutation.old, mutation.new), encoding="utf-8")


def turns_red(mutation: Mutation) -> bool:
    """Tell whether the named check fails on a copy of the project with the mutation in it."""
    (check,) = check_of(mutation)
    with tempfile.TemporaryDirectory() as folder:
        _copy_project(Path(folder))
        _break(mutation, Path(folder))
        options = ["--nbval"] if check.endswith(".ipynb") else []
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, check]
        environment = os.environ | {"PYTHONPATH": folder}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: tests failed; anything else is no verdict
        raise RuntimeError(f"{check} could not be run:\n{done.stdout}\n{done.stderr}")
    return done.returncode == 1


def main() -> int:
    """Run the mutations whose numbers are given, or all; 1 if one survives."""
    chosen = [int(number) for number in sys.argv[1:]] or range(1, len(MUTATIONS) + 1)
    survived = 0
    for number in chosen:
        mutation = MUTATIONS[number - 1]
        red = turns_red(mutation)
        survived += not red
        verdict = "red" if red else "SURVIVED"
        text = f"{mutation.where}: {mutation.old[:50]!r} -> {mutation.check}"
        print(f"{number:3} {verdict:8} {text}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} breaks were seen")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
