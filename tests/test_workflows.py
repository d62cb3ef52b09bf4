"""What a host of the repository runs: workflows of commands that the Makefile has, and forms that can be read."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from .book.conftest import load

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
VARIABLES = set(re.findall(r"^([A-Z]+)\s*[:?]?=", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
ACTION = re.compile(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)")
OF_THE_HOST = "gh release create "
"""The one command that only the host has."""


def parsed(path):
    """Content of a YAML file. YAML 1.1 reads the key `on` as True."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def asked_of_make(command):
    """(targets, variables) of a command that starts with make."""
    program, *words = command.split()
    assert program == "make", command
    variables = {word.partition("=")[0] for word in words if "=" in word}
    return {word for word in words if "=" not in word}, variables


def assert_is_of_the_makefile(command):
    targets, variables = asked_of_make(command)
    assert targets
    assert targets <= TARGETS
    assert variables <= VARIABLES


def test_there_are_workflows_for_tests_pages_and_releases():
    assert [path.stem for path in WORKFLOWS] == ["pages", "release", "tests"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_commands_of_the_makefile(path):
    workflow = parsed(path)
    assert workflow["name"] == path.stem
    assert workflow["on"]
    assert workflow["permissions"]["contents"] == "read"
    assert workflow["jobs"]
    for name, job in workflow["jobs"].items():
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"]), name
        assert job["timeout-minutes"] <= 90
        assert job["steps"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "uses" in step:
                assert ACTION.fullmatch(step["uses"])
            elif not step["run"].startswith(OF_THE_HOST):
                assert_is_of_the_makefile(step["run"])


def test_a_target_that_does_not_exist_is_noticed():
    with pytest.raises(AssertionError):
        assert_is_of_the_makefile("make everything")
    with pytest.raises(AssertionError):
        assert_is_of_the_makefile("make check COLOUR=red")
    with pytest.raises(AssertionError, match="pip install"):
        assert_is_of_the_makefile("pip install .")


def test_the_matrix_has_the_pythons_of_the_package():
    (path,) = (path for path in WORKFLOWS if path.stem == "tests")
    matrix = parsed(path)["jobs"]["matrix"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert matrix["python"] == named
    assert project["requires-python"] == f">={named[0]}"
    assert {system.partition("-")[0] for system in matrix["system"]} == {"ubuntu", "macos", "windows"}


def test_a_release_is_built_once_and_published_without_a_password():
    (path,) = (path for path in WORKFLOWS if path.stem == "release")
    jobs = parsed(path)["jobs"]
    assert "secrets." not in path.read_text(encoding="utf-8")
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["build", "publish"]
    assert [step["run"].split()[:2] for step in jobs["build"]["steps"] if "run" in step] == [["make", "package"]]
    assert jobs["publish"]["steps"][-1]["with"] == {"attestations": True}


@pytest.mark.parametrize("path", [path for path in FORMS if path.stem != "config"], ids=lambda path: path.stem)
def test_an_issue_form_asks_something(path):
    form = parsed(path)
    assert form["name"]
    assert form["description"]
    fields = [field["id"] for field in form["body"]]
    assert len(fields) == len(set(fields)) > 0
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_hooks_and_container_run_commands_of_the_makefile():
    hooks = parsed(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == ["make lint", "make check-notebooks"]
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    for command in [*(hook["entry"] for hook in hooks), container["postCreateCommand"]]:
        assert_is_of_the_makefile(command)


@pytest.fixture(scope="module")
def release():
    load(ROOT / "tools" / "notebooks.py")  # which it imports
    return load(ROOT / "tools" / "release.py")


def test_what_others_read_is_up_to_date(release):
    """Run `make release` without a version after a change of pyproject.toml, CITATION.cff or the address."""
    for name, text in release.expected().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = parsed(ROOT / "CITATION.cff")
    assert cited["keywords"] == project["keywords"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert cited["authors"] == project["authors"]


def test_a_version_and_its_date_are_set_in_one_go(release):
    texts = {
        "pyproject.toml": '[project]\nversion = "0.1.0"\n[tool.x]\nversion = "7"\n',
        "CITATION.cff": "cff-version: 1.2.0\nversion: 0.1.0\nlicense: MIT\n",
        "CHANGELOG.md": "# Changes\n\n## Second edition, in progress\n\n## 0.1.0, in progress\n",
    }
    new = release.dated(texts, "0.2.0", "2027-01-02")
    assert new["pyproject.toml"] == '[project]\nversion = "0.2.0"\n[tool.x]\nversion = "7"\n'
    assert new["CITATION.cff"] == "cff-version: 1.2.0\nversion: 0.2.0\ndate-released: 2027-01-02\nlicense: MIT\n"
    assert new["CHANGELOG.md"].splitlines()[2:] == [
        "## Second edition, 0.2.0, 2027-01-02",
        "",
        "## 0.1.0, in progress",
    ]
    assert release.dated(new, "0.3.0", "2027-05-06")["CITATION.cff"].count("date-released") == 1
    with pytest.raises(release.ReleaseFault, match="looks like"):
        release.dated(texts, "2", "2027-01-02")
    with pytest.raises(release.ReleaseFault, match="no section in progress"):
        release.dated(texts | {"CHANGELOG.md": "# Changes\n"}, "0.2.0", "2027-01-02")


def test_a_tag_must_be_that_of_a_dated_version(release):
    release.check_tag("v0.2.0", "0.2.0", {"version": "0.2.0", "date-released": "2027-01-02"})
    with pytest.raises(release.ReleaseFault, match="not that of"):
        release.check_tag("v0.3.0", "0.2.0", {"version": "0.2.0", "date-released": "2027-01-02"})
    with pytest.raises(release.ReleaseFault, match="no date"):
        release.check_tag("v0.2.0", "0.2.0", {"version": "0.2.0"})


def test_an_address_is_written_where_there_is_one(release):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    address = "https://github.com/me/mine"
    bare, linked = (release.derived(project, citation, each) for each in (None, address))
    assert "http" not in bare["CITATION.cff"]
    assert f"repository-code: {address}\n" in linked["CITATION.cff"]
    assert json.loads(linked["codemeta.json"])["codeRepository"] == address
    assert "codeRepository" not in json.loads(bare["codemeta.json"])
