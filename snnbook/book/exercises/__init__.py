"""Exercises that check answers: `check("4.1", answer)` prints "right", or a counterexample and a hint.

The text of an exercise is in its chapter's notebook, where the student's answer goes into `check`. Everything else is
in this package, chapter 3 in ch3.py. An exercise is declared by decorating its checker:

    def right_peak(target):
        return (target // 2) * (target - target // 2)

    @exercise(
        "4.1",
        "The strongest push",
        solution=right_peak,
        mistakes={"half a spike": lambda target: target**2 / 4, "one spike": lambda target: target - 1},
        page=values((5,), (9,)),
    )
    def peak(answer):
        compare(answer, right_peak, [(1,), (4,), (5,)], hint="which whole numbers are nearest to target/2?")
        return "an odd target has two best counts"

- The **checker** takes an answer. It raises `Wrong`, with a counterexample and a hint, where the answer is wrong;
  otherwise it returns a sentence to print after "right", or None. It must judge any object without another error.
  The helpers below do most of its work: `compare` for functions, `expect` for numbers, `pair` and `one_of` for two
  numbers and for words.
- The **solution** is an answer that is right: a number, a word, a sequence or a function, as the exercise asks.
- The **mistakes** are typical wrong answers, at least two, by what is wrong about them.
- The **page** is how a built page asks the exercise, without Python: see page.py.

tests/book/test_exercises.py runs all checkers on their solutions and mistakes, and on nonsense.
"""

import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...errors import UserError, unknown

RELATIVE = 1e-6
"""How far from the expected number an answer may be, relative to it."""

ABSOLUTE = 1e-9
"""How far from an expected 0 an answer may be."""

REGISTRY: dict[str, "Exercise"] = {}
"""The exercises declared so far, by number."""


class Wrong(Exception):
    """An answer is wrong.

    Args:
        counterexample: a case in which it fails, with the numbers
        hint: where to look; not the solution
    """

    def __init__(self, counterexample: str, hint: str):
        super().__init__(counterexample)
        self.counterexample = counterexample
        self.hint = hint


@dataclass(frozen=True)
class Exercise:
    """One exercise's checker, with the answers that test it.

    Args:
        number: chapter and number, such as "4.2"
        title: a few words
        checker: checker(answer) returns a sentence to add to "right", or None; raises Wrong
        solution: an answer that is right
        mistakes: typical wrong answers, by what is wrong about them
        page: how a built page asks it, a `page.Page`; None where it does not
    """

    number: str
    title: str
    checker: Callable[[Any], str | None]
    solution: Any
    mistakes: Mapping[str, Any]
    page: Any = None


def exercise(number: str, title: str, *, solution: Any, mistakes: Mapping[str, Any], page: Any = None) -> Callable:
    """Register the decorated checker as the exercise of that number; arguments as in `Exercise`.

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
        REGISTRY[number] = Exercise(number, title, checker, solution, mistakes, page)
        return checker

    return register


@cache
def load() -> dict[str, Exercise]:
    """Return all exercises, by number; import the chapters' modules the first time."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return REGISTRY


def check(number: str, answer: Any) -> None:
    """Check an answer to an exercise and print the verdict.

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
    """Return what `check` prints after the exercise's number."""
    if answer is ... or answer is None:
        return "waiting: put your answer in place of ..."
    try:
        praise = which.checker(answer)
    except Wrong as wrong:
        return f"not yet: {wrong.counterexample}\nhint: {wrong.hint}"
    return f"right: {praise}" if praise else "right"


def number(answer: Any) -> float:
    """Return the answer as a number: Python's, NumPy's or a torch tensor of one element."""
    if isinstance(answer, (str, bool)):
        raise Wrong(f"{answer!r} is not a number", hint="give a number, such as 0.5")
    try:
        return float(answer)
    except (TypeError, ValueError):
        raise Wrong(f"a {type(answer).__name__} is not one number", hint="give a number, such as 0.5") from None


def pair(answer: Any, hint: str) -> tuple[Any, Any]:
    """Return the answer as its two parts."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise Wrong(f"{answer!r} is not a pair", hint=hint)
    first, second = answer
    return first, second


def one_of(answer: Any, choices: Iterable[str]) -> str:
    """Return the answer as one of a few words."""
    choices = list(choices)
    word = answer.strip().lower() if isinstance(answer, str) else answer
    if word not in choices:
        raise Wrong(f"{answer!r} is none of: {', '.join(choices)}", hint="answer with one of these words, in quotes")
    return word


def close(answer: float, expected: float) -> bool:
    """Return whether a number is the expected one, up to rounding."""
    return math.isclose(answer, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def expect(answer: Any, expected: float, *, hint: str, relative: float = RELATIVE, absolute: float = ABSOLUTE) -> None:
    """Compare the answer with the expected number.

    Args:
        answer: a number
        expected: the right one
        hint: printed if the answer is wrong
        relative, absolute: how far off the answer may be

    Raises:
        Wrong: where it is no number or too far off
    """
    value = number(answer)
    if not math.isclose(value, expected, rel_tol=relative, abs_tol=absolute):
        raise Wrong(f"{value:.6g} is too {'large' if value > expected else 'small'}", hint=hint)


def compare(answer: Any, solution: Callable, cases: Iterable[Sequence[Any]], *, hint: str) -> None:
    """Compare the student's function with the solution.

    Args:
        answer: the function
        solution: the right function; a counterexample calls the arguments by the names of its parameters
        cases: the arguments of each call, in their order
        hint: printed with every counterexample

    Raises:
        Wrong: as `try_cases`
    """
    names = list(inspect.signature(solution).parameters)
    try_cases(answer, [(dict(zip(names, case, strict=True)), solution(*case)) for case in cases], hint=hint)


def try_cases(answer: Any, cases: Iterable[tuple[Mapping[str, Any], Any]], *, hint: str) -> None:
    """Call the student's function on test cases; the first that fails is the counterexample.

    Args:
        answer: the function
        cases: pairs of arguments by name (passed in that order) and expected value: a number, or a list, array or
            tensor of numbers
        hint: printed with every counterexample

    Raises:
        Wrong: where it is no function, raises, returns nothing, or returns another value than expected
    """
    if not callable(answer):
        raise Wrong(f"{answer!r} is not a function", hint="give the function itself, without calling it")
    for arguments, expected in cases:
        shown = ", ".join(f"{name} = {_show(value)}" for name, value in arguments.items())
        try:
            value = answer(*arguments.values())
        # This is the student's own code: whatever it raises is the counterexample.
        except Exception as error:
            raise Wrong(f"for {shown} your function raises {type(error).__name__}: {error}", hint=hint) from error
        if value is None or value is ...:
            raise Wrong(f"for {shown} your function returns nothing", hint="end it with return")
        found = _flat(value)
        wanted = _flat(expected)
        if len(found) != len(wanted) or not all(map(close, found, wanted)):
            raise Wrong(f"for {shown} your function gives {_show(value)}, not {_show(expected)}", hint=hint)


def _flat(value: Any) -> list[float]:
    """Return a number, or a list, array or tensor of numbers, as a flat list."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in _flat(item)]
    return [number(value)]


def _show(value: Any) -> str:
    """Return a value as a student would write it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_show, value)) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
