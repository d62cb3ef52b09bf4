"""One look for every picture of the book: colours with names and roles, and matplotlib's settings.

The colours stay apart for readers with any of the three kinds of colour blindness, and each has a contrast of at
least 3 to 1 against the card it is drawn on (tests/book/test_style.py measures both). Colour is never alone: a loss
has a marker and a dash of its own too.
"""

from dataclasses import dataclass

PAPER = "#ffffff"
"""The opaque card behind every picture: pictures stay light on a dark page."""

COLORS = {
    "label": "#4433bb",  # the output neuron of the right class
    "other": "#663300",  # every other output neuron
    "positive": "#44aa00",  # gradient above 0: descent moves the spike earlier
    "negative": "#cc66cc",  # gradient below 0: descent moves the spike later
    "silent": "#808080",  # a neuron that does not fire; what is left out
    "ink": "#222222",  # axes, text, thresholds
    "grid": "#d9d9d9",  # decoration: may be faint
}
"""What a colour means, by role."""


@dataclass(frozen=True)
class LossStyle:
    """How one loss is drawn in every chapter.

    Args:
        title: the name that readers see
        color: hex colour
        marker: matplotlib's marker
        dash: matplotlib's line style
    """

    title: str
    color: str
    marker: str
    dash: str | tuple

    def line(self) -> dict:
        """Keyword arguments for `ax.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dash, "label": self.title}


LOSSES = {
    "counting": LossStyle("counting", "#0099dd", "o", "-"),
    "enhanced_counting": LossStyle("enhanced counting", "#ff5533", "s", "--"),
    "kernel": LossStyle("kernel", "#3322aa", "^", ":"),
    "tet": LossStyle("TET", "#552255", "D", "-."),
    "timing": LossStyle("timing", "#cc7788", "v", (0, (5, 1, 1, 1, 1, 1))),
    "ttfs": LossStyle("TTFS", "#770011", "X", (0, (1, 1))),
}
"""The six losses, by the names that `snnbook.losses.get` takes."""

RC = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "font.size": 11,
    "axes.titlesize": 11,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["ink"],
    "axes.edgecolor": COLORS["ink"],
    "xtick.color": COLORS["ink"],
    "ytick.color": COLORS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLORS["grid"],
    "grid.linewidth": 0.7,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "svg.hashsalt": "snnbook",  # element ids, and so the bytes, repeat from run to run
    "svg.fonttype": "path",  # no font needed where the page is read
    "image.interpolation": "none",
}
"""matplotlib's settings; `figure` and `explore` apply them, whatever the session had."""
