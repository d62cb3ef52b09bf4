"""The colours of what the page itself draws, as CSS custom properties, for light pages and for dark ones.

Pictures by matplotlib take their colours from results/style.py. The raster is drawn by the page, so it can follow the
page's theme, and JupyterLab's.
"""

from ..results.style import COLORS, LOSSES, PAPER

LIGHT = {
    "card": PAPER,
    "ink": COLORS["ink"],
    "grid": COLORS["grid"],
    "cell": "#767676",
    "tint": "#f1f0fa",
    "brand": "#4433bb",
    "label": COLORS["label"],
    "other": COLORS["other"],
    "earlier": COLORS["positive"],
    "later": COLORS["negative"],
    "silent": COLORS["silent"],
} | {name: loss.color for name, loss in LOSSES.items()}
"""Colours on a light page, by custom property."""

DARK = {
    "card": "#15171c",
    "ink": "#d7dae0",
    "grid": "#31363f",
    "cell": "#7d838e",
    "tint": "#2a2b40",
    "brand": "#a9a1ff",
    "label": "#6743ff",
    "other": "#9d6943",
    "earlier": "#9eff67",
    "later": "#ff73fe",
    "silent": "#8a8f99",
    "counting": "#5498c5",
    "enhanced_counting": "#ffaa99",
    "kernel": "#9f76ff",
    "tet": "#ffe0ff",
    "timing": "#8f5a65",
    "ttfs": "#f83e3c",
}
"""Colours on a dark page. Roles and losses stay apart as on a light one (tests/book/test_theme.py)."""

DARK_PAGES = ('html[data-theme="dark"]', '[data-jp-theme-light="false"]')
"""How the book's theme and JupyterLab mark a dark page."""


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
