"""The backward pass as literal double sums over input and output steps, in float64, one neuron at a time.

Written from the equations alone (eq-grad-timing), (eq-grad-weight): no recursion, no vectors, nothing of the package.
"""

import math


def response(k, tau_m, tau_s):
    """eps(k) = ((1 - 1/tau_m)^(k+1) - (1 - 1/tau_s)^(k+1)) tau_m / (tau_m - tau_s)."""
    return ((1 - 1 / tau_m) ** (k + 1) - (1 - 1 / tau_s) ** (k + 1)) * tau_m / (tau_m - tau_s) if k >= 0 else 0.0


def backward_kernel(k, tau_m, tau_s, tau_g, exact):
    """kappa(k)."""
    if exact:
        return response(k, tau_m, tau_s) - response(k - 1, tau_m, tau_s)
    return (1 - 1 / tau_g) ** (k + 1)


def one_neuron(current, theta, e, tau_m, tau_s, tau_g, exact):
    """(spikes, G_t, G_w) of one leaky neuron, lists over time."""
    steps = len(current)
    spikes, du, dg, since = [], [], [], 0
    for t in range(steps):
        inputs = range(since, t + 1)
        u = sum(response(t - k, tau_m, tau_s) * current[k] for k in inputs)
        before = sum(response(t - 1 - k, tau_m, tau_s) * current[k] for k in inputs)
        du.append(u - before)
        dg.append(sum(backward_kernel(t - k, tau_m, tau_s, tau_g, exact) * current[k] for k in inputs))
        spikes.append(u >= theta)
        since = t + 1 if spikes[t] else since
    grad_t, grad_w = [0.0] * steps, [0.0] * steps
    for t in range(steps):
        closing = next((k for k in range(t, steps) if spikes[k]), None)
        if closing is None:
            continue
        a = max(-1 / du[closing], -4.0) if du[closing] > 0 else 0.0
        b = max(-1 / dg[closing], -123456789.0) if dg[closing] > 0 else 0.0
        grad_w[t] = e[closing] * a * response(closing - t, tau_m, tau_s)
        grad_t[t] = -e[closing] * b * backward_kernel(closing - t, tau_m, tau_s, tau_g, exact)
    assert all(math.isfinite(x) for x in grad_t + grad_w)
    return [float(s) for s in spikes], grad_t, grad_w
