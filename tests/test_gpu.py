"""On a real GPU: kernels, steps, recorded steps, runs. Skipped where there is none.

Run it as `TRITON_INTERPRET=0 python -m pytest tests/test_gpu.py`: the other tests want Triton's interpreter.
"""

import os
import warnings

import pytest
import torch

from snnbook import NeuronParameters, datasets, devices, ops, records, training
from snnbook.__main__ import main
from snnbook.errors import UserError
from snnbook.records import checkpoints
from snnbook.training import metrics
from snnbook.training.cuda_graph import RecordedStep
from snnbook.training.step import TrainingStep
from snnbook.training.trainer import Trainer, batches

from .conftest import Golden, relative
from .ops.test_ops import LAYER_CASES, VARIANTS, follow_golden_layer, random_layer
from .ops.test_triton import ODD_SIZES
from .ops.test_triton_maps import LAYERS, a_gradient, drawn, exact, maps, products
from .small_runs import BATCH, StopAfter, same_run, small, state
from .test_networks import Step, follow_golden_steps
from .training.test_step import KINDS, everything, same

pytestmark = [
    pytest.mark.usefixtures("data"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.skipif(os.environ["TRITON_INTERPRET"] != "0", reason="Triton interprets; set TRITON_INTERPRET=0"),
]

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
ENGINES = ("reference", "triton")
FULL_PRECISION = pytest.mark.usefixtures("full_precision")


@pytest.fixture
def full_precision():
    with devices.rounding("float32", GPU):
        yield


# ---- kernels ----


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("file", "case"), LAYER_CASES)
def test_golden_layer(file, case, engine):
    follow_golden_layer(Golden(file, case), engine, GPU)


@FULL_PRECISION
@pytest.mark.parametrize("engine", ENGINES)
def test_golden_training_steps(engine):
    follow_golden_steps(Step(engine, GPU))


def test_auto_is_triton():
    assert ops.engine_name("auto", GPU) == "triton"


@pytest.mark.parametrize("neuron", VARIANTS, ids=["exponential", "exact", "nonleaky"])
@pytest.mark.parametrize(("shape", "window"), [*ODD_SIZES, ((5, 50, 32, 28, 28), 2), ((12, 9, 70), 1)])
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_kernels_equal_the_reference(neuron, shape, window, repeats, channels_last):
    """Spikes to the bit, against the reference on a CPU; what is not at a spike is never read."""
    current, threshold, _ = random_layer(shape, seed=2, scale=9)
    current = current[:1].expand(shape) if repeats else current
    on_gpu = current[:1].to(GPU) if repeats else current.to(GPU)
    if channels_last:
        on_gpu = on_gpu.movedim(2, -1).contiguous().movedim(-1, 2)
    on_gpu = on_gpu.expand(shape)
    want, want_saved = ops.get("reference").pooled_forward(current, threshold, neuron, window)
    got, got_saved = ops.get("triton", GPU).pooled_forward(on_gpu, threshold.to(GPU), neuron, window)
    assert torch.equal(got.cpu(), want)
    assert want.any()
    e = torch.where(want > 0, torch.randn(want.shape, generator=torch.Generator().manual_seed(3)), float("nan"))
    for summed in (False, True):
        wanted = ops.get("reference").pooled_backward(e.nan_to_num(), want_saved, summed)
        for ours, theirs in zip(
            ops.get("triton", GPU).pooled_backward(e.to(GPU), got_saved, summed), wanted, strict=True
        ):
            assert (ours is None) == (theirs is None)
            assert ours is None or relative(ours, theirs) < 1e-5


@FULL_PRECISION
@pytest.mark.parametrize("kind", ["pooled", "ninths", "any"])
@pytest.mark.parametrize(
    ("shape", "size", "padding"),
    [
        *LAYERS,
        ((5, 50, 32, 14, 14), (64, 32, 5, 5), 2),
        ((5, 50, 3136), (1024, 3136), 0),
        ((5, 50, 256, 12, 12), (256, 256, 3, 3), 1),
    ],
)
def test_products_are_nearly_as_exact_as_float32(shape, size, padding, kind):
    """The units cut sums off where a CPU rounds them, which makes them some 1e-6 too small, and long ones more.

    cuDNN's gradients to the weights of the last layer are off by 1.9e-5 to 3.7e-5 in full precision (results/LOG.md).
    """
    x, weight, generator = drawn(shape, size, kind)
    grad = a_gradient(x, weight, padding, generator)
    on_gpu = [each.to(GPU) for each in (x, weight)]
    assert maps.fits(*on_gpu, padding)
    got = products(*on_gpu, padding, grad.to(GPU))
    bounds = 1e-5, 1e-5, 4e-5 if shape[2:3] == (256,) else 1e-5
    for ours, want, bound in zip(got, exact(x, weight, padding, grad), bounds, strict=True):
        assert relative(ours.double().cpu(), want) < bound


# ---- steps ----


def trained(device, steps, wrap=lambda one: one, **settings):
    """A step on a small network after some steps, the last on a smaller batch."""
    experiment = small(**settings)
    data = batches(experiment, datasets.load(experiment.dataset, "train"), device)
    torch.manual_seed(5)
    net = experiment.override(engine="reference").build_network()  # thresholds from a CPU, for all alike
    net.initialise(experiment.encode(data.first(BATCH).cpu()), experiment.rate)
    for layer in net.spiking:
        layer.engine = experiment.engine
    net.to(device).train()
    torch.manual_seed(7)
    one = TrainingStep(experiment, net, metrics.Totals(device), static=device.type == "cuda")
    run, pairs = wrap(one), [*data.epoch(0), *data.epoch(1)]
    for number, (images, labels) in enumerate(pairs[:steps]):
        one.set_learning_rate(1e-2 / (number + 1))
        size = BATCH if number < 4 else BATCH - 3
        with devices.rounding(experiment.precision, device):
            run(images[:size], labels[:size])
    return one


@pytest.mark.parametrize("engine", ENGINES)
def test_steps_repeat_to_the_bit(engine):
    same(*(everything(trained(GPU, 5, engine=engine, network="32C5-P2-64C5-P2-128", padding=2)) for _ in range(2)))


@pytest.mark.parametrize("settings", [*KINDS, {"precision": "tf32"}], ids=str)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_recorded_step_is_the_step(settings, engine):
    """Five steps, with another learning rate in between and a smaller batch at the end; recording must not fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = trained(GPU, 5, engine=engine, **settings)
        other = trained(GPU, 5, RecordedStep, engine=engine, **settings)
    differences = [relative(a, b) for a, b in zip(everything(other)[:-1], everything(one)[:-1], strict=True)]
    assert differences == [0.0] * len(differences)
    assert other.totals.batches == 5


@pytest.mark.parametrize("loss", ["enhanced_counting", "timing", "ttfs"])
def test_a_step_on_a_gpu_is_a_step_on_a_cpu(loss):
    """Gradients are held against each other as AdamW's first means, since its step makes much of the smallest."""
    one, other = (trained(device, 1, engine="auto", loss=loss) for device in (CPU, GPU))
    assert relative(other.totals.sums, one.totals.sums) < 1e-5
    means = ([each["exp_avg"] for each in x.optimiser.state_dict()["state"].values()] for x in (other, one))
    for ours, theirs in zip(*means, strict=True):
        assert relative(ours, theirs) < 1e-4


@pytest.mark.parametrize("settings", [*KINDS, {"precision": "tf32"}], ids=str)
def test_no_step_waits_for_the_gpu(settings):
    trainer = Trainer(small(engine="auto", **settings), GPU)
    trainer.initialise()
    trainer.train_epoch(1, lambda *_: None)  # kernels are compiled, the step is recorded
    trainer._begin_epoch()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with devices.rounding(trainer.experiment.precision, GPU):
            for pair in trainer._training.epoch(1):
                trainer._run_step(*pair)
        with pytest.raises(RuntimeError, match="synchroniz"):
            trainer._totals.sums.sum().item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("wrap", [lambda one: one, RecordedStep], ids=["plain", "recorded"])
def test_a_broken_batch_changes_nothing_and_is_reported(wrap):
    one = trained(GPU, 3)
    images, labels = next(iter(batches(one.experiment, datasets.load("fashion_mnist", "train"), GPU).epoch(0)))
    step = wrap(one)
    handle = one.net.layers[0].weight.register_hook(lambda grad: grad * float("nan"))
    for layer in one.net.spiking:
        layer.fold()
    before = everything(one)[:-2]
    step(images, labels)
    handle.remove()
    same(everything(one)[:-2], before)
    with pytest.raises(UserError, match="training broke down"):
        one.totals.read()


def test_bf16_backward_keeps_spikes():
    full, half = (trained(GPU, 1, engine="auto", precision=name) for name in ("float32", "bf16_backward"))
    assert torch.equal(full.totals.sums[:-1], half.totals.sums[:-1])  # all but the gradient's norm
    assert 0 < relative(half.net.layers[0].weight, full.net.layers[0].weight) < 0.1


# ---- runs ----


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """A run of three epochs that nothing disturbed; not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.fit(small(engine="auto", dropout=0.2), folder, "cuda")
    return folder


def test_a_run_says_where_it_ran(finished):
    session = records.read(finished).provenance.sessions[0]
    assert (session.device, session.engine) == (torch.cuda.get_device_name(0), "triton")


def test_the_same_seed_is_the_same_run(finished, tmp_path):
    training.fit(small(engine="auto", dropout=0.2), tmp_path / "run", "cuda")
    same_run(finished, tmp_path / "run")


@pytest.mark.parametrize("mid_epoch", [False, True])
def test_a_stopped_run_goes_on_to_the_same_end(mid_epoch, finished, tmp_path):
    with pytest.raises((KeyboardInterrupt, training.signals.Stopped)):
        training.fit(small(engine="auto", dropout=0.2), tmp_path / "run", "cuda", StopAfter(2, mid_epoch))
    training.resume(tmp_path / "run", "cuda")
    same_run(finished, tmp_path / "run")


def test_a_run_begun_on_a_gpu_goes_on_on_a_cpu(finished, tmp_path, capsys):
    accuracies = {device: training.evaluate(finished, "last", device).accuracy for device in ("cuda", "cpu")}
    assert abs(accuracies["cuda"] - accuracies["cpu"]) <= 0.1  # 30 images
    with pytest.raises((KeyboardInterrupt, training.signals.Stopped)):
        training.fit(small(engine="auto"), tmp_path / "run", "cuda", StopAfter(1))
    assert main(["train", "--resume", str(tmp_path / "run"), "--device", "cpu"]) == 0
    devices_used = [each.device for each in records.read(tmp_path / "run").provenance.sessions]
    assert devices_used == [torch.cuda.get_device_name(0), "cpu"]
    assert state(tmp_path / "run", checkpoints.LAST).epoch == 3
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_properties(GPU).total_memory < 2**34,
    reason="takes 14 GB of the GPU's memory",
)
def test_large_inputs_are_counted_in_64_bits():
    """T times the neurons of a step is beyond 32 bits, as VGG11's first layer is with a large batch."""
    steps, size = 24, 2**27
    current = torch.full((1, 1, 1, size), 10.0, device=GPU).expand(steps, 1, 1, size)
    spikes, _ = ops.get("triton", GPU).pooled_forward(current, torch.ones(1, device=GPU), NeuronParameters(), 1)
    assert spikes.numel() > 2**31
    assert bool((spikes[-1] == 1).all())
