"""Derive the links and the long description of the package from the repository's address in _config.yml.

All else is in pyproject.toml. Without an address the package has no links, and its long description has neither
the picture nor links to files, because they would lead nowhere outside the repository.
"""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
SECTION = re.compile(r"^repository:[^\n]*\n((?:[ \t]+[^\n]*\n|\s*\n)+)", re.M)
PICTURE = re.compile(r"^!\[([^\]]*)\]\(((?!https?:)[^)]+)\)\n*", re.M)
ABOUT_PICTURE = re.compile(r"^This is the figure [^\n]*\n+", re.M)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?!https?:|#)[^)]+)\)")


def setting(name: str, config: str) -> str:
    """Return an entry of the section `repository` of _config.yml; "" where it is missing or empty."""
    section = SECTION.search(config)
    entry = re.search(rf"^\s+{name}:[ \t]*([^#\n]*)", section[1], re.M) if section else None
    return entry[1].strip().strip("\"'") if entry else ""


def uniform(address: str) -> str:
    """Return an address without the endings that some hosts offer."""
    return address.rstrip("/").removesuffix(".git")


def links(address: str, branch: str) -> dict[str, str]:
    """Return the package's links, by the names that package indexes know; none without an address."""
    if not address:
        return {}
    return {
        "Homepage": address,
        "Source": address,
        "Issues": f"{address}/issues",
        "Changelog": f"{address}/blob/{branch}/CHANGELOG.md",
    }


def long_description(readme: str, address: str, branch: str) -> str:
    """Return README.md as a package index shows it: with absolute links, or without those that lead to files."""
    if not address:
        return LINK.sub(r"\1", ABOUT_PICTURE.sub("", PICTURE.sub("", readme)))
    readme = PICTURE.sub(rf"![\1]({address}/raw/{branch}/\2)\n\n", readme)
    return LINK.sub(rf"[\1]({address}/blob/{branch}/\2)", readme)


if __name__ == "__main__":
    config = (HERE / "_config.yml").read_text(encoding="utf-8")
    address = uniform(setting("url", config))
    branch = setting("branch", config) or "main"
    setup(
        project_urls=links(address, branch),
        long_description=long_description((HERE / "README.md").read_text(encoding="utf-8"), address, branch),
        long_description_content_type="text/markdown",
    )
