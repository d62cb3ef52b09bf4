"""The Triton engine without a GPU: it compiles ahead of time for GPUs, fits them, and says where it cannot run.

What it computes is held against golden numbers and the reference in test_ops.py, in Triton's interpreter.
"""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from snnbook import NeuronParameters, ops
from snnbook.errors import UserError

from ..conftest import relative

triton = pytest.importorskip("triton", reason="the triton engine needs Triton")

GPUS = {"A100": 80, "H100": 90}

ODD_SIZES = [
    ((1, 2, 3), 1),
    ((7, 1, 5), 1),
    ((63, 2, 3), 1),
    ((9, 2, 3, 5, 7), 2),
    ((13, 2, 2, 4, 5), 2),
    ((30, 1, 2, 4, 4), 2),
    ((5, 2, 2, 9, 8), 4),
]
"""Currents (T, N, C, ...) and the window they are pooled by."""

COMPILE = """
import inspect, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from snnbook.ops import triton as host
from snnbook.ops.triton import neurons, weights

POINTERS = {"current", "theta", "spikes", "du_out", "dg_out", "bits", "pooled", "grad", "du_in", "dg_in", "timing",
            "weight", "threshold", "gamma", "beta", "out", "mean_in", "mean_out", "std_in", "std_out", "by_weight",
            "by_gamma", "by_beta", "largest"}
MOVES = {"backward", "backward_pooled", "backward_summed"}  # no spike depends on how exactly they divide
WHOLE = {"size", "stride", "area", "channels", "steps", "count", "height", "width", "fan"}
NEURONS = ("forward", "backward", "forward_pooled", "backward_pooled", "backward_summed")
KERNELS = {name: getattr(neurons, name) for name in NEURONS}
KERNELS |= {name: getattr(weights, name) for name in ("fold", "standardise", "standardise_backward")}
for name, kernel in KERNELS.items():
    for leaky, exact, window, steps in ((True, False, 1, 30), (True, True, 2, 5), (False, False, 3, 3)):
        chosen = {"LEAKY": leaky, "EXACT": exact, "WINDOW": window, "WIDE": 128,
                  "CHUNK": host.chunk(steps, back="backward_" in name)}
        signature, constants = {}, {}
        for place, argument in enumerate(kernel.arg_names):
            if argument in chosen:
                signature[argument], constants[(place,)] = "constexpr", chosen[argument]
            elif argument in POINTERS:
                signature[argument] = {"bits": "*u8", "largest": "*i32"}.get(argument, "*fp32")
            else:
                signature[argument] = "i32" if argument in WHOLE else "fp32"
        source = ASTSource(kernel, signature, constants)
        made = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options=host.OPTIONS)
        assert made.asm["cubin"], name
        text = made.asm["ptx"]
        assert f"sm_{sys.argv[1]}" in text
        assert "fma.rn" not in text, f"{name} contracts products and sums: its spikes would not be the reference's"
        assert name in MOVES or ("div.full" not in text and "div.approx" not in text), f"{name} divides inexactly"
        print(name, leaky, exact, window, made.metadata.shared)
"""


@pytest.mark.slow
@pytest.mark.parametrize("capability", GPUS.values(), ids=GPUS)
def test_compiles_ahead_of_time(capability):
    """Every kernel, in three kinds each, to machine code of a GPU that is not here."""
    environment = os.environ | {"TRITON_INTERPRET": "0"}  # in a process of its own: this one interprets
    command = [sys.executable, "-c", textwrap.dedent(COMPILE), str(capability)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 3 * 8, "every kernel, three times"


@pytest.mark.parametrize("kind", [{}, {"kernel": "exact"}, {"leaky": False}], ids=["default", "exact", "nonleaky"])
@pytest.mark.parametrize(("shape", "window"), ODD_SIZES)
def test_equals_the_reference_on_odd_sizes(kind, shape, window):
    neuron = NeuronParameters(**kind)
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(shape, generator=generator) * 3
    threshold = torch.rand(shape[2], generator=generator) + 0.4
    want, want_saved = ops.get("reference").pooled_forward(current, threshold, neuron, window)
    got, got_saved = ops.get("triton").pooled_forward(current, threshold, neuron, window)
    assert torch.equal(got, want)
    assert want.any()
    e = torch.where(want > 0, torch.randn(want.shape, generator=generator), float("nan"))
    for summed in (False, True):
        for name, ours, theirs in zip(
            ("G_t", "G_w"),
            ops.get("triton").pooled_backward(e, got_saved, summed),
            ops.get("reference").pooled_backward(torch.nan_to_num(e), want_saved, summed),
            strict=True,
        ):
            assert (ours is None) == (theirs is None)
            assert ours is None or relative(ours, theirs) < 1e-5, name


def test_says_where_it_cannot_run(monkeypatch):
    with pytest.raises(UserError, match=r"computes in float32, not torch.float64"):
        ops.engine_name("triton", torch.device("cpu"), torch.float64)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(UserError, match=r"it needs a GPU; take engine 'reference' or 'auto'"):
        ops.engine_name("triton", torch.device("cpu"))
