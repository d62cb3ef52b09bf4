"""The training step as a device runs it, on a CPU: nothing waits, nothing breaks silently, a record plays the same."""

import warnings
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from snnbook import datasets, devices, gradient_kinds, layers, losses, networks
from snnbook.errors import UserError
from snnbook.settings import OPTIMISERS
from snnbook.training import cuda_graph as graph
from snnbook.training import metrics, step
from snnbook.training.cuda_graph import RecordedStep
from snnbook.training.step import TrainingStep, clip_gradients
from snnbook.training.trainer import Trainer, batches

from ..small_runs import BATCH, small

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("data")

WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "item", "masked_select", "unique", "_unique2")
"""Operations of aten that wait for a device, since the CPU needs their result."""


class NoWaiting(TorchDispatchMode):
    """Fail at every operation that would wait for a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in WAITING, f"{func} waits for the device"
        masks = args[1] if func.overloadpacket.__name__ in ("index", "index_put", "index_put_") else ()
        assert not any(mask is not None and mask.dtype == torch.bool for mask in masks), f"{func} by a mask waits"
        return func(*args, **(kwargs or {}))


class Tape(TorchDispatchMode):
    """Record operations and their memory. `play` repeats them on the same memory, as a CUDA graph does."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in WAITING, f"{func} cannot be recorded"
        out = func(*args, **(kwargs or {}))
        # what shares memory with an argument is a view, or changed in place, and needs no copy when played
        args_, kwargs_ = tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs or {}))
        self.operations.append((func, args_, kwargs_, tree_map_only(torch.Tensor, torch.Tensor.detach, out)))
        return out

    def play(self):
        with torch.no_grad():
            for func, args, kwargs, out in self.operations:
                again = func(*args, **kwargs)
                for old, new in zip(tree_flatten(out)[0], tree_flatten(again)[0], strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def record(body):
    """Record without a GPU: warm up, and record one run on a tape."""
    body()
    body()
    with Tape() as tape:
        body()
    return tape.play


@pytest.fixture
def as_device(monkeypatch):
    """Switch off the code that reads values on a CPU alone."""
    for module in (gradient_kinds, layers, losses, networks, step, devices):
        monkeypatch.setattr(module, "is_on_cpu", lambda tensor: False)


def training(net=None, **settings):
    """A step on a small network, drawn and initialised the same each time, and the batches of an epoch."""
    experiment = small(**settings)
    data = batches(experiment, datasets.load(experiment.dataset, "train"), CPU)
    torch.manual_seed(5)
    net = experiment.build_network()
    net.initialise(experiment.encode(data.first(BATCH)), experiment.rate)
    net.train()
    torch.manual_seed(7)
    return TrainingStep(experiment, net, metrics.Totals(CPU), static=True), list(data.epoch(0))


def everything(one):
    """All that a step leaves behind."""
    state = [value for each in one.optimiser.state_dict()["state"].values() for value in each.values()]
    return [t.clone() for t in (*one.net.state_dict().values(), *state, one.totals.sums, torch.get_rng_state())]


def same(one, other):
    assert len(one) == len(other)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


KINDS = [
    {"optimiser": "adamw", "dropout": 0.3},
    {"optimiser": "sgd", "learning_rate": 1e-3},
    {"encoding": "latency", "mean": (0.0,), "std": (1.0,)},
    {"pooling": "max"},
    {"supervision": False},
    {"gradient_clip": 1e-3},
    {"precision": "bf16_backward"},
    *({"loss": name} for name in losses.LOSSES),
]


# ---- nothing waits ----


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_nothing_in_a_step_waits_for_the_device(settings, as_device):
    one, pairs = training(engine="reference", **settings)
    with NoWaiting():
        one(*pairs[0])
    assert one.totals.batches == 1


@pytest.mark.parametrize("look", [lambda x: x.sum().item(), lambda x: bool(x.any()), lambda x: x[x > 0], torch.nonzero])
def test_what_waits_is_seen(look):
    with pytest.raises(AssertionError, match="waits"), NoWaiting():
        look(torch.ones(3))


class NoCopies(TorchDispatchMode):
    """Fail where a tensor on the CPU is an argument, which would be copied. Numbers are arguments of a kernel."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
        assert all(each.device.type == "meta" for each in tensors), f"{func} takes a tensor on the CPU"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_nothing_in_a_step_is_sent_to_the_device_or_back(settings):
    """On torch's device of tensors without values: whatever needs one raises, as do tensors on two devices."""
    one, pairs = training(engine="reference", **settings)
    meta = torch.device("meta")
    totals = metrics.Totals(meta)
    one = TrainingStep(one.experiment, one.net.to(meta), totals, static=True)
    one.optimiser.step = lambda: None  # fused, it knows real devices only
    images_and_labels = [each.to(meta) for each in pairs[0]]
    with NoCopies():
        one(*images_and_labels)
    assert one.optimiser.found_inf.device == meta


# ---- a broken batch ----


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("where", ["gradient", "loss"])
def test_a_broken_batch_changes_nothing_and_is_reported(optimiser, where, as_device, monkeypatch):
    one, pairs = training(optimiser=optimiser, learning_rate=1e-3, engine="reference")
    one(*pairs[0])
    for layer in one.net.spiking:
        layer.fold()
    state = everything(one)[:-2]
    one.totals.read()
    if where == "gradient":
        handle = one.net.layers[0].weight.register_hook(lambda grad: grad * float("nan"))
        one(*pairs[1])
        handle.remove()
    else:
        value = one._loss.value_and_times
        monkeypatch.setattr(one._loss, "value_and_times", lambda *a: (value(*a)[0] * float("inf"), value(*a)[1]))
        one(*pairs[1])
    same(everything(one)[:-2], state)
    one(*pairs[2])  # a sound batch after it: still nothing, until the sums are read
    same(everything(one)[:-2], state)
    with pytest.raises(UserError, match="training broke down"):
        one.totals.read()
    if where == "gradient":
        one.net.layers[0].weight.grad.fill_(float("nan"))  # as it is where every batch is broken
        with pytest.raises(UserError, match=r"from layer 1 of 3 \(2C5\) down"):
            one.totals.read(net=one.net)


def test_sound_batches_update_the_weights():
    one, pairs = training()
    before = everything(one)
    one(*pairs[0])
    assert one.optimiser.found_inf.item() == 0
    assert not torch.equal(everything(one)[0], before[0])


@pytest.mark.parametrize("kind", OPTIMISERS)
@pytest.mark.parametrize("bound", [1e3, 22.5, 0.5])  # the norm is 22.49
@pytest.mark.parametrize("where", ["host", "device"])
def test_gradients_are_bounded_as_torch_does(where, bound, kind, request, monkeypatch):
    if where == "device":
        request.getfixturevalue("as_device")
    one, two = ([torch.nn.Parameter(torch.zeros(size)) for size in (8, 4)] for _ in range(2))
    ours, theirs = (OPTIMISERS[kind](each, lr=1e-3, fused=True) for each in (one, two))
    for large in (1, 5, 9):  # entries from which on a norm is taken by itself: of both, of one, of none
        monkeypatch.setattr(step, "LARGE", large)
        for p in (*one, *two):
            p.grad = torch.arange(12.0)[12 - len(p) :] if len(p) < 8 else torch.arange(8.0)
        norm = torch.nn.utils.clip_grad_norm_(two, bound)
        torch.testing.assert_close(clip_gradients(one, bound, ours), norm)
        ours.step()
        theirs.step()
        for p, q in zip(one, two, strict=True):
            torch.testing.assert_close(p, q)
            torch.testing.assert_close(p.grad, q.grad)


# ---- a record ----


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_record_plays_what_steps_do(settings, as_device):
    """Five steps, with another learning rate in between and a smaller batch at the end."""
    ends = []
    for wrap in (lambda one: one, lambda one: RecordedStep(one, record)):
        one, pairs = training(engine="reference", **settings)
        run = wrap(one)
        for number, (images, labels) in enumerate([*pairs, *pairs][:5]):
            one.set_learning_rate(1e-2 / (number + 1))
            size = BATCH if number < 4 else BATCH - 3
            run(images[:size], labels[:size])
        ends.append(everything(one))
        assert one.totals.batches == 5
    same(*ends)


def test_what_is_recorded_is_played(as_device):
    """The step itself runs for the record and for the smaller batch alone."""
    one, pairs = training(engine="reference")
    compute = one.compute
    sizes = []

    def logged(images, labels):
        sizes.append(len(labels))
        compute(images, labels)

    one.compute = logged
    run = RecordedStep(one, record)
    for images, labels in (*pairs, (pairs[0][0][:3], pairs[0][1][:3]), *pairs):
        run(images, labels)
    assert sizes == [BATCH] * 3 + [3]


def test_recording_leaves_no_trace(as_device):
    one, pairs = training(engine="reference", dropout=0.3)
    one(*pairs[0])
    before = everything(one)
    run = RecordedStep(one, lambda body: [body() for _ in range(3)] and (lambda: None))
    run(*pairs[1])
    same(everything(one), before)
    assert one.totals.batches == 2


def test_what_cannot_be_recorded_runs_as_it_is():
    def refuse(body):
        body()
        raise RuntimeError("operation not permitted when stream is capturing\nlong story")

    ends = []
    for refused in (False, True):
        one, pairs = training(dropout=0.3)
        run = RecordedStep(one, refuse) if refused else one
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for pair in pairs:
                run(*pair)
        assert len(warned) == refused
        ends.append(everything(one))
    assert str(warned[0].message) == (
        "the training step could not be recorded as a CUDA graph (operation not permitted when stream is capturing); "
        "it runs without, more slowly"
    )
    same(*ends)


def test_a_recording_takes_one_stream_of_the_current_gpu_and_leaves_it(monkeypatch):
    """torch's own default stream is of whichever GPU recorded first, and a recording that fails leaves it current."""
    now = ["before"]

    class Stream:
        wait_stream = Mock()

    @contextmanager
    def on(stream):
        now.append(stream)
        yield
        now.pop()

    @contextmanager
    def recording(graph, stream):
        now.append(stream)  # not taken back, as where the end of a recording fails
        yield

    cuda = {"Stream": Stream, "current_stream": lambda: Mock(), "stream": on, "CUDAGraph": Mock, "graph": recording}
    for name, value in (cuda | {"set_stream": now.append}).items():
        monkeypatch.setattr(torch.cuda, name, value)
    seen = []

    def body():
        seen.append(now[-1])
        if len(seen) > graph.WARM_UPS:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="capturing"):
        graph.record_cuda(body)
    assert len(seen) == graph.WARM_UPS + 1
    assert len({id(stream) for stream in seen}) == 1
    assert isinstance(now[-1], Mock), "the stream from before is current again"


def test_full_memory_is_not_taken_for_a_step_that_cannot_be_recorded():
    def full(body):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    one, pairs = training()
    with pytest.raises(torch.cuda.OutOfMemoryError):
        RecordedStep(one, full)(*pairs[0])


def test_a_rate_in_a_tensor_stays_there_and_is_saved_as_a_number():
    one, pairs = training()
    rates = [group["lr"] for group in one.optimiser.param_groups]
    one(*pairs[0])
    state = one.optimiser_state()
    one.set_learning_rate(0.25)
    assert [group["lr"] for group in state["param_groups"]] == [pytest.approx(small().learning_rate)] * 2
    one.restore_optimiser(state)
    assert all(group["lr"] is rate for group, rate in zip(one.optimiser.param_groups, rates, strict=True))
    assert rates[0].item() == pytest.approx(small().learning_rate)


def test_on_a_cpu_steps_run_as_they_are():
    trainer = Trainer(small(), CPU)
    assert isinstance(trainer._run_step, TrainingStep)
    assert all(isinstance(group["lr"], float) for group in trainer.optimiser.param_groups)


# ---- precision ----


@pytest.mark.parametrize("engine", ["reference", "auto"])
def test_bf16_backward_keeps_spikes_and_nearly_the_gradients(engine, monkeypatch):
    pytest.importorskip("numba")
    from snnbook.ops.cpu import sparse

    found = {}
    for precision in ("float32", "bf16_backward"):
        one, pairs = training(engine=engine, precision=precision)
        if precision == "bf16_backward":  # spike by spike there are no products that could be rounded
            monkeypatch.setattr(sparse, "backward", lambda *_: pytest.fail("the event-driven way was taken"))
        spikes, _ = one.net(pairs[0][0], labels=pairs[0][1])
        one._loss(spikes, pairs[0][1]).backward()
        found[precision] = spikes, [layer.weight.grad.flatten() for layer in one.net.spiking]
    (spikes, full), (same_spikes, rounded) = found.values()
    assert torch.equal(spikes, same_spikes)
    assert spikes.any()
    for exact, near in zip(full, rounded, strict=True):
        assert 0 < (near - exact).norm() / exact.norm() < 1e-2
        assert torch.cosine_similarity(near, exact, 0) > 0.999


def test_precision_of_a_gpu_is_put_back():
    def now():
        cudnn = torch.backends.cudnn
        return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic

    before = now()
    for precision, matmul in (("tf32", "high"), ("float32", "highest"), ("bf16_backward", "highest")):
        with devices.rounding(precision, torch.device("cuda")):
            assert now() == (matmul, precision == "tf32", True)
        assert now() == before
    with devices.rounding("tf32", CPU):
        assert now() == before
