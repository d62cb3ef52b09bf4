"""Write what follows from pyproject.toml, CITATION.cff and _config.yml into the files that others read.

- `python tools/release.py` updates CITATION.cff, codemeta.json and .zenodo.json.
- `python tools/release.py 0.2.0` sets version and date in pyproject.toml, CITATION.cff and CHANGELOG.md first.
- `python tools/release.py --tag v0.2.0` fails unless the tag is the version's and the version has a date.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import notebooks
import yaml

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+(rc\d+)?")
UNDATED = re.compile(r"^(## .*), in progress$", re.M)


class ReleaseFault(Exception):
    """A version cannot be released as it is."""


def read(name: str) -> str:
    """Return the text of one of the project's files."""
    return (ROOT / name).read_text(encoding="utf-8")


def dated(texts: Mapping[str, str], version: str, date: str) -> dict[str, str]:
    """Return files with a new version and its date.

    Args:
        texts: content of pyproject.toml, CITATION.cff and CHANGELOG.md, by name
        version: such as 0.2.0
        date: ISO 8601
    Raises:
        ReleaseFault: if the version is none, or if CHANGELOG.md has no section in progress
    """
    if not VERSION.fullmatch(version):
        raise ReleaseFault(f"a version looks like 0.2.0 or 0.2.0rc1, not {version!r}")
    project = re.sub(r'^version = "[^"]*"$', f'version = "{version}"', texts["pyproject.toml"], count=1, flags=re.M)
    citation = with_line(with_line(texts["CITATION.cff"], "version", version), "date-released", date)
    changes, count = UNDATED.subn(rf"\1, {version}, {date}", texts["CHANGELOG.md"], count=1)
    if not count:
        raise ReleaseFault("CHANGELOG.md has no section in progress")
    return {"pyproject.toml": project, "CITATION.cff": citation, "CHANGELOG.md": changes}


def with_line(citation: str, key: str, value: str | None) -> str:
    """Return CITATION.cff with one value of its first level changed, added after the version, or removed."""
    lines = [line for line in citation.splitlines() if key == "version" or not line.startswith(f"{key}:")]
    place = next(index for index, line in enumerate(lines) if line.startswith("version:"))
    if key == "version":
        lines[place] = f"version: {value}"
    elif value is not None:
        lines.insert(place + 1, f"{key}: {value}")
    return "\n".join(lines) + "\n"


def derived(project: Mapping, citation_text: str, address: str | None) -> dict[str, str]:
    """Return the files that follow from others, by name.

    Args:
        project: the table `project` of pyproject.toml
        citation_text: content of CITATION.cff
        address: of the repository; None if _config.yml has none
    """
    citation_text = with_line(citation_text, "repository-code", address)
    cited = yaml.safe_load(citation_text)
    paper = cited["preferred-citation"]
    codemeta = {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": project["name"],
        "description": project["description"],
        "version": project["version"],
        "license": f"https://spdx.org/licenses/{project['license']}",
        "author": [{"@type": "Organization", "name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": paper["title"],
            "datePublished": str(paper["year"]),
        },
    }
    zenodo = {
        "title": cited["title"],
        "description": f"{project['description']}.",
        "upload_type": "software",
        "version": project["version"],
        "license": project["license"],
        "creators": [{"name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
    }
    if "date-released" in cited:
        codemeta["datePublished"] = str(cited["date-released"])
        zenodo["publication_date"] = str(cited["date-released"])
    if address:
        codemeta["codeRepository"] = address
        codemeta["issueTracker"] = f"{address}/issues"
    texts = {"codemeta.json": codemeta, ".zenodo.json": zenodo}
    return {"CITATION.cff": citation_text} | {name: json.dumps(text, indent=2) + "\n" for name, text in texts.items()}


def expected() -> dict[str, str]:
    """Return what the derived files should contain."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    found = notebooks.repository()
    return derived(project, read("CITATION.cff"), found[0] if found else None)


def check_tag(tag: str, version: str, citation: Mapping) -> None:
    """Raise ReleaseFault unless the tag is the version's, and the version has a date."""
    if tag != f"v{version}":
        raise ReleaseFault(f"the tag {tag} is not that of version {version}")
    if str(citation["version"]) != version or "date-released" not in citation:
        raise ReleaseFault(f"version {version} has no date: run make release VERSION={version}")


def write(texts: Mapping[str, str]) -> None:
    """Write files whose content is new, and print their names."""
    for name, text in texts.items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{name} is written")


def main() -> int:
    """Run the command; 1 if a version cannot be released."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?")
    parser.add_argument("--tag")
    asked = parser.parse_args()
    try:
        if asked.tag:
            version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
            check_tag(asked.tag, version, yaml.safe_load(read("CITATION.cff")))
            return 0
        if asked.version:
            names = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")
            today = datetime.now(UTC).date().isoformat()
            write(dated({name: read(name) for name in names}, asked.version, today))
        write(expected())
    except (ReleaseFault, notebooks.NotebookFault) as fault:
        print(f"release: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
