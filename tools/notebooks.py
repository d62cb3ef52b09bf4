"""Keep the book's notebooks small and comparable: `notebooks.py refresh` runs them, `notebooks.py check` judges them.

A committed notebook holds printed text and text descriptions of what its cells show, nothing else: no images, no
HTML, no widget state; its cells are counted 1, 2, 3. So a changed number is a changed line, and `pytest --nbval`
compares it.
"""

import argparse
import os
import sys
from pathlib import Path

import nbformat

BOOK = Path(__file__).resolve().parents[1] / "book"
TIMEOUT = 300  # seconds a cell, as in _config.yml
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
BAKE = "SNNBOOK_BAKE"


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

    os.environ.pop(BAKE, None)  # live, as nbval will run it
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    return client.execute()


def refresh(path: Path) -> None:
    """Run a notebook and write it back, text outputs only."""
    text = text_of(strip(execute(path)))
    path.write_text(text, encoding="utf-8", newline="\n")


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
    if text_of(strip(notebook)) != text:
        raise NotebookFault("metadata or layout are not in the committed form")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["refresh", "check"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of book/*.ipynb")
    given = parser.parse_args(arguments)
    act = {"refresh": refresh, "check": check}[given.action]
    faults = 0
    for path in given.notebooks or sorted(BOOK.glob("*.ipynb")):
        try:
            act(path)
        except NotebookFault as fault:
            faults += 1
            print(f"{path}: {fault}. Run: python tools/notebooks.py refresh {path}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
