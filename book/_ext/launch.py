"""Sphinx extension of the book: buttons that lead to a running copy of a page, where there is an address to lead to.

- the address is the repository's in _config.yml; without one there are no such buttons, rather than dead ones;
- a service that cannot open the address gets none: Colab opens GitHub alone, Binder GitHub and GitLab;
- nor does a page that is no notebook.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

ADDRESS = re.compile(r"https://([\w.-]+\.[a-z]+)/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")
OPENERS = {
    "github.com": ("binderhub_url", "colab_url", "jupyterhub_url"),
    "gitlab.com": ("binderhub_url", "jupyterhub_url"),
}
"""Services that open a repository, by its host."""

OPENERS_ELSEWHERE = ("jupyterhub_url",)
GROUP = "launch-buttons"
NOTEBOOK = "download-notebook-button"  # of a page that is no notebook: what its cells came to, and no use to a reader
AFTER_THEME = 900  # event priority: the theme makes its buttons at 501


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", configure, priority=100)
    app.connect("html-page-context", keep_notebooks_only, priority=AFTER_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Sphinx, config) -> None:
    """Leave in the theme's options the buttons that lead somewhere.

    Raises:
        ExtensionError: if the repository's address is none that a button could be made of
    """
    options = config.html_theme_options
    host, address = read(options.get("repository_url") or "")
    openers = OPENERS.get(host, OPENERS_ELSEWHERE) if address else ()
    wanted = options.get("launch_buttons", {})
    options["launch_buttons"] = {
        key: value for key, value in wanted.items() if key in openers or not key.endswith("_url")
    }
    if address:
        options["repository_url"], options["use_repository_button"] = address, True
        if not any(name.removesuffix(".org").removesuffix(".com") in host for name in (*OPENERS, "bitbucket.org")):
            options.setdefault("repository_provider", "gitlab")  # the theme asks how links to its pages look


def read(address: str) -> tuple[str, str]:
    """Host and address of the repository, in one spelling; ("", "") where none is given."""
    if not address.strip():
        return "", ""
    found = ADDRESS.fullmatch(address.strip())
    if not found:
        raise ExtensionError(
            f"the repository's url in _config.yml must look like https://github.com/NAME/PROJECT, not {address!r}"
        )
    host, owner, project = found.groups()
    return host, f"https://{host}/{owner}/{project}"


def keep_notebooks_only(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Take the launch buttons from a page that is no notebook; an empty group of them from any page."""
    notebook = Path(app.env.doc2path(pagename)).suffix == ".ipynb"
    kept = []
    for button in context.get("header_buttons", []):
        inner = [each for each in button.get("buttons", []) if notebook or each.get("label") != NOTEBOOK]
        if button.get("label") == GROUP and not (notebook and inner):
            continue
        kept.append({**button, "buttons": inner} if "buttons" in button else button)
    context["header_buttons"] = kept
