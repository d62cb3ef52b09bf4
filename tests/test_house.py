"""The house's order: floors, labels that exist, files of a screenful, a heart that needs little, a README that runs."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
import torch

from snnbook.__main__ import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "snnbook"

# A module imports only from lower floors (and, within floor 2, layers from events; modules of one floor as listed).
FLOORS = {
    "errors": 0,
    "streams": 0,
    "shards": 0,
    "neuron": 0.1,
    "gradient_kinds": 0.2,
    "devices": 0.1,
    "inputs": 0.2,
    "files": 0.2,
    "parallel": 0.3,
    "interrupts": 0.3,
    "products": 0.2,
    "ops": 1,
    "events": 2,
    "encoding": 2,
    "losses": 2,
    "readout": 2,
    "layers": 2.1,
    "sources": 2,
    "policies": 2,
    "recordings": 2,
    "augment": 2.1,
    "mirrors": 2,
    "readers": 2.1,
    "download": 2.2,
    "networks": 3,
    "datasets": 3,
    "loader": 3.1,
    "settings": 4,
    "experiments": 4.1,
    "provenance": 4.1,
    "figures": 4.15,
    "tensor_file": 4.15,
    "measure": 4.1,
    "step": 4.2,
    "graph": 4.25,
    "records": 4.2,
    "checkpoint_schema": 4.22,
    "checkpoints": 4.25,
    "folders": 4.3,
    "trainer": 4.3,
    "course": 4.4,
    "training": 4.5,
    "paper": 4.6,
    "protocol": 4.6,
    "results": 4.6,
    "render": 4.7,
    "runs": 4.8,
    "plots": 5,
    "tables": 5,
    "book": 5.1,
    "terminal": 5.5,
    "monitors": 5.5,
    "reproduce": 5.6,
    "estimates": 5.6,
    "commands": 5.9,
    "cli": 5.95,
    "__main__": 6,
}
README = (ROOT / "README.md").read_text(encoding="utf-8")
DRAW = "import sys, picture; sys.stdout.buffer.write(picture.draw())"  # run in tools/
LARGEST_FILE = 430  # lines
OPTIONAL = (
    "numba",
    "triton",
    "requests",
    "platformdirs",
    "tqdm",
    "cyclopts",
    "matplotlib",
    "ipywidgets",
    "IPython",
    "sympy",
    "tensorboard",
    "PIL",
)


def modules():
    """(name of the room, path) of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def imported_rooms(path):
    """The package's own modules that a file imports."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("snnbook")):
            parts = (node.module or "").removeprefix("snnbook").strip(".").split(".")
            if node.level and node.level < depth:
                continue  # within its own room
            yield from [parts[0]] if parts[0] else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [a.name.split(".")[1] for a in node.names if a.name.startswith("snnbook.")]


def test_imports_point_downward():
    wrong = []
    for room, path in modules():
        for other in imported_rooms(path):
            if room != "__init__" and other in FLOORS and other != room and FLOORS[other] >= FLOORS[room]:
                wrong.append(f"{path.name} imports {other}")
    assert not wrong


def test_every_module_has_its_floor():
    assert {room for room, _ in modules()} - {"__init__"} == set(FLOORS)


def test_no_file_is_long():
    paths = [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tools").glob("*.py")]
    long = {str(p.relative_to(ROOT)): n for p in paths if (n := len(p.read_text().splitlines())) > LARGEST_FILE}
    assert not long


def book_text():
    """Markdown of all pages of the book."""
    parts = [path.read_text() for path in sorted((ROOT / "book").glob("*.md"))]
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        parts += [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    return "\n".join(parts)


def test_every_equation_that_the_code_cites_stands_once_in_the_book():
    defined = re.findall(r"\$\$ \((eq-[a-z-]+)\)", book_text())
    cited = {label for _, path in modules() for label in re.findall(r"\((eq-[a-z-]+)\)", path.read_text())}
    assert cited, "no citation found: is the pattern still right?"
    assert not cited - set(defined)
    assert len(defined) == len(set(defined))


def test_the_heart_needs_torch_and_numpy_alone():
    """Floors 0 to 4 import, train and evaluate where nothing else is installed."""
    code = f"""
    import sys

    sys.modules.update(dict.fromkeys({OPTIONAL}))  # None there: import fails as if it were not installed
    import torch
    from snnbook import experiments, losses, networks, ops
    from snnbook import checkpoints, course, datasets, events, folders, interrupts, layers, loader, measure, parallel
    from snnbook import readout, records, trainer, training

    assert ops.engine_name("auto", torch.device("cpu")) == "reference"
    net = networks.build("4C3-P2-8", (1, 8, 8), 3)
    x, y = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    net.initialise(x, 0.6)
    spikes, _ = net(x, labels=y)
    losses.get("enhanced_counting")(spikes, y).backward()
    assert all(p.grad is not None for p in net.parameters())
    assert experiments.get("quick").steps == 5
    print("fine")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "fine", done.stderr


def readme_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_readme_example_trains_a_network():
    (example,) = readme_blocks("python")
    lines = [line for line in example.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 12
    torch.manual_seed(0)
    scope = {}
    exec(example, scope)  # the README's own text
    assert scope["accuracy"] > 0.9


def test_the_readme_names_commands_that_exist(monkeypatch):
    commands = "\n".join(readme_blocks("bash"))
    for target in re.findall(r"(?:^|`)make (\w+)", commands + README, flags=re.M):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.M), target
    words = set(re.findall(r"^snnbook (\w+)", commands, flags=re.M))
    assert words
    for word in words:
        monkeypatch.setattr(sys, "argv", ["snnbook", word, "--help"])
        assert main() == 0, word


def test_the_readme_s_picture_is_what_the_package_draws():
    """The figure of the book's first page; its bytes are compared under the version that requirements.txt names."""
    (alt, path) = re.search(r"!\[([^\]]{60,})\]\(([^)]+)\)", README).groups()
    picture = ROOT / path
    assert picture.stat().st_size < 100_000
    assert "white" in picture.read_text() or "#ffffff" in picture.read_text()  # it must be readable on a dark page
    assert alt.startswith("Six panels")
    matplotlib = pytest.importorskip("matplotlib")
    if f"matplotlib=={matplotlib.__version__}\n" not in (ROOT / "requirements.txt").read_text():
        pytest.skip(f"the picture was drawn with another matplotlib than {matplotlib.__version__}")
    drawn = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, cwd=ROOT / "tools")
    assert drawn.stdout == picture.read_bytes(), drawn.stderr


def test_the_readme_s_badges_are_true():
    project = (ROOT / "pyproject.toml").read_text()
    badges = re.findall(r"`([^`]+)`", README.splitlines()[2])
    least = re.search(r'requires-python = ">=([\d.]+)"', project)[1]
    assert badges == [f"Python {least} or newer", "MIT licence"]
    assert "MIT License" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "requirements.txt", ".ci/run"]
)
def test_what_a_reader_expects_is_there(name):
    assert (ROOT / name).stat().st_size > 100
