"""Keep the book's notebooks small and comparable: `refresh` runs them, `check` judges them, `address` lets them travel.

A committed notebook holds printed text and text descriptions of what its cells show, nothing else: no images, no
HTML, no widget state; its cells are counted 1, 2, 3. So a changed number is a changed line, and `pytest --nbval`
compares it.

The first code cell of each notebook that needs the package is not shown on the pages. Where something is missing, it
stops the run and says in one sentence what to install. Where _config.yml names the repository's address, the cell
fetches the package first, as on Colab. `address` brings this cell up to date.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import nbformat

from snnbook.records import files

BOOK = Path(__file__).resolve().parents[1] / "book"
TIMEOUT = 300  # seconds a cell, as in _config.yml
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
BAKE = "SNNBOOK_BAKE"
ADDRESS, BRANCH = re.compile(r"https://[\w.-]+(/[\w.-]+){2}"), re.compile(r"\w[\w./-]*")
CONFIG = BOOK.parent / "_config.yml"
PACKAGE = "snnbook"
IMPORTED = re.compile(r"^(?:from ([\w.]+) import|import ([\w.]+))", re.M)
FETCH = "fetch-package"  # the first cell's id
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
    """A notebook holds, or printed, what a committed notebook may not."""


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with text outputs only.

    Raises:
        NotebookFault: where a cell wrote to stderr or ended in an error: such a notebook is not fit to commit
    """
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for place, cell in enumerate(notebook.cells):
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            count += 1  # as a run from the top would count; nbval compares no cell that was never run
            cell.execution_count = count
            cell.outputs = _merge(_text_only(output, place) for output in cell.outputs)
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
    return notebook


def _text_only(output: nbformat.NotebookNode, place: int) -> nbformat.NotebookNode:
    if output.output_type == "error":
        raise NotebookFault(f"cell {place} ended in {output.ename}: {output.evalue}")
    if output.output_type == "stream":
        if output.name != "stdout":
            raise NotebookFault(f"cell {place} wrote to {output.name}: {output.text.strip()}")
        return output
    if "text/plain" not in output.data:
        raise NotebookFault(f"cell {place} shows {', '.join(output.data)} and no text/plain")
    kept = {"data": {"text/plain": output.data["text/plain"]}, "metadata": {}, "output_type": output.output_type}
    return nbformat.from_dict(kept)


def _merge(outputs) -> list[nbformat.NotebookNode]:
    """Printed text in one piece: how the kernel cuts it is chance."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == "stream" == merged[-1].output_type:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def text_of(notebook: nbformat.NotebookNode) -> str:
    """The notebook as it is committed."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from its own folder, in a fresh kernel."""
    from nbclient import NotebookClient

    from snnbook.book.kernels import prepare

    prepare()
    os.environ.pop(BAKE, None)  # live, as nbval will run it
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    return client.execute()


def repository(config: Path | None = None) -> tuple[str, str] | None:
    """The address and branch of the repository in _config.yml; None where no address is set.

    Raises:
        NotebookFault: if the address is not https, or holds what a shell would read as more than an address
    """
    import yaml

    given = yaml.safe_load((config or CONFIG).read_text(encoding="utf-8")).get("repository") or {}
    url = (given.get("url") or "").strip().rstrip("/").removesuffix(".git")
    if not url:
        return None
    branch = given.get("branch") or "main"
    if not ADDRESS.fullmatch(url) or not BRANCH.fullmatch(branch):
        raise NotebookFault(
            f"{CONFIG.name}: the repository's url and branch must look like https://github.com/NAME/PROJECT and main, "
            f"not {url} and {branch}"
        )
    return url, branch


def fetch_source(config: Path | None = None) -> str | None:
    """The part of the first cell that fetches the package; None where no address is set."""
    found = repository(config)
    if found is None:
        return None
    url, branch = found
    return FETCH_CELL.format(name=url.rsplit("/", 1)[1], url=url, branch=branch)


def needs(notebook: nbformat.NotebookNode) -> list[str]:
    """The modules that a notebook needs beside Python's own; the package first, with its drawing part if it is used."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.get("id") != FETCH)
    names = {first or second for first, second in IMPORTED.findall(code)}
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    if PACKAGE not in roots:
        return []
    draws = any(name.startswith(f"{PACKAGE}.book") for name in names)
    return [f"{PACKAGE}.book" if draws else PACKAGE, *sorted(roots - {PACKAGE})]


def first_source(notebook: nbformat.NotebookNode) -> str | None:
    """The first cell of a notebook; None for one that does not need the package."""
    found = repository()
    modules = needs(notebook)
    if not modules:
        return None
    where = "a copy of the project" if found is None else f"a copy of {found[0]}"
    check = NEED_CELL.format(imports="\n".join(f"    import {name}" for name in modules), where=where)
    return check if found is None else f"{fetch_source()}\n\n{check}"


def with_first_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with that cell before its other code cells."""
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
    """Run a notebook and write it back, text outputs only."""
    address(path)
    files.write_atomic(path, text_of(strip(execute(path))).encode())


def address(path: Path) -> None:
    """Bring a notebook's first cell up to date; leave a notebook that has the right one."""
    notebook = nbformat.read(path, as_version=4)
    source = first_source(notebook)
    if [cell.source for cell in notebook.cells if cell.get("id") == FETCH] != ([] if source is None else [source]):
        files.write_atomic(path, text_of(strip(with_first_cell(notebook))).encode())
        print(f"{path.name}: the first cell, which says what is missing, is up to date with _config.yml")


def check(path: Path) -> None:
    """Refuse a notebook that is not just as `refresh` would write it.

    Raises:
        NotebookFault: if it holds anything but text outputs, or its bytes are not in the committed form
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
