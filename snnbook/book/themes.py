"""Pictures on a dark page.

A picture by matplotlib has one style sheet inside its SVG, which a browser applies where the page is dark. A browser
shows an SVG in an <img> as the `color-scheme` of that element says; the book's style sheet sets it from the page's
theme. All that reads the SVG otherwise, such as a program for e-books, sees a light picture.

The raster is drawn by the page itself. Its colours are CSS custom properties, for the book's theme and JupyterLab's.
"""

from ..results.style import COLORS, DARK_COLORS, DARK_PAPER, DARK_RUN_COLORS, LOSSES, PAPER, RUN_COLORS

TO_DARK = {
    PAPER: DARK_PAPER,
    **{COLORS[role]: DARK_COLORS[role] for role in COLORS},
    **{loss.color: loss.dark for loss in LOSSES.values()},
    **{light: dark for light, dark in zip(RUN_COLORS, DARK_RUN_COLORS, strict=True) if light != dark},
}
"""The dark colour for each light one; a colour that is not here stays as it is."""


def _rules() -> str:
    """Write the rules for fills and strokes, whether a style or an attribute sets them."""
    rules = []
    for light, dark in TO_DARK.items():
        for name in ("fill", "stroke"):
            rules.append(f'[style*="{name}: {light}"],[{name}="{light}"]{{{name}:{dark}!important}}')
    return "".join(rules)


DARK_SHEET = f"<style>@media (prefers-color-scheme:dark){{{_rules()}}}</style>\n"
"""One line of SVG, the first inside each picture."""

PAGE_ROLES = {"positive": "earlier", "negative": "later"}
"""Roles with another name in the page: what the sign of e asks for."""

# Only the page draws these: the edge of a cell, the ground of what is chosen, and the book's own colour.
LIGHT_PAGE = {"cell": "#767676", "tint": "#f1f0fa", "brand": "#4433bb"}
DARK_PAGE = {"cell": "#7d838e", "tint": "#2a2b40", "brand": "#a9a1ff"}

DARK_PAGES = ('html[data-theme="dark"]', '[data-jp-theme-light="false"]')
"""How the book's theme and JupyterLab mark a dark page."""


def _named(paper: str, roles: dict[str, str], page: dict[str, str], losses: dict[str, str]) -> dict[str, str]:
    """Collect the colours of one theme, by custom property."""
    by_role = {PAGE_ROLES.get(role, role): color for role, color in roles.items()}
    return {"card": paper} | by_role | page | losses


LIGHT = _named(PAPER, COLORS, LIGHT_PAGE, {name: loss.color for name, loss in LOSSES.items()})
DARK = _named(DARK_PAPER, DARK_COLORS, DARK_PAGE, {name: loss.dark for name, loss in LOSSES.items()})


def properties(selector: str) -> str:
    """Write a style sheet that sets every colour as a custom property --snn-NAME.

    Args:
        selector: of the elements that use the colours
    """
    dark = ", ".join(f"{page} {selector}" for page in DARK_PAGES)
    return f"{_rule(selector, 'light', LIGHT)}\n{_rule(dark, 'dark', DARK)}\n"


def _rule(selector: str, scheme: str, colors: dict[str, str]) -> str:
    """Write one rule of the style sheet."""
    declarations = "".join(f" --snn-{name}: {color};" for name, color in colors.items())
    return f"{selector} {{ color-scheme: {scheme};{declarations} }}"
