"""A raster to edit: drag, add and remove spikes, and see the six losses' gradients at all of them.

Its states are too many to draw beforehand. The cell computes small exact tables with the package's losses
(fingerprints.py); raster.js and its parts look them up and draw, in the built page and in JupyterLab alike. So no loss
is written a second time in JavaScript.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, unknown
from ..results.style import COLORS, LOSSES
from .canvas import Canvas, read_caption
from .elements import element, note, packed_data
from .fingerprints import FAMILIES, T_UNFIRED, Fingerprint, Tables, choice_of, fingerprint
from .shown import NO_CONTROLS, Shown, Still, html_widget
from .themes import properties

MAX_BYTES = 300_000
"""Most bytes that one raster's tables may add to its page."""

FIGSIZE = (6.4, 6.0)
"""Size of the picture for readers without JavaScript, inches."""

LONGEST = 0.85
"""Length of a loss's longest arrow, steps, as in raster_draw.js."""

ZERO = 5e-10
"""Smaller numbers are shown as 0, as in raster_draw.js."""

MOVED = "timing"
"""The loss whose arrows the grid shows at first: they change with every step that a spike is moved."""

FOLDER = Path(__file__).parent
PARTS = ("raster_tables", "raster_draw", "raster_address", "raster_controls", "raster_grid", "raster")
"""The script's files, which share one scope; the last one starts it."""

SHEET = Path(__file__).with_suffix(".css")


class Raster(Shown):
    """A raster to edit; see `raster`."""

    def __init__(
        self,
        starts: dict[str, list[str]],
        *,
        label: int = 0,
        t_unfired: float = 4.0,
        loss: str = MOVED,
        caption: str | None = None,
    ):
        if not isinstance(starts, dict) or not starts:
            raise UserError('raster needs spike trains to start from, such as {"at first": ["0010", "1000"]}')
        self.starts = {name: _read(name, rows) for name, rows in starts.items()}
        shapes = {spikes.shape for spikes in self.starts.values()}
        if len(shapes) > 1:
            raise UserError(f"all starts of a raster need the same neurons and steps, not {sorted(map(tuple, shapes))}")
        steps, neurons = next(iter(shapes))
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < neurons:
            raise UserError(f"label must be a neuron, 0 to {neurons - 1}, not {label!r}")
        if loss not in FAMILIES:
            raise unknown("loss", loss, FAMILIES)
        self.caption = read_caption(caption)
        self.label = label
        self.loss = loss
        self.t_unfired = t_unfired
        self.choice = choice_of(t_unfired)
        self.tables = Tables(steps, neurons)
        self.canvas = Canvas(self._draw, FIGSIZE, {"nrows": 3, "ncols": 2, "sharex": True, "sharey": True})

    def __repr__(self) -> str:
        return f"raster: {self.tables.neurons} neurons by {self.tables.steps} steps. At the start: {self.alt}"

    @property
    def first(self) -> Tensor:
        """The spikes shown at the start, (T, C)."""
        return next(iter(self.starts.values()))

    @cached_property
    def pushes(self) -> dict[str, Tensor]:
        """The gradients e at the start, by loss, (T, C)."""
        return {name: self.tables.look_up(name, self.first, self.label, self.t_unfired) for name in FAMILIES}

    def role(self, neuron: int) -> str:
        """Return whether a neuron is the "label" or another."""
        return "label" if neuron == self.label else "other"

    @property
    def alt(self) -> str:
        """The start in words: each neuron's spikes, and each loss's fingerprint."""
        trains = []
        for i, train in enumerate(self.first.T):
            steps = ", ".join(str(t + 1) for t in train.nonzero().flatten().tolist())
            role = ", the label," if i == self.label else ""
            fires = f"fires at {steps}" if steps else "is silent"
            trains.append(f"neuron {i + 1}{role} {fires}")
        prints = [f"{LOSSES[name].title}: {describe(fingerprint(e))}" for name, e in self.pushes.items()]
        return f"Spike trains: {'; '.join(trains)}. Gradients of the six losses. {'. '.join(prints)}."

    def _draw(self, axes) -> None:
        """Draw the start: spikes as bars, and on each an arrow for its gradient."""
        steps = self.tables.steps
        neurons = self.tables.neurons
        roles = [self.role(i) for i in range(neurons)]
        for ax, (name, e) in zip(axes.flat, self.pushes.items(), strict=True):
            longest = self.tables.e[name].abs().max()
            for i, role in enumerate(roles):
                t = self.first[:, i].nonzero().flatten()
                ax.vlines(t + 1, i - 0.4, i + 0.4, color=COLORS[role], linewidth=3)
                if len(t):
                    _draw_arrows(ax, t + 1, i, -LONGEST * e[t, i] / longest)
            ax.set(xlim=(0, steps + 1), ylim=(neurons - 0.4, -0.6), xticks=range(1, steps + 1))
            ax.set_yticks(range(neurons), roles)
            ax.set_title(f"{LOSSES[name].title}\n{describe(fingerprint(e))}", fontsize=9)
            ax.grid(False)
        for ax in axes[-1]:
            ax.set_xlabel("step   (← earlier, later →)", fontsize=10)

    def data(self) -> dict[str, Any]:
        """Return what raster.js needs: tables, starts and names."""
        presets = []
        for name, spikes in self.starts.items():
            presets.append({"name": name, "label": self.label, "rows": spikes.T.int().tolist()})
        return {
            "steps": self.tables.steps,
            "neurons": self.tables.neurons,
            "choices": ["T" if choice == 1 else f"{choice:g}T" for choice in T_UNFIRED],
            "choice": self.choice,
            "chosen": list(FAMILIES).index(self.loss),
            "presets": presets,
            "losses": [self._loss_data(name) for name in FAMILIES],
        }

    def _loss_data(self, name: str) -> dict[str, Any]:
        """Return one loss's table, as its different values and the place of each entry among them."""
        # Adding 0 turns -0 into 0, so that the two count as one value.
        values, index = torch.unique(self.tables.e[name] + 0.0, return_inverse=True)
        return {
            "name": name,
            "title": LOSSES[name].title,
            "family": FAMILIES[name],
            "longest": self.tables.e[name].abs().max().item(),
            "values": values.tolist(),
            "index": index.flatten().tolist(),
        }

    def html(self) -> str:
        """Return the raster for a built page.

        Raises:
            UserError: if the tables are too heavy for a page
        """
        script = element("script", {}, f"{_script()}(document.currentScript.parentElement, true);")
        return self._figure({}, script)

    def live_html(self) -> str:
        """Return the raster for a notebook, where the arrival of an image is all that starts a script.

        A notebook's address belongs to JupyterLab, so the raster leaves it alone.
        """
        return self._figure({"onload": f"{_script()}(this.closest('.snn-raster'), false)"})

    def _figure(self, picture: dict[str, str | bool], *scripts: str) -> str:
        """Write the raster, with further attributes of its picture and scripts at its end."""
        data = packed_data(self.data(), "snn-tables", MAX_BYTES, "the raster's tables", "take fewer neurons or steps")
        return element(
            "figure",
            # JupyterLab leaves keys alone inside an element with this attribute.
            {"class": "snn-figure snn-raster", "data-lm-suppress-shortcuts": "true"},
            element("style", {}, properties(".snn-raster") + SHEET.read_text(encoding="utf-8")),
            self.canvas.image_tag({}, self.alt, picture),
            note("The raster needs JavaScript. The picture shows the state at the start."),
            self.caption,
            data,
            *scripts,
        )

    def still(self) -> Still:
        return self.canvas.still({}, self.alt, NO_CONTROLS)

    def live(self) -> Any:
        return html_widget(self.live_html())


def _script() -> str:
    """Return raster.js and its parts as one function of the figure, and of whether its state is in the address."""
    parts = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in PARTS]
    return "((root, addressed) => {\n" + '"use strict";\n' + "".join(parts) + "})"


def _draw_arrows(ax: Any, steps: Tensor, row: int, lengths: Tensor) -> None:
    """Draw one neuron's arrows, to the left where a spike should come earlier."""
    colors = [COLORS["positive" if length < 0 else "negative"] for length in lengths]
    settings = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.012, "minlength": 0, "zorder": 3}
    ax.quiver(steps, [row] * len(steps), lengths, [0] * len(steps), color=colors, **settings)


def describe(found: Fingerprint) -> str:
    """Return a fingerprint in words, rounded."""
    if found.ratio is None:
        return "no push"
    return f"sum {signed(found.sum)}, size {found.size:.2f}, ratio {signed(found.ratio)}"


def signed(x: float) -> str:
    """Format a number with its sign and two decimals; 0, up to rounding, has no sign."""
    return "0" if abs(x) < ZERO else f"{x:+.2f}".replace("-", "−")


def _read(name: str, rows: list[str]) -> Tensor:
    """Read spike trains, (T, C), from one string of 0s and 1s per neuron."""
    strings = isinstance(rows, (list, tuple)) and all(isinstance(row, str) and set(row) <= {"0", "1"} for row in rows)
    if not strings or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise UserError(f"{name!r} must be one string of 0s and 1s per neuron, all of one length, not {rows!r}")
    return torch.tensor([[float(spike) for spike in row] for row in rows], dtype=torch.float64).T


def raster(
    starts: dict[str, list[str]],
    *,
    label: int = 0,
    t_unfired: float = 4.0,
    loss: str = MOVED,
    caption: str | None = None,
) -> Raster:
    """Show a raster to edit, with the six losses' gradients at every spike, as the last line of a cell.

    Args:
        starts: spike trains to start from, by name, one string per neuron with a character per step, such as
            {"at first": ["001011", "100000"]}; the first is shown at the start
        label: index of the label neuron
        t_unfired: 1, 4 or 20, units of T, for TTFS
        loss: the loss whose arrows the grid shows at first
        caption: one sentence that says what to look for; the built page numbers it

    Raises:
        UserError: if the trains cannot be read or differ in shape, or the raster is too large for tables
    """
    return Raster(starts, label=label, t_unfired=t_unfired, loss=loss, caption=caption)
