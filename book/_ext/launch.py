"""Sphinx extension of the book: launch buttons, which open a running copy of a page in a service.

- The address is the repository's in _config.yml. Without one there are no launch buttons, rather than dead ones.
- A service that cannot open the address has no button: Colab opens GitHub alone, Binder GitHub and GitLab.
- A page that is no notebook has no launch buttons.
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
NOTEBOOK = "download-notebook-button"
"""The button for the notebook. A page that is none has it, too, where its cells were run: of no use to a reader."""

AFTER_THEME = 900
"""Event priority: the theme makes its buttons at 501."""


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", configure, priority=100)
    app.connect("html-page-context", keep_notebooks_only, priority=AFTER_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Sphinx, config) -> None:
    """Remove the buttons that lead nowhere from the theme's options.

    Raises:
        ExtensionError: if no button can be made from the repository's address
    """
    options = config.html_theme_options
    host, address = read(options.get("repository_url") or "")
    openers = OPENERS.get(host, OPENERS_ELSEWHERE) if address else ()
    wanted = options.get("launch_buttons", {})
    options["launch_buttons"] = {
        key: value for key, value in wanted.items() if key in openers or not key.endswith("_url")
    }
    if address:
        options["repository_url"] = address
        options["use_repository_button"] = True
        # The theme recognises three providers in the host's name. Others must be named to it; most are GitLab's.
        if not any(name in host for name in ("github", "gitlab", "bitbucket")):
            options.setdefault("repository_provider", "gitlab")


def read(address: str) -> tuple[str, str]:
    """Return the repository's host and its address in a uniform spelling; ("", "") where none is given."""
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
    """Remove the launch buttons from a page that is no notebook, and an empty group of them from any page."""
    notebook = Path(app.env.doc2path(pagename)).suffix == ".ipynb"
    kept = []
    for button in context.get("header_buttons", []):
        inner = [each for each in button.get("buttons", []) if notebook or each.get("label") != NOTEBOOK]
        if button.get("label") == GROUP and not (notebook and inner):
            continue
        kept.append({**button, "buttons": inner} if "buttons" in button else button)
    context["header_buttons"] = kept
