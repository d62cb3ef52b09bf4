"""A raster to edit: click spikes in and out, and see what six losses say to each of them, all at once.

Its states are too many to draw beforehand. The cell computes small exact tables with the package's losses
(fingerprints.py); raster.js looks them up and draws, in the built page and in JupyterLab alike. No loss is written a
second time in JavaScript.
"""

import base64
import gzip
import html
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .canvas import Canvas
from .fingerprints import FAMILIES, T_UNFIRED, Fingerprint, Tables, choice_of, fingerprint
from .shown import NOTE, Still, bundle, html_widget, image_tag
from .style import COLORS, LOSSES

MAX_BYTES = 300_000
"""Most bytes that one raster's tables may add to its page."""

FIGSIZE = (6.4, 6.0)
"""Of the picture that stands where there is no JavaScript, inches."""

LONGEST = 0.85
"""Steps that the longest arrow of a loss spans, as in raster.js."""

ZERO = 5e-10
"""What is smaller is shown as 0, as in raster.js."""

SCRIPT = Path(__file__).with_suffix(".js")
SHEET = Path(__file__).with_suffix(".css")


class Raster:
    """A raster to edit; see `raster`."""

    def __init__(self, starts: dict[str, list[str]], *, label: int = 0, t_unfired: float = 4.0):
        if not isinstance(starts, dict) or not starts:
            raise UserError('raster needs spike trains to start from, such as {"at first": ["0010", "1000"]}')
        self.starts = {name: _read(name, rows) for name, rows in starts.items()}
        shapes = {spikes.shape for spikes in self.starts.values()}
        if len(shapes) > 1:
            raise UserError(f"all starts of a raster need the same neurons and steps, not {sorted(map(tuple, shapes))}")
        steps, neurons = next(iter(shapes))
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < neurons:
            raise UserError(f"label must be a neuron, 0 to {neurons - 1}, not {label!r}")
        self.label, self.t_unfired, self.choice = label, t_unfired, choice_of(t_unfired)
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
        """e at the start, by loss, (T, C)."""
        return {name: self.tables.look_up(name, self.first, self.label, self.t_unfired) for name in FAMILIES}

    @property
    def alt(self) -> str:
        """The start in words: who fires when, and each loss's fingerprint."""
        trains = []
        for i, train in enumerate(self.first.T):
            steps = ", ".join(str(t + 1) for t in train.nonzero().flatten().tolist())
            role = ", the label," if i == self.label else ""
            trains.append(f"neuron {i + 1}{role} {f'fires at {steps}' if steps else 'is silent'}")
        prints = [f"{LOSSES[name].title}: {tell(fingerprint(e))}" for name, e in self.pushes.items()]
        return f"Spike trains: {'; '.join(trains)}. Gradients of the six losses. {'. '.join(prints)}."

    def _draw(self, axes) -> None:
        steps, neurons = self.tables.steps, self.tables.neurons
        for ax, (name, e) in zip(axes.flat, self.pushes.items(), strict=True):
            longest = self.tables.e[name].abs().max()
            for i in range(neurons):
                t = self.first[:, i].nonzero().flatten()
                color = COLORS["label" if i == self.label else "other"]
                ax.vlines(t + 1, i - 0.4, i + 0.4, color=color, linewidth=3)
                lengths = -LONGEST * e[t, i] / longest
                colors = [COLORS["positive" if length < 0 else "negative"] for length in lengths]
                if len(t):
                    ax.quiver(t + 1, [i] * len(t), lengths, [0] * len(t), color=colors, angles="xy", scale_units="xy",
                              scale=1, width=0.012, minlength=0, zorder=3)  # fmt: skip
            ax.set(xlim=(0, steps + 1), ylim=(neurons - 0.4, -0.6), xticks=range(1, steps + 1))
            ax.set_yticks(range(neurons), ["label" if i == self.label else "other" for i in range(neurons)])
            ax.set_title(f"{LOSSES[name].title}\n{tell(fingerprint(e))}", fontsize=9)
            ax.grid(False)
        for ax in axes[-1]:
            ax.set_xlabel("step   (← earlier, later →)", fontsize=10)

    def data(self) -> dict[str, Any]:
        """What raster.js gets: tables, starts, names and colours."""
        losses = []
        for name, family in FAMILIES.items():
            values, index = torch.unique(self.tables.e[name] + 0.0, return_inverse=True)
            look = {"name": name, "title": LOSSES[name].title, "color": LOSSES[name].color, "family": family}
            longest = self.tables.e[name].abs().max().item()
            losses.append(look | {"longest": longest, "values": values.tolist(), "index": index.flatten().tolist()})
        presets = [
            {"name": name, "label": self.label, "rows": spikes.T.int().tolist()} for name, spikes in self.starts.items()
        ]
        choices = ["T" if choice == 1 else f"{choice:g}T" for choice in T_UNFIRED]
        shape = {"steps": self.tables.steps, "neurons": self.tables.neurons}
        looks = {"choices": choices, "choice": self.choice, "colors": COLORS}
        return shape | looks | {"presets": presets, "losses": losses}

    def html(self, live: bool = False) -> str:
        """The raster as it stands in a page; `live`: set into a notebook, where only an image's arrival runs a script.

        Raises:
            UserError: if the tables weigh more than a page should
        """
        packed = gzip.compress(json.dumps(self.data(), separators=(",", ":")).encode(), 9, mtime=0)
        if len(packed) * 4 / 3 > MAX_BYTES:
            raise UserError(
                f"the raster's tables weigh {len(packed) * 4 // 3000} kB, more than {MAX_BYTES // 1000}: take fewer "
                "neurons or steps"
            )
        script = SCRIPT.read_text(encoding="utf-8").rstrip()
        picture = image_tag(self.canvas.svg({}), self.alt, self.canvas.width)
        run = f"<script>{script}(document.currentScript.parentElement);</script>"
        if live:
            arrival = html.escape(f"{script}(this.closest('.snn-raster'))")
            picture, run = picture.replace("<img ", f'<img onload="{arrival}" '), ""
        return (
            # JupyterLab leaves keys alone below an element with that attribute
            f'<figure class="snn-figure snn-raster" data-lm-suppress-shortcuts="true">'
            f"<style>{SHEET.read_text(encoding='utf-8')}</style>{picture}"
            '<p class="snn-note">The raster needs JavaScript. The picture shows the state at the start.</p>'
            f'<script type="text/plain" class="snn-tables">{base64.b64encode(packed).decode()}</script>{run}</figure>'
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        still = Still(lambda: self.canvas.png({}), self.alt, self.canvas.width, NOTE)
        return bundle(repr(self), self.html, lambda: html_widget(self.html(live=True)), still)


def tell(found: Fingerprint) -> str:
    """A fingerprint in words, rounded."""
    if found.ratio is None:
        return "no push"
    return f"sum {signed(found.sum)}, size {found.size:.2f}, ratio {signed(found.ratio)}"


def signed(x: float) -> str:
    """Two decimals with a sign; a zero, up to rounding, has none."""
    return "0" if abs(x) < ZERO else f"{x:+.2f}".replace("-", "−")


def _read(name: str, rows: list[str]) -> Tensor:
    """Spike trains (T, C) from one string of 0s and 1s per neuron."""
    good = isinstance(rows, (list, tuple)) and all(isinstance(row, str) and set(row) <= {"0", "1"} for row in rows)
    if not good or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise UserError(f"{name!r} must be one string of 0s and 1s per neuron, all of one length, not {rows!r}")
    return torch.tensor([[float(spike) for spike in row] for row in rows], dtype=torch.float64).T


def raster(starts: dict[str, list[str]], *, label: int = 0, t_unfired: float = 4.0) -> Raster:
    """Show a raster to edit, with six losses' gradients at every spike, as the last line of a cell.

    Args:
        starts: spike trains to start from, by name, one string per neuron with a character per step, such as
            {"at first": ["001011", "100000"]}; the first is shown at the start
        label: index of the label neuron
        t_unfired: 1, 4 or 20, units of T, for TTFS

    Raises:
        UserError: if the trains cannot be read or differ in shape, or a raster of that size needs too large tables
    """
    return Raster(starts, label=label, t_unfired=t_unfired)
