"""Parameters refuse what makes no sense; kernels agree with the recurrence they stand for."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnbook import NeuronParameters, ops
from snnbook.errors import UserError
from snnbook.neuron import eps, kappa

TAU = st.floats(1.1, 50)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tau_m": 3, "tau_s": 3}, "must differ"),
        ({"tau_m": 1}, "above 1"),
        ({"tau_s": -2.0}, "above 1"),
        ({"tau_g": math.nan}, "finite"),
        ({"tau_m": math.inf}, "finite"),
        ({"tau_m": "5"}, "finite number"),
        ({"tau_m": True}, "finite number"),
        ({"kernel": "exactly"}, "Did you mean 'exact'"),
        ({"kernel": "exact", "leaky": False}, "exponential"),
        ({"leaky": 1}, "True or False"),
    ],
)
def test_bad_parameters_get_one_line(settings, words):
    with pytest.raises(UserError, match=words) as caught:
        NeuronParameters(**settings)
    assert "\n" not in str(caught.value)


@given(TAU, TAU)
def test_response_is_what_the_recurrence_leaves_of_a_unit_current(tau_m, tau_s):
    if abs(tau_m - tau_s) < 0.05:
        tau_s = tau_m + 1
    neuron = NeuronParameters(tau_m, tau_s, 2.5)
    current = torch.zeros(9, 1, 1, dtype=torch.float64)
    current[0] = 1
    _, saved = ops.forward(current, torch.tensor([math.inf], dtype=torch.float64), neuron, engine="reference")
    u = saved.du.flatten().cumsum(0)
    expected = torch.tensor([eps(k, neuron) for k in range(9)], dtype=torch.float64)
    torch.testing.assert_close(u, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kernel", ["exponential", "exact"])
def test_kappa_is_the_slope_that_the_backward_pass_sees(kernel):
    neuron = NeuronParameters(5, 3, 2.5, kernel)
    current = torch.zeros(9, 1, 1, dtype=torch.float64)
    current[0] = 1
    _, saved = ops.forward(current, torch.tensor([math.inf], dtype=torch.float64), neuron, engine="reference")
    expected = torch.tensor([kappa(k, neuron) for k in range(9)], dtype=torch.float64)
    torch.testing.assert_close(saved.dg.flatten(), expected)


def test_nothing_responds_to_the_future():
    neuron = NeuronParameters()
    assert eps(-1, neuron) == kappa(-1, neuron) == 0
