"""The controls of a figure: the values that each runs through, and its native HTML."""

import html
import json
from typing import Any

from ..errors import UserError, unknown
from .elements import element, void_element, with_subscripts

FEW = 3
"""Named numbers up to which radio buttons, which show all names at once, are better than a slider."""

WIDE = 16
"""Letters of label and names together beyond which radio buttons get a row to themselves."""


class Control:
    """One control of a figure.

    Names, booleans and a few named numbers get radio buttons, other numbers a slider.

    Args:
        name: the parameter of the drawing function
        choices: (low, high) or (low, high, step), both ends included; a list or range of values;
            or a dict from the name shown to the value
        label: the name that readers see
    Attributes:
        values: what the control runs through
        shown: each value's name, as readers see it
        words: what stands for each value in alt texts
        by_name: whether it has radio buttons

    Raises:
        UserError: if the choices are none of these, are fewer than two, or repeat
    """

    def __init__(self, name: str, choices: Any, label: str):
        self.name = name
        self.label = label
        self.values = [_plain(name, value) for value in _values(name, choices)]
        named = isinstance(choices, dict)
        words_among_them = any(isinstance(value, (str, bool)) for value in self.values)
        self.by_name = words_among_them or (named and len(self.values) <= FEW)
        names = choices if named else map(show_value, self.values)
        self.shown = [str(name) for name in names]
        self.words = self.shown if self.by_name or named else self.values
        if len(self.values) < 2:
            raise UserError(f"{name}={choices!r} leaves nothing to choose: give two values or more")
        if len(set(self.shown)) < len(self.shown):
            raise UserError(f"{name}={choices!r} shows the same name twice")

    def index(self, value: Any) -> int:
        """Return the place of a value, or of the name under which it is shown."""
        for known in (self.values, self.shown):
            if value in known:
                return known.index(value)
        raise unknown(f"value of {self.name}", value, self.shown)

    def html(self, start: int, group: str) -> str:
        """Write the control as native HTML, disabled until the script has started.

        Args:
            start: place of the value that it starts with
            group: the figure's own name, which keeps its radio buttons apart from those of other figures
        """
        label = with_subscripts(self.label)
        if self.by_name:
            return self._radio_buttons(label, start, group)
        return self._slider(label, start)

    def _radio_buttons(self, label: str, start: int, group: str) -> str:
        """Write one radio button for each value."""
        options = []
        for place, shown in enumerate(self.shown):
            button = {"type": "radio", "name": f"{group}-{self.name}", "value": str(place), "autocomplete": "off"}
            button |= {"disabled": True, "checked": place == start}
            options.append(element("label", {}, void_element("input", button), " ", html.escape(shown)))
        kind = "snn-control"
        if len("".join([self.label, *self.shown])) > WIDE:
            kind += " snn-wide"
        return element("fieldset", {"class": kind}, element("legend", {}, label), *options)

    def _slider(self, label: str, start: int) -> str:
        """Write a slider and its value."""
        shown = self.shown[start]
        slider = {"type": "range", "min": "0", "max": str(len(self.values) - 1), "step": "1", "value": str(start)}
        slider |= {"data-names": json.dumps(self.shown), "aria-valuetext": shown}
        slider |= {"autocomplete": "off", "disabled": True}
        return element(
            "label",
            {"class": "snn-control"},
            element("span", {}, label),
            void_element("input", slider),
            element("span", {"class": "snn-value", "aria-hidden": "true"}, html.escape(shown)),
        )


def show_value(value: Any) -> str:
    """Return a value as readers see it: numbers without trailing zeros, True as yes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(name: str, choices: Any) -> list:
    """Return the values that a control runs through."""
    if isinstance(choices, tuple):
        return _steps(name, choices)
    if isinstance(choices, dict):
        return list(choices.values())
    if isinstance(choices, (list, range)):
        return list(choices)
    raise UserError(
        f"{name}={choices!r}: give (low, high), (low, high, step), a list of values or a dict of named values"
    )


def _plain(name: str, value: Any) -> str | bool | int | float:
    """Return a value as Python's own type; NumPy and torch have others."""
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, (str, bool, int, float)):
        raise UserError(f"{name} runs through {plain!r}: give numbers, names or True and False")
    return plain


def _steps(name: str, ends: tuple) -> list:
    """Return the numbers from low to high, both included."""
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends)
    if len(ends) not in (2, 3) or not numbers:
        raise UserError(f"{name}={ends!r}: a range is (low, high) or (low, high, step), in numbers; names go in a list")
    low, high = ends[:2]
    step = ends[2] if len(ends) == 3 else 1
    if not (step > 0 and high > low):
        raise UserError(f"{name}={ends!r}: low must be below high, and the step above 0")
    count = round((high - low) / step)
    if abs(low + count * step - high) > 1e-9 * max(abs(low), abs(high)):
        raise UserError(f"{name}={ends!r}: steps of {step} from {low} miss {high}")
    values = [low + place * step for place in range(count + 1)]
    return [round(value, 10) if isinstance(value, float) else value for value in values]
