"""Pictures on a dark page: one style sheet inside each SVG, which a browser applies where the page is dark.

A browser shows an SVG in an <img> as the `color-scheme` of that element says; the book's style sheet sets it from the
page's theme. All that reads the SVG otherwise, such as a program for e-books, sees a light picture.
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
