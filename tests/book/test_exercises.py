"""Every checker knows its solution from its mistakes, and what it says can be read by a student."""

import numpy as np
import pytest
import torch

from snnbook.book import check
from snnbook.book.exercises import REGISTRY, Exercise, Wrong, close, exercise, load, number, one_of, try_cases, verdict
from snnbook.errors import UserError

MISTAKES = [(n, mistake) for n, which in load().items() for mistake in which.mistakes]


@pytest.mark.parametrize("which", load().values(), ids=lambda which: which.number)
def test_the_solution_is_right(which):
    assert verdict(which, which.solution).startswith("right")


@pytest.mark.parametrize(("which", "rounded"), [("5.2", 1.76), ("5.4", 0.802), ("5.4", 0.8017)])
def test_three_digits_are_an_answer(which, rounded):
    assert verdict(load()[which], rounded).startswith("right")
    assert verdict(load()[which], rounded + 0.01).startswith("not yet: ")


@pytest.mark.parametrize(("which", "mistake"), MISTAKES)
def test_a_typical_mistake_gets_a_counterexample_and_a_hint(which, mistake):
    said = verdict(load()[which], load()[which].mistakes[mistake])
    counterexample, hint = said.split("\nhint: ")
    assert counterexample.startswith("not yet: ")
    assert len(counterexample) > len("not yet: ") + 10
    assert len(hint) > 10


@pytest.mark.parametrize("which", load().values(), ids=lambda which: which.number)
@pytest.mark.parametrize("nonsense", ["", "forty-two", 1e300, float("nan"), [], lambda *_: None, lambda: 1, object()])
def test_nonsense_is_wrong_and_never_a_traceback(which, nonsense):
    assert verdict(which, nonsense).startswith("not yet: ")


@pytest.fixture
def doubling():
    def checker(answer):
        try_cases(answer, [({"x": 1}, 2), ({"x": 3}, 6.0)], hint="twice as much")

    return Exercise("97.1", "Twice", checker, lambda x: 2 * x, {})


def test_what_a_right_answer_gets(doubling):
    assert verdict(doubling, lambda x: 2 * x) == "right"
    assert verdict(doubling, lambda x: torch.tensor(2.0) * x) == "right"
    praised = Exercise("97.2", "", lambda answer: "well seen", 1, {})
    assert verdict(praised, 1) == "right: well seen"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (..., "waiting: put your answer in place of ..."),
        (lambda x: x + 1, "not yet: for x = 3 your function gives 4, not 6\nhint: twice as much"),
        (
            lambda x: x / 0,
            "not yet: for x = 1 your function raises ZeroDivisionError: division by zero\nhint: twice as much",
        ),
        (lambda: 2, "not yet: for x = 1 your function raises TypeError"),
        (lambda x: None, "not yet: for x = 1 your function returns nothing\nhint: end it with return"),
        (lambda x: [2, 2], "not yet: for x = 1 your function gives [2, 2], not 2\nhint: twice as much"),
        (lambda x: "two", "not yet: 'two' is not a number\nhint: give a number"),
        (6, "not yet: 6 is not a function\nhint: give the function itself"),
    ],
)
def test_what_other_answers_get(doubling, answer, said):
    assert verdict(doubling, answer).startswith(said)


def test_expected_lists_are_compared_entry_by_entry():
    cases = [({"t": [1, 2]}, [0.5, -0.5])]
    try_cases(lambda t: torch.tensor([0.5, -0.5], dtype=torch.float64), cases, hint="")
    try_cases(lambda t: np.array([0.5, -0.5]), cases, hint="")
    with pytest.raises(Wrong, match=r"for t = \[1, 2\] your function gives \[0.5, 0.5\], not \[0.5, -0.5\]"):
        try_cases(lambda t: [0.5, 0.5], cases, hint="")


def test_answers_in_many_forms():
    assert number(np.float32(0.5)) == number(torch.tensor([0.5])) == number(0.5) == 0.5
    for wrong in ("0.5", True, [1, 2], object()):
        with pytest.raises(Wrong, match="number"):
            number(wrong)
    assert close(0.1 + 0.2, 0.3)
    assert close(1e-12, 0)
    assert not close(0.3001, 0.3)
    assert one_of(" Yes ", ["yes", "no"]) == "yes"
    with pytest.raises(Wrong, match="none of: yes, no"):
        one_of("maybe", ["yes", "no"])


def test_check_prints_one_verdict(capsys, monkeypatch, doubling):
    monkeypatch.setitem(REGISTRY, "97.1", doubling)
    assert check("97.1", lambda x: 2 * x) is None
    assert capsys.readouterr().out == "exercise 97.1, right\n"


def test_an_exercise_that_is_not_there():
    with pytest.raises(UserError, match=r"unknown exercise '99\.1'"):
        check("99.1", 1)


def test_a_registry_keeps_its_order(monkeypatch, doubling):
    monkeypatch.setitem(REGISTRY, "97.1", doubling)
    two = {"a": 1, "b": 2}
    with pytest.raises(UserError, match="is there already"):
        exercise("97.1", "", solution=1, mistakes=two)(print)
    with pytest.raises(UserError, match="chapter and number"):
        exercise("4", "", solution=1, mistakes=two)(print)
    with pytest.raises(UserError, match="two typical mistakes"):
        exercise("97.3", "", solution=1, mistakes={"a": 1})(print)
