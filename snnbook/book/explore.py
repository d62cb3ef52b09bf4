"""A figure with controls from one pure function: `explore(draw, alt="m = {m}", m=(0, 10), loss=["counting", "tet"])`.

With a kernel, Python redraws the picture at every move. When the book is built, every state is drawn once and packed
into the page as a table of lines. Native inputs and a few lines of JavaScript (explore.js) look the states up.
"""

import hashlib
import inspect
import itertools
import json
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UserError, unknown
from .canvas import FIGSIZE, Canvas, description, name_of, read_caption
from .controls import Control
from .elements import element, note, packed_data
from .shown import NO_CONTROLS, Shown, Still, bare_figure

MAX_STATES = 400
"""Most states of one figure: each costs the build about 50 ms."""

MAX_BYTES = 600_000
"""Most bytes that one figure may add to its page."""

SCRIPT = Path(__file__).with_suffix(".js")

NAME_SLIDERS = """setTimeout(() => {
  const sliders = this.closest('.snn-live')?.querySelectorAll('[role=slider]') ?? [];
  JSON.parse(this.dataset.sliders).forEach(([label, value], i) => {
    sliders[i]?.setAttribute('aria-label', label);
    sliders[i]?.setAttribute('aria-valuetext', value);
  });
}, 100)"""
"""Names the sliders after each drawing: those of ipywidgets give screen readers neither their name nor their value."""


class Explore(Shown):
    """A figure with controls; see `explore`."""

    def __init__(
        self,
        draw,
        *,
        alt,
        figsize=FIGSIZE,
        subplots=None,
        start=None,
        labels=None,
        caption=None,
        play=None,
        drag=None,
        **params,
    ):
        start = start or {}
        labels = labels or {}
        if not params:
            raise UserError("explore needs a parameter to move, such as m=(0, 10); for a still picture use figure")
        for argument, given in (("start", start), ("labels", labels)):
            for name in given:
                if name not in params:
                    raise unknown(f"parameter in {argument}", name, params)
        self.controls = [Control(name, choices, labels.get(name, name)) for name, choices in params.items()]
        self.start = {c.name: c.values[0] for c in self.controls}
        for control in self.controls:
            if control.name in start:
                self.start[control.name] = control.values[control.index(start[control.name])]
        if play is not None and play not in params:
            raise unknown("parameter to play", play, params)
        self.play = play
        self.caption = read_caption(caption)
        self.alt = alt
        # Choices by name, such as of a loss, often bring axes of their own: the margins leave room for each.
        named = [{c.name: value} for c in self.controls if c.by_name for value in c.values]
        self.canvas = Canvas(draw, figsize, subplots, [self.start, *(self.start | choice for choice in named)])
        self._check_signature()
        self.drag = {name: self._read_drag(name, axis) for name, axis in (drag or {}).items()}
        if not callable(alt):
            description(alt, "explore")
        description(self.alt_text(self.start), "explore")
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
        """Go through all states, the last control running fastest."""
        for values in itertools.product(*(c.values for c in self.controls)):
            yield dict(zip(self.start, values, strict=True))

    def alt_text(self, values: dict[str, Any]) -> str:
        """Return the description of one state."""
        if callable(self.alt):
            return " ".join(str(self.alt(**values)).split())
        words = {c.name: c.words[c.index(values[c.name])] for c in self.controls}
        try:
            return " ".join(self.alt.format(**words).split())
        except KeyError as error:
            raise unknown("parameter in alt", error.args[0], words) from None
        except (ValueError, IndexError) as error:
            raise UserError(f"alt={self.alt!r} is no format string for {words}: {error}") from None

    def html(self) -> str:
        """Return the figure for a page without a kernel: every state, drawn and packed.

        Raises:
            UserError: if the states are too heavy for a page
        """
        table, frames = self._frames()
        alts = [self.alt_text(values) for values in self.states()]
        data = packed_data(
            {"lines": list(table), "base": frames[0], "frames": differences(frames), "alts": alts},
            "snn-frames",
            MAX_BYTES,
            f"{name_of(self.canvas.draw)}: {self.count} states",
            "take fewer states, or draw fewer points",
        )
        # Radio buttons of one name exclude each other in the whole page, so each figure's names are its own.
        group = "snn-" + hashlib.sha256((data + repr(self)).encode()).hexdigest()[:10]
        controls = [c.html(c.index(self.start[c.name]), group) for c in self.controls]
        return element(
            "figure",
            {"class": "snn-figure snn-explore"} | self._drag_data(),
            self.canvas.image_tag(self.start, self.alt_text(self.start)),
            element("div", {"class": "snn-controls"}, *controls),
            self._buttons(),
            note("The controls need JavaScript. The picture shows the state at the start."),
            element("p", {"class": "snn-status", "role": "status"}),
            self.caption,
            data,
            element("script", {}, SCRIPT.read_text(encoding="utf-8")),
        )

    def still(self) -> Still:
        return self.canvas.still(self.start, self.alt_text(self.start), NO_CONTROLS)

    def live(self) -> Any:
        return self.widget

    def _read_drag(self, name: str, axis: Any) -> tuple[str, int]:
        """Return the axis that a parameter is dragged along, and the place of its panel."""
        if name not in self.start:
            raise unknown("parameter in drag", name, self.start)
        direction, panel = axis if isinstance(axis, tuple) and len(axis) == 2 else (axis, 0)
        if direction not in ("x", "y") or not isinstance(panel, int):
            raise UserError(f'drag={{{name!r}: {axis!r}}}: give "x" or "y", or ("x", 1) for the second panel')
        (control,) = (c for c in self.controls if c.name == name)
        if control.by_name:
            raise UserError(f"{name} runs through names, which have no place on an axis to be dragged to")
        return direction, panel

    def _drag_data(self) -> dict[str, str | bool]:
        """Return the attribute that tells the script where each value of the draggable parameters lies."""
        found = []
        for name, (direction, panel) in self.drag.items():
            place = list(self.start).index(name)
            places = self.canvas.places(self.start, direction, panel, self.controls[place].values)
            found.append({"control": place, "axis": direction, "places": places})
        return {"data-drag": json.dumps(found)} if found else {}

    def _buttons(self) -> str:
        """Write the buttons below the controls, disabled until the script has started."""
        buttons = []
        if self.play is not None:
            place = list(self.start).index(self.play)
            buttons.append(_button("snn-play", "Play", {"data-control": str(place)}))
        buttons.append(_button("snn-reset", "Reset"))
        buttons.append(_button("snn-link", "Link to this state"))
        return element("div", {"class": "snn-buttons"}, *buttons)

    def _frames(self) -> tuple[dict[str, int], list[list[int]]]:
        """Draw all states: every line that occurs, numbered, and every state as the numbers of its lines."""
        table: dict[str, int] = {}
        frames = []
        for values in self.states():
            lines = self.canvas.svg_lines(values)
            frames.append([table.setdefault(line, len(table)) for line in lines])
        return table, frames

    @cached_property
    def widget(self) -> Any:
        """The figure for a session with a kernel, an ipywidgets box: one picture over sliders."""
        import ipywidgets

        # Names, too, get a slider: JupyterLab keeps the keys that menus and radio buttons need for itself.
        sliders = {
            control.name: ipywidgets.SelectionSlider(
                options=list(zip(control.shown, range(len(control.values)), strict=True)),
                value=control.index(self.start[control.name]),
                description=control.label,
                style={"description_width": "initial"},
            )
            for control in self.controls
        }
        view = ipywidgets.HTML()

        def redraw(_=None) -> None:
            chosen = {name: slider.value for name, slider in sliders.items()}
            values = {c.name: c.values[chosen[c.name]] for c in self.controls}
            names = json.dumps([(c.label, c.shown[chosen[c.name]]) for c in self.controls])
            picture = self.canvas.image_tag(
                values, self.alt_text(values), {"data-sliders": names, "onload": NAME_SLIDERS}
            )
            view.value = bare_figure(picture)

        for slider in sliders.values():
            slider.observe(redraw, "value")
        redraw()
        box = ipywidgets.VBox([view, *sliders.values()])
        box.add_class("snn-live")
        return box

    def _check_signature(self) -> None:
        """Refuse a drawing function that does not take the axes and the parameters."""
        draw = self.canvas.draw
        try:
            inspect.signature(draw).bind(None, **self.start)
        except TypeError as error:
            raise UserError(
                f"{name_of(draw)}{inspect.signature(draw)} does not take the axes and {', '.join(self.start)}: {error}"
            ) from None


def _button(kind: str, words: str, attributes: dict[str, str | bool] | None = None) -> str:
    """Write a button that the script enables."""
    return element("button", {"type": "button", "class": kind, "disabled": True} | (attributes or {}), words)


def differences(frames: list[list[int]]) -> list[list]:
    """Return each state's difference from the first: [0, [place, line, ...]], or [1, all its lines].

    The second form is for states of another length.
    """
    base = frames[0]
    packed: list[list] = []
    for frame in frames:
        if len(frame) != len(base):
            packed.append([1, frame])
            continue
        changes: list[int] = []
        for place, (old, new) in enumerate(zip(base, frame, strict=True)):
            if old != new:
                changes += [place, new]
        packed.append([0, changes])
    return packed


def explore(
    draw: Callable,
    *,
    alt: str | Callable[..., str],
    figsize=FIGSIZE,
    subplots=None,
    start=None,
    labels=None,
    caption: str | None = None,
    play: str | None = None,
    drag: dict[str, str | tuple[str, int]] | None = None,
    **params,
):
    """Show a figure with controls, as the last line of a cell.

    Args:
        draw: draw(ax, **values), a pure function of its values: it the same values must give the same picture
        alt: description of a state: a format string such as "{m} spikes, target {target}", or alt(**values) -> str
        figsize: width and height, inches
        subplots: arguments for matplotlib's `Figure.subplots`; draw then gets the array of axes
        start: values shown first, {name: value}; else each control's first value
        labels: names for readers, {name: label}; plain text, Greek letters too; τ_m gets a subscript in the page
        caption: one sentence that says what to look for; the built page numbers it
        play: name of a parameter whose values a Play button runs through, such as a step of time
        drag: parameters that can also be dragged in the picture: {name: "x"} or "y", where its values lie on that axis
            of the first panel; {name: ("x", 1)} for the second panel
        **params: one control each: (low, high) or (low, high, step) with both ends, a list of values, or a dict from
            the name shown to the value. Numbers get a slider; names, booleans and up to three named numbers radio
            buttons

    Raises:
        UserError: if a parameter cannot be read, alt is missing, play names no parameter, or there are more than 400
            states or 600 kB
    """
    return Explore(
        draw,
        alt=alt,
        figsize=figsize,
        subplots=subplots,
        start=start,
        labels=labels,
        caption=caption,
        play=play,
        drag=drag,
        **params,
    )
