"""A figure with controls from one pure function: `explore(draw, alt="m = {m}", m=(0, 10), loss=["counting", "tet"])`.

With a kernel, Python redraws the picture at every move. When the book is built, every state is drawn once and packed
into the page as a table of lines, with native inputs and a few lines of JavaScript (explore.js) that look states up.
"""

import base64
import gzip
import hashlib
import html
import inspect
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UserError, unknown
from .canvas import FIGSIZE, Canvas, name_of, require_text
from .shown import NOTE, Still, bundle, image_tag

MAX_STATES = 400
"""Most states of one figure: each costs the build about 50 ms."""

MAX_BYTES = 600_000
"""Most bytes that one figure may add to its page."""

FEW = 3
"""Named numbers up to which radio buttons, which show all names at once, are better than a slider."""

WIDE = 16
"""Letters of label and names together beyond which radio buttons get a row to themselves."""

SCRIPT = Path(__file__).with_suffix(".js")

NAME_SLIDERS = """setTimeout(() => {
  const sliders = this.closest('.snn-live')?.querySelectorAll('[role=slider]') ?? [];
  JSON.parse(this.dataset.sliders).forEach(([label, value], i) => {
    sliders[i]?.setAttribute('aria-label', label);
    sliders[i]?.setAttribute('aria-valuetext', value);
  });
}, 100)"""
"""ipywidgets' sliders tell a screen reader neither their name nor the value shown: told after each drawing."""


class Control:
    """One control: the values it runs through, the names under which they are shown, and what alt texts tell of them.

    Names, booleans and a few named numbers get radio buttons, other numbers a slider.

    Args:
        name: the parameter of the drawing function
        choices: (low, high) or (low, high, step), both ends included; a list or range of values;
            or a dict from the name shown to the value
        label: the name that readers see

    Raises:
        UserError: if the choices are none of these, are fewer than two, or repeat
    """

    def __init__(self, name: str, choices: Any, label: str):
        self.name, self.label = name, label
        if isinstance(choices, tuple):
            values = _steps(name, choices)
        elif isinstance(choices, (list, range, dict)):
            values = list(choices.values() if isinstance(choices, dict) else choices)
        else:
            raise UserError(
                f"{name}={choices!r}: give (low, high), (low, high, step), a list of values or a dict of named values"
            )
        self.values = [value.item() if hasattr(value, "item") else value for value in values]
        for value in self.values:
            if not isinstance(value, (str, bool, int, float)):
                raise UserError(f"{name} runs through {value!r}: give numbers, names or True and False")
        named = isinstance(choices, dict)
        names = any(isinstance(value, (str, bool)) for value in self.values)
        self.by_name = names or (named and len(self.values) <= FEW)
        self.shown = list(map(str, choices)) if named else list(map(show_value, self.values))
        self.told = self.shown if self.by_name or named else self.values
        if len(self.values) < 2:
            raise UserError(f"{name}={choices!r} leaves nothing to choose: give two values or more")
        if len(set(self.shown)) < len(self.shown):
            raise UserError(f"{name}={choices!r} shows the same name twice")

    def index(self, value: Any) -> int:
        """Place of a value, or of the name under which it is shown."""
        if value in self.values:
            return self.values.index(value)
        if value in self.shown:
            return self.shown.index(value)
        raise unknown(f"value of {self.name}", value, self.shown)

    def html(self, start: int, group: str) -> str:
        """The control as native HTML, disabled until the script has come alive."""
        label = re.sub(r"\b(\w)_(\w+)", r"\1<sub>\2</sub>", html.escape(self.label))
        if self.by_name:
            options = "".join(
                f'<label><input type="radio" name="{group}-{self.name}" value="{i}" autocomplete="off" disabled'
                f"{' checked' if i == start else ''}> {html.escape(shown)}</label>"
                for i, shown in enumerate(self.shown)
            )
            wide = " snn-wide" if len("".join([self.label, *self.shown])) > WIDE else ""
            return f'<fieldset class="snn-control{wide}"><legend>{label}</legend>{options}</fieldset>'
        names, now = html.escape(json.dumps(self.shown)), html.escape(self.shown[start])
        return (
            f'<label class="snn-control"><span>{label}</span><input type="range" min="0" max="{len(self.values) - 1}" '
            f'step="1" value="{start}" data-names="{names}" aria-valuetext="{now}" autocomplete="off" disabled>'
            f'<span class="snn-value" aria-hidden="true">{now}</span></label>'
        )


def show_value(value: Any) -> str:
    """A value as readers see it: numbers without trailing zeros, True as yes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _steps(name: str, spec: tuple) -> list:
    if len(spec) not in (2, 3) or not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in spec):
        raise UserError(f"{name}={spec!r}: a range is (low, high) or (low, high, step), in numbers; names go in a list")
    low, high, step = spec if len(spec) == 3 else (*spec, 1)
    if not (step > 0 and high > low):
        raise UserError(f"{name}={spec!r}: low must be below high, and the step above 0")
    count = round((high - low) / step)
    if abs(low + count * step - high) > 1e-9 * max(abs(low), abs(high)):
        raise UserError(f"{name}={spec!r}: steps of {step} from {low} miss {high}")
    values = [low + i * step for i in range(count + 1)]
    return [round(value, 10) if isinstance(value, float) else value for value in values]


class Explore:
    """A figure with controls; see `explore`."""

    def __init__(self, draw, *, alt, figsize=FIGSIZE, subplots=None, start=None, labels=None, **params):
        start, labels = start or {}, labels or {}
        if not params:
            raise UserError("explore needs a parameter to move, such as m=(0, 10); for a still picture use figure")
        for what, given in (("start", start), ("labels", labels)):
            for name in given:
                if name not in params:
                    raise unknown(f"parameter in {what}", name, params)
        self.controls = [Control(name, choices, labels.get(name, name)) for name, choices in params.items()]
        self.start = {c.name: c.values[c.index(start[c.name]) if c.name in start else 0] for c in self.controls}
        self.alt = alt
        named = [{c.name: value} for c in self.controls if c.by_name for value in c.values]  # often scales of their own
        self.canvas = Canvas(draw, figsize, subplots, [self.start, *(self.start | one for one in named)])
        self._check_signature()
        if not callable(alt):
            require_text(alt, "explore")
        require_text(self.alt_text(self.start), "explore")
        if self.count > MAX_STATES:
            sizes = " x ".join(str(len(c.values)) for c in self.controls)
            raise UserError(f"{sizes} = {self.count} states are more than {MAX_STATES}: take fewer values")

    def __repr__(self) -> str:
        ranges = ", ".join(f"{c.label} {c.shown[0]} to {c.shown[-1]} ({len(c.values)})" for c in self.controls)
        return f"explore: {ranges}. At the start: {self.alt_text(self.start)}"

    @property
    def count(self) -> int:
        """Number of states."""
        return math.prod(len(control.values) for control in self.controls)

    def states(self) -> Iterator[dict[str, Any]]:
        """All states, the last control running fastest."""
        for values in itertools.product(*(c.values for c in self.controls)):
            yield dict(zip(self.start, values, strict=True))

    def alt_text(self, values: dict[str, Any]) -> str:
        """The description of one state."""
        if callable(self.alt):
            return " ".join(str(self.alt(**values)).split())
        told = {c.name: c.told[c.index(values[c.name])] for c in self.controls}
        try:
            return " ".join(self.alt.format(**told).split())
        except KeyError as error:
            raise unknown("parameter in alt", error.args[0], told) from None
        except (ValueError, IndexError) as error:
            raise UserError(f"alt={self.alt!r} is no format string for {told}: {error}") from None

    def html(self) -> str:
        """The figure for a page without a kernel: every state, drawn and packed."""
        table, frames = self._frames()
        alts = [self.alt_text(values) for values in self.states()]
        data = {"lines": list(table), "base": frames[0], "frames": differences(frames), "alts": alts}
        packed = gzip.compress(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode(), 9, mtime=0)
        if len(packed) * 4 / 3 > MAX_BYTES:
            raise UserError(
                f"{name_of(self.canvas.draw)}: {self.count} states weigh {len(packed) * 4 // 3000} kB, more than "
                f"{MAX_BYTES // 1000}: take fewer states, or draw fewer points"
            )
        group = "snn-" + hashlib.sha256(packed + repr(self).encode()).hexdigest()[:10]
        picture = image_tag(self.canvas.svg(self.start), self.alt_text(self.start), self.canvas.width)
        controls = "".join(c.html(c.index(self.start[c.name]), group) for c in self.controls)
        return (
            f'<figure class="snn-figure snn-explore">{picture}<div class="snn-controls">{controls}</div>'
            '<p class="snn-note">The controls need JavaScript. The picture shows the state at the start.</p>'
            '<p class="snn-status" role="status"></p>'
            f'<script type="text/plain" class="snn-frames">{base64.b64encode(packed).decode()}</script>'
            f"<script>{SCRIPT.read_text(encoding='utf-8')}</script></figure>"
        )

    def _frames(self) -> tuple[dict[str, int], list[list[int]]]:
        """Every line that occurs, numbered, and every state as the numbers of its lines."""
        table: dict[str, int] = {}
        frames = [[table.setdefault(line, len(table)) for line in self.canvas.svg_lines(v)] for v in self.states()]
        return table, frames

    @cached_property
    def widget(self):
        """The live figure, an ipywidgets box: one picture over sliders."""
        import ipywidgets

        inputs = {}
        for control in self.controls:
            options = list(zip(control.shown, range(len(control.values)), strict=True))
            # a slider for names too: JupyterLab keeps the keys that menus and radio buttons need for itself
            inputs[control.name] = ipywidgets.SelectionSlider(
                options=options,
                value=control.index(self.start[control.name]),
                description=control.label,
                style={"description_width": "initial"},
            )
        view = ipywidgets.HTML()

        def redraw(_=None) -> None:
            values = {c.name: c.values[inputs[c.name].value] for c in self.controls}
            told = [(c.label, c.shown[inputs[c.name].value]) for c in self.controls]
            picture = image_tag(self.canvas.svg(values), self.alt_text(values), self.canvas.width)
            naming = f'<img data-sliders="{html.escape(json.dumps(told))}" onload="{html.escape(NAME_SLIDERS)}" '
            view.value = f'<figure class="snn-figure" style="margin:0">{picture.replace("<img ", naming)}</figure>'

        for box in inputs.values():
            box.observe(redraw, "value")
        redraw()
        box = ipywidgets.VBox([view, *inputs.values()])
        box.add_class("snn-live")
        return box

    def _check_signature(self) -> None:
        draw = self.canvas.draw
        try:
            inspect.signature(draw).bind(None, **self.start)
        except TypeError as error:
            raise UserError(
                f"{name_of(draw)}{inspect.signature(draw)} does not take the axes and {', '.join(self.start)}: {error}"
            ) from None

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        alt = self.alt_text(self.start)
        still = Still(lambda: self.canvas.png(self.start), alt, self.canvas.width, NOTE)
        return bundle(repr(self), self.html, lambda: self.widget, still)


def differences(frames: list[list[int]]) -> list[list]:
    """Each state against the first: [0, [place, line, ...]], or [1, all its lines] where the lengths differ."""
    base = frames[0]
    return [
        [0, [x for i, (old, new) in enumerate(zip(base, frame, strict=True)) if old != new for x in (i, new)]]
        if len(frame) == len(base)
        else [1, frame]
        for frame in frames
    ]


def explore(
    draw: Callable, *, alt: str | Callable[..., str], figsize=FIGSIZE, subplots=None, start=None, labels=None, **params
):
    """Show a figure with controls, as the last line of a cell.

    Args:
        draw: draw(ax, **values), a pure function of its values: it must draw the same for the same values
        alt: description of a state: a format string such as "{m} spikes, target {target}", or alt(**values) -> str
        figsize: width and height, inches
        subplots: arguments for matplotlib's `Figure.subplots`; draw then gets the array of axes
        start: values shown first, {name: value}; else each control's first value
        labels: names for readers, {name: label}; plain text, Greek letters are welcome, τ_m gets an index in the page
        **params: one control each: (low, high) or (low, high, step) with both ends, a list of values, or a dict from
            the name shown to the value. Numbers get a slider; names, booleans and up to three named numbers radio
            buttons

    Raises:
        UserError: if a parameter cannot be read, alt is missing, or there are more than 400 states or 600 kB
    """
    return Explore(draw, alt=alt, figsize=figsize, subplots=subplots, start=start, labels=labels, **params)
