"""Exercises that a built page asks without Python: its fields, and what it says to each answer, made at build time.

A page has no kernel. So everything that it may say is computed when the book is built, by the checkers that `check`
calls in JupyterLab: the praise, the counterexample of each typical mistake, the hint. A number may be 1 % off. Where
the answer is a function, the page asks for the function's values in a few cases.

The numbers are folded into base64, so that nobody reads a solution by accident in the page's source. This is no
examination: whoever wants to unfold them can, and every solution is in the book anyway. book/_static/answers.js does.
"""

import base64
import html
import inspect
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import Exercise, Wrong, _flat, _show, verdict

RELATIVE = 0.01
"""How far from the expected number a typed one may be, relative to it: two or three digits are enough."""

ABSOLUTE = 1e-3
"""How far from an expected 0 a typed number may be."""

FARTHEST = 1e4
"""Answers are looked for up to this many times the solution."""

WEIGHTS = [1.02**k for k in range(-200, 300)]
"""Second numbers that are tried where a pair has many right answers: 0.02 to 370."""

HALVINGS = 60
"""Of an interval, in the search for an edge between right and wrong."""


@dataclass(frozen=True)
class Field:
    """One field of an exercise's form.

    Args:
        label: what it asks for
        choices: the words to choose from; none where a number is asked for
        among: the whole numbers that a list may contain; none where the answer is no such list
    """

    label: str
    choices: tuple[str, ...] = ()
    among: tuple[int, ...] = ()


@dataclass(frozen=True)
class Page:
    """How a page asks an exercise.

    Args:
        fields: one for each part of the answer; none where the page asks for values of a function
        cases: the arguments of the function for each value that the page asks for
        of: the function, where it is not the exercise's solution
        mistakes: typical wrong functions, where they are not the exercise's
        about: what the cases are about, in words
        whole: where many pairs are right, the first numbers to try
    """

    fields: tuple[Field, ...] = ()
    cases: tuple[tuple, ...] = ()
    of: Callable | None = None
    mistakes: Mapping[str, Callable] = field(default_factory=dict)
    about: str = ""
    whole: tuple[int, ...] = ()


def ask(*fields: str | Field, whole: Iterable[int] = ()) -> Page:
    """Return a page that asks for the answer itself, one field for each of its parts."""
    made = tuple(each if isinstance(each, Field) else Field(each) for each in fields)
    return Page(fields=made, whole=tuple(whole))


def values(*cases: Sequence[Any], **settings: Any) -> Page:
    """Return a page that asks for the values of a function; settings as in `Page`."""
    return Page(cases=tuple(map(tuple, cases)), **settings)


def placeholder(which: Exercise) -> str:
    """Return the HTML that the page's script turns into a form; without JavaScript nothing is seen of it."""
    folded = base64.b64encode(json.dumps(form(which), ensure_ascii=False).encode()).decode()
    return f'<div class="snn-answer" data-exercise="{html.escape(which.number)}" data-form="{folded}"></div>'


def form(which: Exercise) -> dict:
    """Return an exercise's form: its fields, the right answers, the known mistakes, and what is said to the others.

    An answer is a list with one entry for each field: a word, a range [low, high], or a list of ranges.
    """
    if which.page.cases:
        return _form_of_values(which)
    fields = which.page.fields
    typed = [(_parts(mistake, fields), verdict(which, mistake)) for mistake in which.mistakes.values()]
    made = {
        "fields": [_describe(each, part) for each, part in zip(fields, _parts(which.solution, fields), strict=True)],
        "right": _right(which),
        "known": [{"answer": _ranges(parts), "text": text} for parts, text in typed if parts is not None],
        "other": f"not yet\nhint: {_hint(which, next(iter(which.mistakes.values())))}",
    }
    if fields[0].among:
        made["among"] = {step: _toggled(which, step) for step in fields[0].among}
    return made


def _form_of_values(which: Exercise) -> dict:
    """Return the form of an exercise whose answer is a function."""
    page = which.page
    function = page.of or which.solution
    mistakes = page.mistakes or which.mistakes
    expected = _values(function, page.cases)
    hint = _hint(which, next(iter(which.mistakes.values())))
    known = []
    for name, mistake in mistakes.items():
        found = _values(mistake, page.cases)
        if found is not None:
            text = f"not yet: a typical mistake gives this ({name})\nhint: {hint}"
            known.append({"answer": _ranges(found), "text": text})
    names = list(inspect.signature(function).parameters)
    labels = [
        ", ".join(f"{name} = {_show(value)}" for name, value in zip(names, case, strict=True)) + " gives"
        for case in page.cases
    ]
    return {
        "about": page.about or "Values of your function",
        "fields": [_describe(Field(label), part) for label, part in zip(labels, expected, strict=True)],
        "right": [{"answer": _ranges(expected), "text": verdict(which, which.solution)}],
        "known": known,
        "other": f"not yet\nhint: {hint}",
    }


def _values(function: Callable, cases: Iterable[tuple]) -> list | None:
    """Return a function's values in some cases, as numbers and lists of numbers; None where it has none."""
    found = []
    for case in cases:
        try:
            value = function(*case)
            numbers = _flat(value)
        # A typical mistake may divide by 0 or look into an empty list; then nobody can type its value.
        except (ArithmeticError, LookupError, ValueError, RuntimeError):
            return None
        found.append(numbers if hasattr(value, "__len__") else numbers[0])
    return found


def _parts(answer: Any, fields: tuple[Field, ...]) -> list | None:
    """Return an answer by fields; None where it cannot be typed into them."""
    if len(fields) == 1:
        return [answer]
    return list(answer) if isinstance(answer, (tuple, list)) and len(answer) == len(fields) else None


def _describe(each: Field, part: Any) -> dict:
    """Return what the script needs to draw a field."""
    if each.choices:
        return {"label": each.label, "choices": each.choices}
    return {"label": each.label, "listed": isinstance(part, (list, tuple))}


def _ranges(parts: list) -> list:
    """Return an answer's parts, with a range in place of each number."""
    return [_range(part) for part in parts]


def _range(part: Any) -> Any:
    """Return a word as it is, a number as its range, a list as a list of ranges."""
    if isinstance(part, str):
        return part
    if isinstance(part, (list, tuple)):
        return [_range(each) for each in part]
    slack = max(RELATIVE * abs(part), ABSOLUTE if part == 0 else 0)
    return [part - slack, part + slack]


def _right(which: Exercise) -> list[dict]:
    """Return the right answers: the solution, and where the checker accepts many others, all of them."""
    page = which.page
    text = verdict(which, which.solution)
    if page.whole:
        return [
            {"answer": [[first, first], bounds], "text": "right"}
            for first in page.whole
            for bounds in _intervals(which, first)
        ]
    parts = _parts(which.solution, page.fields)
    answer = _ranges(parts)
    if len(parts) == 1 and isinstance(which.solution, (int, float)):
        answer = [_bounds(which)]
    return [{"answer": answer, "text": text}]


def _bounds(which: Exercise) -> list[float]:
    """Return the range of right numbers around a solution that is a number."""
    solution = which.solution
    low, high = (_edge(which, solution, direction) for direction in (-1, 1))
    # A checker that accepts more than rounded numbers says itself what is right.
    if high - low > RELATIVE * abs(solution):
        return [low, high]
    low, high = _range(solution)
    for mistake in which.mistakes.values():
        # A typical mistake stays one, however near it is.
        if low <= mistake <= solution:
            low = (mistake + solution) / 2
        if solution <= mistake <= high:
            high = (mistake + solution) / 2
    return [low, high]


def _is_right(which: Exercise, answer: Any) -> bool:
    """Return whether the checker accepts an answer."""
    return verdict(which, answer).startswith("right")


def _edge(which: Exercise, start: float, direction: int) -> float:
    """Return how far the right answers go from one of them, up or down."""
    step = 1e-9 * abs(start)
    inside = start
    while _is_right(which, start + direction * step):
        inside = start + direction * step
        step *= 2
        if step > FARTHEST * abs(start):
            return inside
    return _between(inside, start + direction * step, lambda x: _is_right(which, x))


def _between(inside: float, outside: float, accepts: Callable[[float], bool]) -> float:
    """Return the last accepted number between one that is accepted and one that is not."""
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if accepts(middle):
            inside = middle
        else:
            outside = middle
    return inside


def _intervals(which: Exercise, first: int) -> list[list[float]]:
    """Return the intervals of second numbers that are right with a first number."""

    def accepts(weight: float) -> bool:
        return _is_right(which, (first, weight))

    found = []
    for below, weight in itertools.pairwise(WEIGHTS):
        if accepts(weight) and not accepts(below):
            found.append([_between(weight, below, accepts), weight])
        if accepts(below) and not accepts(weight):
            found[-1][1] = _between(below, weight, accepts)
    return found


def _toggled(which: Exercise, step: int) -> str:
    """Return what is said where a list is wrong at one step first."""
    solution = which.solution
    wrong = sorted(set(solution) ^ {step})
    return verdict(which, wrong)


def _hint(which: Exercise, mistake: Any) -> str:
    """Return the hint that an answer gets."""
    try:
        which.checker(mistake)
    except Wrong as wrong:
        return wrong.hint
    raise ValueError(f"exercise {which.number}: {mistake!r} is no mistake")
