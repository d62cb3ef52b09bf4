"""Exercises that answer back: `check("4.2", answer)` prints "right", or a counterexample and a hint.

Each chapter's checkers live in a module of this package, ch3.py for chapter 3, and register themselves:

    @exercise("4.2", "The peak of the parabola", solution=2.5, mistakes={"the target itself": 5, "half the peak": 1.25})
    def peak(answer):
        m = number(answer)
        if not close(m, 2.5):
            raise Wrong("at m = 2.5 the total is larger than at yours", hint="set the derivative to zero")
        return "a parabola peaks half way between its zeros"

The solution and the mistakes stand beside the checker, and a test runs them all.
"""

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...errors import UserError, unknown

RELATIVE = 1e-6
"""How far from the expected number an answer may be, relative to it."""

ABSOLUTE = 1e-9
"""How far from an expected 0."""

REGISTRY: dict[str, "Exercise"] = {}


class Wrong(Exception):
    """An answer is wrong.

    Args:
        counterexample: a case in which it fails, with the numbers
        hint: where to look; not the solution
    """

    def __init__(self, counterexample: str, hint: str):
        super().__init__(counterexample)
        self.counterexample, self.hint = counterexample, hint


@dataclass(frozen=True)
class Exercise:
    """One exercise's checker, with the answers that test it.

    Args:
        number: chapter and number, such as "4.2"
        title: a few words
        checker: checker(answer) returns a sentence to add to "right", or None; raises Wrong
        solution: an answer that is right
        mistakes: typical wrong answers, by what went wrong in them
    """

    number: str
    title: str
    checker: Callable[[Any], str | None]
    solution: Any
    mistakes: Mapping[str, Any]


def exercise(number: str, title: str, *, solution: Any, mistakes: Mapping[str, Any]) -> Callable:
    """Register the decorated checker as the exercise of that number.

    Raises:
        UserError: if the number is taken or is not like "4.2", or fewer than two mistakes are given
    """

    def register(checker: Callable) -> Callable:
        if not re.fullmatch(r"\d+\.\d+", number):
            raise UserError(f"an exercise's number is chapter and number, such as 4.2, not {number!r}")
        if number in REGISTRY:
            raise UserError(f"exercise {number} is there already: {REGISTRY[number].title}")
        if len(mistakes) < 2:
            raise UserError(f"exercise {number} needs two typical mistakes or more, to test its checker")
        REGISTRY[number] = Exercise(number, title, checker, solution, mistakes)
        return checker

    return register


@cache
def load() -> dict[str, Exercise]:
    """All exercises, by number; imports the chapters' modules the first time."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return REGISTRY


def check(number: str, answer: Any) -> None:
    """Check an answer to an exercise and print what came of it.

    Args:
        number: the exercise, such as "4.2"
        answer: a number, a string, a sequence or a function, as the exercise asks

    Raises:
        UserError: if there is no exercise of that number
    """
    exercises = load()
    if number not in exercises:
        raise unknown("exercise", number, exercises)
    print(f"exercise {number}, {verdict(exercises[number], answer)}")


def verdict(which: Exercise, answer: Any) -> str:
    """What `check` prints after the exercise's number."""
    if answer is ... or answer is None:
        return "waiting: put your answer in place of ..."
    try:
        praise = which.checker(answer)
    except Wrong as wrong:
        return f"not yet: {wrong.counterexample}\nhint: {wrong.hint}"
    return f"right: {praise}" if praise else "right"


def number(answer: Any) -> float:
    """The answer as a number (a Python, NumPy or one-element torch number will do)."""
    if isinstance(answer, (str, bool)):
        raise Wrong(f"{answer!r} is not a number", hint="give a number, such as 0.5")
    try:
        return float(answer)
    except (TypeError, ValueError):
        raise Wrong(f"a {type(answer).__name__} is not one number", hint="give a number, such as 0.5") from None


def close(answer: float, expected: float) -> bool:
    """Whether a number is the expected one, up to rounding."""
    return math.isclose(answer, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def one_of(answer: Any, choices: Iterable[str]) -> str:
    """The answer as one of a few words."""
    choices = list(choices)
    word = answer.strip().lower() if isinstance(answer, str) else answer
    if word not in choices:
        raise Wrong(f"{answer!r} is none of: {', '.join(choices)}", hint="answer with one of these words, in quotes")
    return word


def try_cases(answer: Any, cases: Iterable[tuple[Mapping[str, Any], Any]], *, hint: str) -> None:
    """Call the student's function on test cases; the first that fails is the counterexample.

    Args:
        answer: the function
        cases: pairs of arguments by name (passed in that order) and expected value: a number, or a list, array or
            tensor of numbers
        hint: told with every counterexample

    Raises:
        Wrong: where it is no function, raises, returns nothing, or returns something else than expected
    """
    if not callable(answer):
        raise Wrong(f"{answer!r} is not a function", hint="give the function itself, without calling it")
    for arguments, expected in cases:
        shown = ", ".join(f"{name} = {_show(value)}" for name, value in arguments.items())
        try:
            value = answer(*arguments.values())
        except Exception as error:  # the student's own code: whatever it raises is the finding
            raise Wrong(f"for {shown} your function raises {type(error).__name__}: {error}", hint=hint) from error
        if value is None or value is ...:
            raise Wrong(f"for {shown} your function returns nothing", hint="end it with return")
        got, want = _flat(value), _flat(expected)
        if len(got) != len(want) or not all(map(close, got, want)):
            raise Wrong(f"for {shown} your function gives {_show(value)}, not {_show(expected)}", hint=hint)


def _flat(value: Any) -> list[float]:
    """A number, or a list, array or tensor of numbers, as a flat list."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in _flat(item)]
    return [number(value)]


def _show(value: Any) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_show, value)) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
