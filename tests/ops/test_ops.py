"""Every engine against the golden numbers, against a literal double sum, and against the reference."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnbook import NeuronParameters, ops
from snnbook.errors import UserError
from snnbook.ops import engines, reference

from ..conftest import Golden, golden_cases, relative
from ..oracle import one_neuron

LAYER_CASES = [(f, c) for f in ("neuron.npz", "extra.npz") for c in golden_cases(f, "grad_current_timing")]
VARIANTS = [
    NeuronParameters(5, 3, 2.5),
    NeuronParameters(5, 3, 2.5, "exact"),
    NeuronParameters(5, 3, 2.5, leaky=False),
]


def random_layer(shape, dtype=torch.float32, seed=0, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(shape, generator=generator, dtype=dtype) * scale
    threshold = torch.rand(shape[2], generator=generator, dtype=dtype) + 0.4
    return current, threshold, torch.randn(shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize(("file", "case"), LAYER_CASES)
def test_golden_layer(file, case, engine):
    follow_golden_layer(Golden(file, case), engine)


def follow_golden_layer(golden, engine, device="cpu"):
    """A layer forward and backward, every number of it."""
    current, threshold, grad = (golden(name).to(device) for name in ("current", "threshold", "grad_t"))
    spikes, saved = ops.forward(current, threshold, golden.neuron, engine=engine)
    grad_timing, grad_weight = ops.backward(grad, saved)
    assert torch.equal(spikes.cpu(), golden("spikes"))
    for name, ours in {
        "du": saved.du,
        "du_grad": saved.dg,
        "grad_current_timing": grad_timing,
        "grad_current_weight": grad_weight,
    }.items():
        assert relative(ours, golden(name)) < 1e-4, name


def test_golden_pooling(engine):
    golden = Golden("extra.npz", "pool")
    spikes = golden("spikes")
    assert torch.equal(reference.pool_forward(spikes, 2), golden("output"))
    assert relative(reference.pool_backward(golden("grad_output"), spikes, 2), golden("grad_at_spikes")) < 1e-6
    # Currents strong enough to fire exactly there lead every engine's fused pass over the same numbers.
    current, threshold = spikes * 100 - 1, torch.ones(spikes.shape[2])
    pooled, _ = ops.get(engine).pooled_forward(current, threshold, NeuronParameters(), 2)
    assert torch.equal(pooled, golden("output"))


@given(
    st.integers(1, 9),
    st.booleans(),
    st.lists(st.floats(-2, 3), min_size=9, max_size=9),
    st.floats(0.05, 2),
    st.sampled_from([(5.0, 3.0, 2.5), (7.0, 4.0, 3.5), (3.0, 5.0, 1.5)]),
)
def test_reference_equals_the_double_sum(steps, exact, current, theta, taus):
    current = current[:steps]
    e = [0.3 + k * (-1) ** k for k in range(steps)]
    tensor = torch.tensor(current, dtype=torch.float64).reshape(-1, 1, 1)
    neuron = NeuronParameters(*taus, kernel="exact" if exact else "exponential")
    spikes, saved = ops.forward(tensor, torch.tensor([theta], dtype=torch.float64), neuron, engine="reference")
    grads = ops.backward(torch.tensor(e, dtype=torch.float64).reshape(-1, 1, 1), saved)
    wanted = one_neuron(current, theta, e, *taus, exact)
    for ours, theirs in zip((spikes, *grads), wanted, strict=True):
        torch.testing.assert_close(ours.flatten(), torch.tensor(theirs, dtype=torch.float64), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("neuron", VARIANTS, ids=["exponential", "exact", "nonleaky"])
@pytest.mark.parametrize("shape", [(1, 2, 3), (7, 1, 1), (9, 3, 5, 4, 4), (63, 2, 3, 1, 7), (16, 2, 4, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cpu_engine_equals_reference(neuron, shape, dtype):
    pytest.importorskip("numba")
    current, threshold, e = random_layer(shape, dtype, scale=4)
    e[torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.3] = 0
    want, want_saved = ops.forward(current, threshold, neuron, engine="reference")
    got, got_saved = ops.forward(current, threshold, neuron, engine="cpu")
    assert torch.equal(got, want)
    assert want.any()
    e = torch.where(want > 0, e, float("nan"))  # what is not at a spike must never be read
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for ours, theirs in zip(ops.backward(e, got_saved), ops.backward(e, want_saved), strict=True):
        assert relative(ours, theirs) < tolerance


@pytest.mark.parametrize("neuron", VARIANTS, ids=["exponential", "exact", "nonleaky"])
@pytest.mark.parametrize(
    ("shape", "window"), [((5, 2, 3, 6, 6), 2), ((9, 1, 2, 7, 5), 2), ((1, 2, 1, 6, 9), 3), ((17, 2, 4), 1)]
)
@pytest.mark.parametrize("repeats", [False, True])
def test_fused_pooling_equals_reference(neuron, shape, window, repeats, poisoned_memory):
    pytest.importorskip("numba")
    current, threshold, _ = random_layer(shape, seed=3)
    current = current[:1].expand(shape) if repeats else current
    want, want_saved = ops.get("reference").pooled_forward(current, threshold, neuron, window)
    got, got_saved = ops.get("cpu").pooled_forward(current, threshold, neuron, window)
    assert torch.equal(got, want)
    e = torch.randn(want.shape, generator=torch.Generator().manual_seed(4))
    for summed in (False, True):
        want_t, want_w = ops.get("reference").pooled_backward(e, want_saved, summed)
        got_t, got_w = ops.get("cpu").pooled_backward(e, got_saved, summed)
        assert relative(got_w, want_w) < 1e-5
        assert (got_t is None) == (want_t is None) == summed
        assert summed or relative(got_t, want_t) < 1e-5


def test_a_gradient_of_another_precision_than_the_currents_is_taken():
    pytest.importorskip("numba")
    current, threshold, _ = random_layer((5, 2, 3, 6, 6), seed=3)
    pooled, saved = ops.get("cpu").pooled_forward(current, threshold, NeuronParameters(), 2)
    e = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(4))
    pairs = [ops.get("cpu").pooled_backward(grad, saved) for grad in (e, e.double())]
    for one, other in zip(*pairs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("case", ["orig_T7", "exp_T7"])
def test_cpu_engine_runs_without_the_reference(case, monkeypatch):
    pytest.importorskip("numba")

    def poisoned(*_):
        raise AssertionError("the reference engine was called")

    for name in ("forward", "backward", "pool_forward", "pool_backward"):
        monkeypatch.setattr(reference, name, poisoned)
    golden = Golden("extra.npz", case)
    spikes, saved = ops.forward(golden("current"), golden("threshold"), golden.neuron, engine="cpu")
    grad_timing, _ = ops.backward(golden("grad_t"), saved)
    assert torch.equal(spikes, golden("spikes"))
    assert relative(grad_timing, golden("grad_current_timing")) < 1e-4
    pooled, pass_ = ops.get("cpu").pooled_forward(golden("current"), golden("threshold"), golden.neuron, 3)
    ops.get("cpu").pooled_backward(torch.ones_like(pooled), pass_)


@pytest.mark.parametrize("neuron", VARIANTS, ids=["exponential", "exact", "nonleaky"])
def test_any_strides(neuron, engine):
    current, threshold, e = random_layer((6, 3, 4, 5, 5))
    want, saved = ops.forward(current, threshold, neuron, engine=engine)
    wanted = ops.backward(e, saved)
    for order in [(4, 3, 2, 1, 0), (0, 1, 3, 4, 2), (2, 0, 1, 4, 3)]:
        back = [order.index(axis) for axis in range(5)]
        strided = current.permute(order).contiguous().permute(back)
        strided_e = e.permute(order).contiguous().permute(back)
        got, got_saved = ops.forward(strided, threshold, neuron, engine=engine)
        assert torch.equal(got, want)
        for ours, theirs in zip(ops.backward(strided_e, got_saved), wanted, strict=True):
            assert relative(ours, theirs) < 1e-6
    wide = torch.stack((threshold, threshold), 1)[:, 0]
    assert torch.equal(ops.forward(current, wide, neuron, engine=engine)[0], want)
    one = threshold[:1]
    spikes, _ = ops.forward(current, one.expand(len(threshold)), neuron, engine=engine)
    assert torch.equal(spikes, ops.forward(current, one.repeat(len(threshold)), neuron, engine=engine)[0])


def test_strides_compile_no_kernel_anew():
    pytest.importorskip("numba")
    from snnbook.ops.cpu import neurons

    current, threshold, _ = random_layer((3, 2, 4))
    ops.forward(current, threshold, NeuronParameters(), engine="cpu")
    known = len(neurons.forward.signatures)
    for other in (threshold[:1].expand(4), torch.stack((threshold, threshold), 1)[:, 0]):
        ops.forward(current, other, NeuronParameters(), engine="cpu")
    assert len(neurons.forward.signatures) == known


def test_silent_and_saturated_neurons(engine):
    current = torch.full((6, 1, 2), 1.0)
    current[:, :, 0] = -1
    spikes, saved = ops.forward(current, torch.tensor([1.0, 0.01]), NeuronParameters(), engine=engine)
    assert spikes[:, 0, 0].sum() == 0
    assert spikes[:, 0, 1].sum() == 6
    for grad in ops.backward(torch.ones_like(spikes), saved):
        assert torch.equal(grad[:, 0, 0], torch.zeros(6))
        assert torch.isfinite(grad).all()
        assert (grad[:, 0, 1] != 0).all()


@pytest.mark.parametrize("slope", [0.0, -0.0, -0.5])
def test_a_slope_that_does_not_rise_cuts_the_gradient(engine, slope):
    shape = (2, 1, 1)
    spikes = torch.tensor([0.0, 1.0]).reshape(shape)
    saved = ops.Saved(spikes, torch.full(shape, slope), torch.full(shape, slope), NeuronParameters(), engine)
    for grad in ops.backward(torch.ones(shape), saved):
        assert torch.equal(grad, torch.zeros(shape))


@given(st.integers(0, 10_000), st.sampled_from(["exponential", "exact"]))
def test_neurons_conserve_the_sum(seed, kernel):
    """The sum over a layer's input spikes equals that over its output spikes with dg > 0. Eq. (eq-conserved)."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(8, 3, 12, generator=generator, dtype=torch.float64) < 0.4).double()
    w = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    neuron = NeuronParameters(5, 3, 2.5, kernel)
    spikes, saved = ops.forward(x @ w.T, torch.full((5,), 0.3, dtype=torch.float64), neuron)
    e = torch.randn(spikes.shape, generator=generator, dtype=torch.float64) * spikes
    grad_timing, _ = ops.backward(e, saved)
    below = (grad_timing @ w) * x
    assert abs(below.sum() - e[saved.dg > 0].sum()) < 1e-8 * max(1, e.abs().sum(), below.abs().sum())


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_adjusted_pooling_conserves_the_sum(seed, window):
    generator = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(3, 2, 2, 6, 6, generator=generator, dtype=torch.float64) < 0.3).double()
    mean = reference.pool_forward(spikes, window)
    e = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    shared = reference.pool_backward(e, spikes, window)
    assert abs(shared.sum() - e[mean > 0].sum()) < 1e-10
    assert not shared[spikes == 0].any()


def test_forced_spikes_change_the_intervals_not_the_slopes(engine):
    current, threshold, e = random_layer((5, 2, 3))
    _, saved = ops.forward(current, threshold + 100, NeuronParameters(), engine=engine)
    forced = torch.zeros(5, 2, 3)
    forced[3, 0, 1] = 1
    again = saved.with_spikes(forced)
    assert again.du is saved.du
    grad_timing, _ = ops.backward(e, again)
    assert not grad_timing[4].any()
    with pytest.raises(ValueError, match="shape"):
        saved.with_spikes(forced[:2])


def test_wrong_input_gets_one_line():
    current, threshold, _ = random_layer((5, 2, 3))
    neuron = NeuronParameters()
    spikes, saved = ops.forward(current, threshold, neuron)
    for words, call in {
        r"\(T, N, C": lambda: ops.forward(current[0], threshold, neuron),
        "one entry per channel": lambda: ops.forward(current, threshold[:2], neuron),
        "floating": lambda: ops.forward(current.long(), threshold, neuron),
        "no time step": lambda: ops.forward(current[:0], threshold, neuron),
        "Did you mean 'reference'": lambda: ops.forward(current, threshold, neuron, engine="referense"),
        "cannot run here: it computes in": lambda: ops.forward(current.half(), threshold.half(), neuron, engine="cpu"),
        "the gradient has shape": lambda: ops.backward(spikes[1:], saved),
    }.items():
        with pytest.raises(UserError, match=words):
            call()


def test_auto_falls_back_where_the_fast_engine_cannot_run(monkeypatch):
    device = torch.device("cpu")
    assert ops.engine_name("auto", device, torch.float16) == "reference"
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert ops.engine_name("auto", device) == "reference"
    with pytest.raises(UserError, match="pip install numba"):
        ops.engine_name("cpu", device)


def test_auto_falls_back_where_triton_cannot_build_its_launcher(monkeypatch):
    """A GPU, but no C compiler: said once, before anything is started."""
    pytest.importorskip("triton")
    from triton.runtime import driver

    class Active:
        @property
        def utils(self):
            raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

    monkeypatch.setattr(driver, "_active", Active())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    engines._launcher_obstacle.cache_clear()
    try:
        assert ops.engine_name("auto", torch.device("cuda")) == "reference"
        with pytest.raises(UserError, match=r"C compiler and Python's headers \(Failed to find"):
            ops.engine_name("triton", torch.device("cuda"))
    finally:
        engines._launcher_obstacle.cache_clear()


def test_the_cpu_engine_leaves_torchs_threads_alone():
    """Numba sets torch's number too when its threads first start; a process of its own sees that start."""
    pytest.importorskip("numba")
    code = """if True:
    import torch
    from snnbook import NeuronParameters, ops
    torch.set_num_threads(3)
    ops.forward(torch.rand(2, 1, 1), torch.ones(1), NeuronParameters(), engine="cpu")
    print(torch.get_num_threads())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "3", done.stderr


def test_numba_is_told_its_threads_once(monkeypatch):
    """Telling it takes a lock that forked processes share; one that is killed in between would stop the others."""
    calls = pytest.importorskip("snnbook.ops.cpu.calls")
    x, threshold, neuron = torch.rand(3, 2, 4), torch.ones(4), NeuronParameters()
    ops.forward(x, threshold, neuron, "cpu")
    told = []
    monkeypatch.setattr(calls.numba, "set_num_threads", told.append)
    ops.forward(x, threshold, neuron, "cpu")
    assert told == []
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: before + 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    ops.forward(x, threshold, neuron, "cpu")
    assert told == [min(before + 1, calls.numba.config.NUMBA_NUM_THREADS)]
    calls._told.threads = before


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(engines, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="there is no device cuda:99 on this machine"):
        ops.engine_name("triton", torch.device("cuda:99"))
    assert ops.engine_name("auto", "cuda:99") == "reference"
