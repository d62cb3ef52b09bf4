"""The style of all plots: colours by role, by loss and by run, and matplotlib's settings.

The colours of roles and losses stay apart for readers with any of the three kinds of colour blindness, and each has a
contrast of at least 3 to 1 with the card it is drawn on (tests/book/test_style.py measures both). No difference is in
colour alone: each loss has a marker and a dash, and each run a marker.
"""

from dataclasses import dataclass

PAPER = "#ffffff"
"""The opaque card behind every picture."""

DARK_PAPER = "#15171c"
"""The card on a dark page."""

COLORS = {
    # The output neuron of the right class, and every other output neuron.
    "label": "#4433bb",
    "other": "#663300",
    # Gradients: above 0 descent moves the spike earlier, below 0 later.
    "positive": "#44aa00",
    "negative": "#cc66cc",
    # A neuron that does not fire; what is left out.
    "silent": "#808080",
    # Axes, text, thresholds.
    "ink": "#222222",
    # Decoration, which may be faint.
    "grid": "#d9d9d9",
}
"""Colours by role."""

DARK_COLORS = {
    "label": "#6743ff",
    "other": "#9d6943",
    "positive": "#9eff67",
    "negative": "#ff73fe",
    "silent": "#83888f",
    "ink": "#d7dae0",
    "grid": "#31363f",
}
"""The same roles on a dark page."""


@dataclass(frozen=True)
class LossStyle:
    """How one loss is drawn wherever it is drawn.

    Args:
        title: the name that readers see
        color: hex colour
        dark: hex colour on a dark page
        marker: matplotlib's marker
        dash: matplotlib's line style
    """

    title: str
    color: str
    dark: str
    marker: str
    dash: str | tuple

    def line(self) -> dict:
        """Return keyword arguments for `ax.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dash, "label": self.title}


LOSSES = {
    "counting": LossStyle("counting", "#0099dd", "#5498c5", "o", "-"),
    "enhanced_counting": LossStyle("enhanced counting", "#ff5533", "#ffaa99", "s", "--"),
    "kernel": LossStyle("kernel", "#8800ff", "#9f76ff", "^", ":"),
    "tet": LossStyle("TET", "#552255", "#ffe0ff", "D", "-."),
    "timing": LossStyle("timing", "#cc7788", "#8f5a65", "v", (0, (5, 1, 1, 1, 1, 1))),
    "ttfs": LossStyle("TTFS", "#770011", "#f83e3c", "X", (0, (1, 1))),
}
"""The six losses, by the names that `snnbook.losses.get` takes."""

RUN_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours of runs, used in turn."""

DARK_RUN_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#eeeeee")
"""The same on a dark page: only black changes."""

RUN_MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*", "<")
"""Markers of runs, used in turn. 7 colours and 9 markers have no common factor, so 63 runs look different."""


def run_line(index: int) -> dict[str, str]:
    """Return the colour and marker of a run, as keyword arguments for `ax.plot`.

    Args:
        index: the run's place in the picture, from 0
    """
    return {"color": RUN_COLORS[index % len(RUN_COLORS)], "marker": RUN_MARKERS[index % len(RUN_MARKERS)]}


SETTINGS = {
    # DejaVu comes with matplotlib: the same glyphs on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": COLORS["grid"],
    # With a fixed salt the ids of SVG elements, and so the bytes, are the same in every run.
    "svg.hashsalt": "snnbook",
    # Letters are drawn as paths: the reader's machine needs no font.
    "svg.fonttype": "path",
}
"""matplotlib's settings for the curves of runs (plots.py)."""

BOOK_SETTINGS = SETTINGS | {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "font.size": 11,
    "axes.titlesize": 11,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["ink"],
    "axes.edgecolor": COLORS["ink"],
    "xtick.color": COLORS["ink"],
    "ytick.color": COLORS["ink"],
    "grid.linewidth": 0.7,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "image.interpolation": "none",
}
"""matplotlib's settings for the book's figures, whatever the session had set."""
