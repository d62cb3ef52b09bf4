"""The package as it is handed over: its metadata, and what the sdist and the wheel hold."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ADDRESS = "https://github.com/me/mine"
LARGEST_WHEEL = 2_000_000  # bytes
NOT_SOURCES = (
    *(".git", ".venv", ".hypothesis", ".pytest_cache", ".ruff_cache", "__pycache__", ".ipynb_checkpoints"),
    *("_build", "build", "dist", "runs", "wheels", "*.egg-info", "*.nbi", "*.nbc"),
)
"""What .gitignore names, and compiled kernels."""

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def derived():
    """setup.py as a module."""
    spec = importlib.util.spec_from_file_location("derived", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(kind, tree, target):
    """Run setuptools' build backend in a tree, without a network; return the file that it made."""
    done = subprocess.run([sys.executable, "-c", BUILD, kind, target], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


def sources():
    """Names of the tree's files, without what was built."""
    listed = shutil.which("git") and subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if not listed or listed.returncode:
        pytest.skip("the sources are those that git does not ignore, and this is no clone")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(sdist, wheel made from the sdist)."""
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("needs setuptools 77")
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    sdist = build("build_sdist", folder / "tree", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return sdist, build("build_wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)


@pytest.mark.slow
def test_the_sdist_holds_all_sources(built):
    sdist, _ = built
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert sources() - held == set()
    made = {name for name in held - sources() if not name.startswith("snnbook.egg-info/")}
    assert made == {"PKG-INFO", "setup.cfg"}


@pytest.mark.slow
def test_the_wheel_holds_the_package_alone(built):
    _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = message_from_string(archive.read(f"snnbook-{version_of(PROJECT)}.dist-info/METADATA").decode())
    assert wheel.stat().st_size < LARGEST_WHEEL
    package = {name for name in sources() if name.startswith("snnbook/")}
    assert {name for name in names if ".dist-info/" not in name} == package
    assert "snnbook/py.typed" in names
    assert f"snnbook-{version_of(PROJECT)}.dist-info/licenses/LICENSE" in names
    assert metadata["License-Expression"] == "MIT"
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    assert bool(metadata.get_all("Project-URL")) == bool(address)
    assert not any(each.startswith("numba") for each in metadata.get_all("Requires-Dist") if "extra ==" not in each)
    assert "make book" in metadata.get_payload()


def version_of(project):
    """The version in pyproject.toml, its one place."""
    return project["project"]["version"]


def test_the_links_follow_from_one_address(derived):
    config = f"title: x\n\nrepository:  # a note\n  url: {ADDRESS}  # another\n  branch: next\n\nhtml:\n  url: no\n"
    assert derived.setting("url", config) == ADDRESS
    assert derived.setting("branch", config) == "next"
    assert derived.setting("absent", config) == ""
    assert derived.setting("url", config.replace(ADDRESS, '""')) == ""
    assert derived.uniform(f"{ADDRESS}.git") == derived.uniform(f"{ADDRESS}/") == ADDRESS
    assert derived.links("", "next") == {}
    found = derived.links(ADDRESS, "next")
    assert found["Changelog"] == f"{ADDRESS}/blob/next/CHANGELOG.md"
    assert all(link.startswith(ADDRESS) for link in found.values())
    # The reader in setup.py, which must do without a YAML package, agrees with one.
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert derived.setting("url", config) == yaml.safe_load(config)["repository"]["url"]


LEADS = re.compile(r"\]\(([^)#]+)\)")


def test_the_long_description_leads_nowhere_wrong(derived):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    places = LEADS.findall(readme)
    assert places
    assert all((ROOT / place).exists() for place in places)
    bare = derived.long_description(readme, "", "main")
    assert LEADS.findall(bare) == []
    assert "This is the figure" not in bare
    assert "ARCHITECTURE.md" in bare
    linked = LEADS.findall(derived.long_description(readme, ADDRESS, "main"))
    assert [link.split("/main/")[1] for link in linked] == places
    assert f"{ADDRESS}/raw/main/book/_static/readme.svg" in linked
    assert f"{ADDRESS}/blob/main/ARCHITECTURE.md" in linked
