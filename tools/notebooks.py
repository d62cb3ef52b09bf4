"""Keep the book's notebooks small and comparable: `refresh` runs them, `check` checks them, `address` updates a cell.

A committed notebook contains printed text and text descriptions of what its cells show, nothing else: no images, no
HTML, no widget state; its cells are numbered 1, 2, 3. So a changed number is a changed line, and `pytest --nbval`
compares it.

A notebook that needs the package begins with a code cell that the pages do not show. If something is missing, the cell
stops the run and says in one sentence what to install. If _config.yml names the repository's address, the cell fetches
the package first, as on Colab. `address` updates this cell.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import nbformat

from snnbook.records.files import write_atomic

BOOK = Path(__file__).resolve().parents[1] / "book"

TIMEOUT = 300
"""Seconds for each cell, as in _config.yml."""

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
BAKE = "SNNBOOK_BAKE"
ADDRESS = re.compile(r"https://[\w.-]+(/[\w.-]+){2}")
BRANCH = re.compile(r"\w[\w./-]*")
CONFIG = BOOK.parent / "_config.yml"
PACKAGE = "snnbook"
IMPORTED = re.compile(r"^(?:from ([\w.]+) import|import ([\w.]+))", re.M)

FETCH = "fetch-package"
"""Id of the first cell."""

FETCH_CELL = """\
# Where the package is missing, as on Colab: fetch it.
import importlib.util, sys
from pathlib import Path

if importlib.util.find_spec("snnbook") is None:
    home = Path("..").resolve()  # a copy of the project, or else one made here
    if not (home / "snnbook" / "ops").is_dir():
        home = Path("{name}").resolve()
        if not home.is_dir():
            !git clone --quiet --depth 1 --branch {branch} {url} "{{home}}"
    %pip install --quiet --editable "{{home}}[live]"
    sys.path.insert(0, str(home))"""
NEED_CELL = """\
# Where something is missing, one sentence says what to install.
try:
{imports}
except ImportError as error:

    class Missing(ImportError):
        def _render_traceback_(self):
            return [str(self)]

    raise Missing(
        f"{{error.name or error}} is not installed, and this page needs it: run  "
        'pip install --editable ".[live]"  or  make lab  in {where}.'
    ) from None"""


class NotebookFault(Exception):
    """A notebook contains something that a committed notebook must not contain."""


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy of a notebook with text outputs only.

    Raises:
        NotebookFault: if a cell wrote to stderr or ended in an error: such a notebook should not be committed
    """
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat = 4
    notebook.nbformat_minor = 5
    count = 0
    for place, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type != "code":
            continue
        # Cells are numbered as in a run from the top: nbval does not compare a cell without a number.
        count += 1
        cell.execution_count = count
        cell.outputs = _merge([_text_only(output, place) for output in cell.outputs])
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def _text_only(output: nbformat.NotebookNode, place: int) -> nbformat.NotebookNode:
    """Return an output of the cell at a place, reduced to its text."""
    if output.output_type == "error":
        raise NotebookFault(f"cell {place} ended in {output.ename}: {output.evalue}")
    if output.output_type == "stream":
        if output.name != "stdout":
            raise NotebookFault(f"cell {place} wrote to {output.name}: {output.text.strip()}")
        return output
    if "text/plain" not in output.data:
        raise NotebookFault(f"cell {place} shows {', '.join(output.data)} and no text/plain")
    data = {"text/plain": output.data["text/plain"]}
    return nbformat.from_dict({"data": data, "metadata": {}, "output_type": output.output_type})


def _merge(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join successive pieces of printed text, because the kernel splits it at random."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == "stream" == merged[-1].output_type:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def text_of(notebook: nbformat.NotebookNode) -> str:
    """Return the text of a notebook's file, in the committed form."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from its own folder, in a fresh kernel."""
    from nbclient import NotebookClient

    from snnbook.book.kernels import prepare

    prepare()
    # Without baked figures, as nbval will run it.
    os.environ.pop(BAKE, None)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    return client.execute()


def repository(config: Path | None = None) -> tuple[str, str] | None:
    """Return address and branch of the repository in _config.yml; None if no address is set.

    Raises:
        NotebookFault: if the address is not https, or contains characters with a meaning for a shell
    """
    import yaml

    settings = yaml.safe_load((config or CONFIG).read_text(encoding="utf-8")).get("repository") or {}
    url = (settings.get("url") or "").strip().rstrip("/").removesuffix(".git")
    if not url:
        return None
    branch = settings.get("branch") or "main"
    if not ADDRESS.fullmatch(url) or not BRANCH.fullmatch(branch):
        raise NotebookFault(
            f"{CONFIG.name}: the repository's url and branch must look like https://github.com/NAME/PROJECT and main, "
            f"not {url} and {branch}"
        )
    return url, branch


def fetch_source(config: Path | None = None) -> str | None:
    """Return the part of the first cell that fetches the package; None if no address is set."""
    found = repository(config)
    if found is None:
        return None
    url, branch = found
    return FETCH_CELL.format(name=url.rsplit("/", 1)[1], url=url, branch=branch)


def needs(notebook: nbformat.NotebookNode) -> list[str]:
    """List the modules that a notebook needs besides Python's own, the package first; empty if it needs no package.

    Where a notebook draws, the package is listed as its drawing part, which needs more.
    """
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.get("id") != FETCH)
    names = {first or second for first, second in IMPORTED.findall(code)}
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    if PACKAGE not in roots:
        return []
    package = PACKAGE
    if any(name.startswith(f"{PACKAGE}.book") for name in names):
        package = f"{PACKAGE}.book"
    return [package, *sorted(roots - {PACKAGE})]


def first_source(notebook: nbformat.NotebookNode) -> str | None:
    """Return the source of a notebook's first cell; None for a notebook that does not need the package."""
    modules = needs(notebook)
    if not modules:
        return None
    imports = "\n".join(f"    import {name}" for name in modules)
    found = repository()
    if found is None:
        return NEED_CELL.format(imports=imports, where="a copy of the project")
    url, _ = found
    check = NEED_CELL.format(imports=imports, where=f"a copy of {url}")
    return f"{fetch_source()}\n\n{check}"


def with_first_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy of a notebook with its first cell before the other code cells."""
    notebook = nbformat.from_dict(notebook)
    source = first_source(notebook)
    cells = [cell for cell in notebook.cells if cell.get("id") != FETCH]
    if source is not None:
        first = next(place for place, cell in enumerate(cells) if cell.cell_type == "code")
        cell = nbformat.v4.new_code_cell(source, id=FETCH, metadata={"tags": ["remove-cell"]}, execution_count=1)
        cells.insert(first, cell)
    notebook.cells = cells
    return notebook


def refresh(path: Path) -> None:
    """Run a notebook and write it with text outputs only."""
    address(path)
    write_atomic(path, text_of(strip(execute(path))).encode())


def address(path: Path) -> None:
    """Update a notebook's first cell, unless it is right."""
    notebook = nbformat.read(path, as_version=4)
    source = first_source(notebook)
    wanted = [] if source is None else [source]
    if [cell.source for cell in notebook.cells if cell.get("id") == FETCH] != wanted:
        write_atomic(path, text_of(strip(with_first_cell(notebook))).encode())
        print(f"{path.name}: the first cell, which says what is missing, is up to date with _config.yml")


def check(path: Path) -> None:
    """Check that a notebook is as `refresh` would write it.

    Raises:
        NotebookFault: if it contains anything but text outputs, or its bytes are not in the committed form
    """
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            extra = set(output.get("data", {})) - {"text/plain"}
            if extra:
                raise NotebookFault(f"cell {place} holds {', '.join(sorted(extra))}")
    if text_of(strip(with_first_cell(notebook))) != text:
        raise NotebookFault("metadata, layout or the first cell are not in the committed form")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["refresh", "check", "address"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of book/*.ipynb")
    given = parser.parse_args(arguments)
    act = {"refresh": refresh, "check": check, "address": address}[given.action]
    faults = 0
    try:
        repository()
    except NotebookFault as fault:
        print(fault, file=sys.stderr)
        return 1
    for path in given.notebooks or sorted(BOOK.glob("*.ipynb")):
        try:
            act(path)
        except NotebookFault as fault:
            faults += 1
            print(f"{path}: {fault}. Run: python tools/notebooks.py refresh {path}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
