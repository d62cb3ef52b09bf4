"""Checkers of chapter 1: spikes in time."""

import torch

from ... import ops
from ...encoding import latency
from ...errors import UserError
from ...neuron import NeuronParameters, eps
from . import Wrong, compare, exercise, number, try_cases
from .page import Field, ask, values

INPUTS = (1, 3, 4, 5)
"""Steps of the input spikes in exercise 1.1, counted from 1."""

STEPS = 10
"""Steps that the neuron of exercise 1.1 runs."""

THRESHOLD = 0.8
"""Threshold of the neuron of exercise 1.1."""

PEAK = 4
"""The age at which the peak of exercise 1.2 should be."""

TAU_S = 3.0
"""The synaptic constant of exercise 1.2."""

OLDEST = 1000
"""The largest age of exercise 1.2: far beyond the peak for every constant that a student tries."""


def _fires(inputs=INPUTS) -> list[int]:
    """Return the steps, counted from 1, at which the neuron of exercise 1.1 fires."""
    current = torch.zeros(STEPS, 1, 1, dtype=torch.float64)
    current[[t - 1 for t in inputs]] = 1
    spikes, _ = ops.forward(current, torch.tensor([THRESHOLD]).double(), NeuronParameters(), "reference")
    return (spikes[:, 0, 0].nonzero()[:, 0] + 1).tolist()


@exercise(
    "1.1",
    "Be the neuron",
    solution=[3, 5],
    mistakes={
        "counted from 0": [2, 4],
        "no reset": [3, 4, 5, 6, 7, 8, 9],
        "fires when a spike comes in": [1, 3, 4, 5],
        "one spike only": [3],
    },
    page=ask(Field("steps, such as 2, 7", among=tuple(range(1, STEPS + 1)))),
)
def be_the_neuron(answer):
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if not isinstance(answer, (list, tuple)):
        raise Wrong(f"{answer!r} is not a list of steps", hint="give a list, such as [2, 6]")
    given = [number(step) for step in answer]
    right = _fires()
    for step in range(1, STEPS + 1):
        if (step in given) != (step in right):
            does = "fires" if step in right else "does not fire"
            raise Wrong(
                f"at step {step} the neuron {does}",
                hint="steps count from 1; add up the responses to all inputs since its last spike, age 0 included",
            )
    if given != right:
        raise Wrong(f"{answer!r} does not list each step once, in order", hint=f"give steps from 1 to {STEPS}")
    return "after a spike it starts from nothing"


@exercise(
    "1.2",
    "A peak to order",
    solution=10,
    mistakes={
        "the default constant": 5,
        "the age itself": 4,
        "the peak of the smooth response": 6.0,
        "one age too late": 20.0,
        "equal constants": 3,
    },
    page=ask("τ_m, in steps"),
)
def peak_to_order(answer):
    tau_m = number(answer)
    try:
        neuron = NeuronParameters(tau_m=tau_m, tau_s=TAU_S)
    except UserError as error:
        raise Wrong(str(error), hint="tau_m is a number of steps above 1, other than 3") from error
    heights = [eps(k, neuron) for k in range(OLDEST)]
    peak = heights.index(max(heights))
    if peak != PEAK:
        raise Wrong(
            f"with tau_m = {tau_m:g} the response is largest at age {peak}",
            hint="a longer membrane constant moves the peak to a greater age",
        )
    return f"the response is largest at age {PEAK}"


def weakest(T, theta, tau_m, tau_s):
    """Compute the weakest current that makes the neuron of exercise 1.3 fire."""
    neuron = NeuronParameters(tau_m=tau_m, tau_s=tau_s)
    return theta / sum(eps(k, neuron) for k in range(T))


@exercise(
    "1.3",
    "The weakest current",
    solution=weakest,
    mistakes={
        "the limit for large T": lambda T, theta, tau_m, tau_s: theta / tau_m,
        "the last response alone": lambda T, theta, tau_m, tau_s: (
            theta / eps(T - 1, NeuronParameters(tau_m=tau_m, tau_s=tau_s))
        ),
        "one age too many": lambda T, theta, tau_m, tau_s: weakest(T + 1, theta, tau_m, tau_s),
        "the threshold left out": lambda T, theta, tau_m, tau_s: weakest(T, 1, tau_m, tau_s),
    },
    page=values((2, 1.0, 5.0, 3.0), (3, 0.8, 5.0, 3.0)),
)
def weakest_current(answer):
    compare(
        answer,
        weakest,
        [(1, 1.0, 5.0, 3.0), (5, 0.8, 5.0, 3.0), (12, 1.5, 8.0, 2.0), (200, 1.0, 7.0, 4.0)],
        hint="the potential at step T is c times the sum of the responses at the ages 0 to T - 1",
    )
    return "for large T it approaches theta / tau_m"


@exercise(
    "1.4",
    "Back from a spike to a pixel",
    solution=lambda t, T: (t - 0.5) / T,
    mistakes={
        "steps counted from 0": lambda t, T: (t + 0.5) / T,
        "the lower end": lambda t, T: (t - 1) / T,
        "bright first": lambda t, T: 1 - (t - 0.5) / T,
        "no division": lambda t, T: t - 0.5,
    },
    page=values((1, 4), (3, 10)),
)
def back_to_a_pixel(answer):
    cases = []
    for T in (1, 4, 10):
        middles = torch.tensor([(2 * i + 1) / (2 * T) for i in range(T)], dtype=torch.float64)
        steps = latency(middles.reshape(1, 1, 1, T), T)[:, 0, 0, 0].argmax(0) + 1
        cases += [({"t": t, "T": T}, middle) for t, middle in zip(steps.tolist(), middles.tolist(), strict=True)]
    try_cases(answer, cases, hint="step t takes the intensities from (t - 1)/T up to t/T")
    return "off by 1/(2T) at most"
