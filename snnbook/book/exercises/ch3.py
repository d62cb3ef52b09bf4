"""Checkers of chapter 3: every rate loss keeps time."""

import math

from . import Wrong, close, compare, exercise, number, one_of, pair
from .page import Field, ask, values

DIFFERENCE = 1e-5
"""Half the distance between the two counts in a central difference of the student's loss."""

TOLERANCE = 1e-5
"""How far a coefficient may be from that difference, relative to it, or to 1 where it is small."""

CASES = [(m, target) for target in (1, 2, 5) for m in (1, 2, 3, 7)]
"""Counts and targets on which a loss and its twin are compared."""


@exercise(
    "3.1",
    "Two signs",
    solution=(-0.3, "earlier"),
    mistakes={
        "the rate gradient itself": (0.3, "later"),
        "not divided by T": (-3, "earlier"),
        "summed over the spikes": (-1.5, "earlier"),
        "the direction of the book's rule": (-0.3, "later"),
    },
    page=ask("e", Field("the spikes should come", choices=("earlier", "later"))),
)
def two_signs(answer):
    e, word = pair(answer, 'give a number and a word, such as (0.1, "later")')
    e = number(e)
    word = one_of(word, ["earlier", "later"])
    if close(e, 0.3):
        raise Wrong("descent on e = 0.3 would make the spikes come earlier", hint="0.3 is the rate gradient r")
    if not close(e, -0.3):
        raise Wrong(f"e = {e:g} is not minus the slope of the loss at m = 5", hint="differentiate (m - 2)^2 / (2 T)")
    if word == "later":
        raise Wrong(f"with the rule +1, e would be {-e:g}", hint="descent moves a time against its gradient")
    return "the rule +1 would make a busy neuron busier"


@exercise(
    "3.2",
    "The twin of a loss of your own",
    solution=(lambda m, target: (m**0.5 - target**0.5) ** 2, lambda m, target: (target / m) ** 0.5 - 1),
    mistakes={
        "the rate gradient itself": (lambda m, target: (m - target) ** 4, lambda m, target: 4 * (m - target) ** 3),
        "summed over the spikes": (lambda m, target: (m - target) ** 2, lambda m, target: 2 * m * (target - m)),
        "another loss's twin": (lambda m, target: m - target * math.log(m), lambda m, target: target - m),
        "a loss without the count": (lambda m, target: target, lambda m, target: 0),
    },
    page=values(
        (4, 9),
        of=lambda m, target: (target / m) ** 0.5 - 1,
        mistakes={
            "the rate gradient itself": lambda m, target: 1 - (target / m) ** 0.5,
            "summed over the spikes": lambda m, target: m * ((target / m) ** 0.5 - 1),
            "the loss": lambda m, target: (m**0.5 - target**0.5) ** 2,
        },
        about="e of the loss (√m − √target)²",
    ),
)
def twin_of_your_own(answer):
    hint = "answer = (loss, e), both functions of m and target"
    loss, e = pair(answer, hint)
    if not callable(loss) or not callable(e):
        raise Wrong("these are not two functions", hint=hint)
    wanted = [-_slope(loss, m, target) for m, target in CASES]
    if max(map(abs, wanted)) < TOLERANCE:
        raise Wrong("your loss has the same value for every count", hint="let it depend on m")
    for (m, target), expected in zip(CASES, wanted, strict=True):
        got = _call("e", e, m, target)
        if not math.isclose(got, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            raise Wrong(
                f"at m = {m}, target = {target} your e is {got:.6g}, and minus the slope of your loss {expected:.6g}",
                hint="differentiate the loss in m, and mind the sign of the rule",
            )
    return "every loss of counts has its twin"


def _slope(loss, m, target):
    """Differentiate the student's loss in m, by a central difference."""
    upper = _call("loss", loss, m + DIFFERENCE, target)
    lower = _call("loss", loss, m - DIFFERENCE, target)
    return (upper - lower) / (2 * DIFFERENCE)


def _call(name, function, m, target):
    """Call one of the student's functions; whatever it raises is the counterexample."""
    shown = f"{name}(m = {m:g}, target = {target})"
    try:
        value = function(m, target)
    except Exception as error:
        raise Wrong(f"{shown} raises {type(error).__name__}: {error}", hint="it is called with m > 0") from error
    result = number(value)
    if not math.isfinite(result):
        raise Wrong(f"{shown} is {result}", hint="the loss and its slope must be finite for m > 0")
    return result


def kernel_e(t, T, tau):
    """Compute e of the kernel loss at the only spike of a neuron that should be silent."""
    return -sum(((1 - 1 / tau) ** k / tau) ** 2 for k in range(T - t + 1))


@exercise(
    "3.3",
    "A kernel loss keeps time in another way",
    solution=kernel_e,
    mistakes={
        "kappa not squared": lambda t, T, tau: -sum((1 - 1 / tau) ** k / tau for k in range(T - t + 1)),
        "steps counted from 0": lambda t, T, tau: -sum(((1 - 1 / tau) ** k / tau) ** 2 for k in range(T - t)),
        "the rate gradient itself": lambda t, T, tau: -kernel_e(t, T, tau),
        "the loss": lambda t, T, tau: -kernel_e(t, T, tau) / 2,
    },
    page=values((2, 4, 2.0), (4, 4, 2.0)),
)
def kernel_and_time(answer):
    compare(
        answer,
        kernel_e,
        [(1, 1, 2.0), (2, 4, 2.0), (4, 4, 2.0), (1, 10, 3.0), (7, 10, 5.0)],
        hint="d[t'] is kappa_s(t' - t) from the spike on; e sums kappa_s(t' - t) d[t'] up to T, with a minus",
    )
    return "its size shrinks towards the last step, and the loss with it"
