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

# A room imports only from rooms of lower floors.
FLOORS = {
    "errors": 0,
    "schema": 1,
    "shards": 0,
    "signals": 0,
    "devices": 1,
    "neuron": 1,
    "gradient_kinds": 2,
    "inputs": 2,
    "datasets": 3,
    "encoding": 3,
    "losses": 3,
    "ops": 3,
    "readout": 3,
    "events": 4,
    "layers": 5,
    "networks": 6,
    "settings": 7,
    "experiments": 8,
    "records": 9,
    "training": 10,
    "results": 11,
    "book": 12,
    "cli": 12,
    "__main__": 13,
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
    from snnbook import datasets, events, layers, readout, records, signals, training
    from snnbook.datasets import loader
    from snnbook.records import checkpoints, run_folder
    from snnbook.training import distributed, loop, metrics, trainer

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
