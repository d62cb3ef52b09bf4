"""Experiments and settings: the paper's table, compared with a copy typed by hand; round trips; wrong values."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnbook import experiments, losses
from snnbook.errors import UserError
from snnbook.experiments import Experiment

VGG11 = "128C3-128C3-P2-256C3-256C3-256C3-P2-512C3-512C3-512C3-P2-2048-2048"
CIFARNET = "128C3-256C3-P2-512C3-P2-1024C3-512C3-1024-512"

# name: network, T, optimiser, learning rate, weight decay (appendix), (released: of W, of gamma and beta),
# target label, target others, start rate, tau_m, tau_s, tau_g, epochs, augmentation
TABLE_1 = {
    "mnist": ("15C5-P2-40C5-P2-300", 5, "adamw", 5e-4, 0.001, (0.05, 0.001), 5, 1, 0.6, 5, 3, 2.5, 100, ()),
    "fashion_mnist": (
        *("32C5-P2-64C5-P2-1024", 5, "adamw", 5e-4, 0.002, (0.005, 0.005)),
        *(5, 1, 0.6, 5, 3, 2.5, 100, ("flip",)),
    ),
    "nmnist": ("12C5-P2-64C5-P2", 30, "adamw", 5e-4, 0.005, (0.002, 0.002), 15, 2, 2, 8, 4, 3, 120, ()),
    "cifar10": (
        *(VGG11, 12, "sgd", 1e-4, 0.0005, (0.0005, 0.0005)),
        *(10, 1, 1, 7, 4, 3.5, 500, ("crop", "flip", "autoaugment")),
    ),
    "cifar10_cifarnet": (
        *(CIFARNET, 12, "sgd", 1e-4, 0.0005, (0.0005, 0.0005)),
        *(10, 1, 1, 7, 4, 3.5, 500, ("crop", "flip", "autoaugment")),
    ),
    "cifar100": (VGG11, 16, "sgd", 1e-4, 0.002, (0.002, 0.002), 15, 1, 1.5, 10, 6, 5.5, 500, ("crop", "flip")),
}


def decays(experiment):
    """Weight decay of W, and of gamma and beta."""
    norm = experiment.norm_weight_decay
    return experiment.weight_decay, experiment.weight_decay if norm is None else norm


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1(name):
    found = experiments.get(name)
    appendix, released = TABLE_1[name][4:6]
    assert (
        *(found.network, found.steps, found.optimiser, found.learning_rate, appendix, released),
        *(found.target_label, found.target_others, found.rate),
        *(found.neuron.tau_m, found.neuron.tau_s, found.neuron.tau_g, found.epochs, found.augmentation),
    ) == TABLE_1[name]
    assert decays(found) == (appendix, appendix)
    authors = experiments.get(f"{name}_released")
    assert decays(authors) == released
    policy = ("crop", "flip", "autoaugment_imagenet")
    assert authors.augmentation == (policy if found.dataset == "cifar10" else found.augmentation)
    change = {"name": name, "weight_decay": appendix, "norm_weight_decay": None, "augmentation": found.augmentation}
    assert Experiment.from_dict(authors.to_dict() | change) == found
    assert (found.loss, found.batch_size, found.gradient_clip) == ("enhanced_counting", 50, 1000)
    assert found.neuron.kernel == "exponential"
    assert found.neuron.leaky


def test_inputs_of_table_1():
    for name, padding, mean, std in (
        ("mnist", 0, (0.1307,), (0.3081,)),
        ("fashion_mnist", 2, (0.1307,), (0.3081,)),
        ("nmnist", (1, 0), (0, 0), (1, 1)),
        ("cifar10", 1, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", 1, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    ):
        found = experiments.get(name)
        assert (found.padding, found.mean, found.std) == (padding, mean, std)
    shapes = {name: (experiments.get(name).in_shape, experiments.get(name).classes) for name in TABLE_1}
    assert shapes["nmnist"] == ((2, 34, 34), 10)
    assert shapes["cifar100"] == ((3, 32, 32), 100)
    assert experiments.get("cifar10").dropout == 0.1


@pytest.mark.parametrize(
    ("name", "loss", "settings"),
    [
        ("fashion_mnist", "enhanced_counting", {"target_label": 5, "target_others": 1}),
        ("fashion_mnist_counting", "counting", {"target_label": 5, "target_others": 1}),
        ("fashion_mnist_kernel", "kernel", {"tau_s": 3}),
        ("fashion_mnist_tet", "tet", {"sharpness": 1}),
        ("fashion_mnist_tet_balanced", "tet", {"sharpness": math.log(9)}),
        ("fashion_mnist_timing", "timing", {}),
        ("fashion_mnist_ttfs", "ttfs", {"t_unfired": 4}),
        ("fashion_mnist_ttfs_T", "ttfs", {"t_unfired": 1}),
        ("fashion_mnist_ttfs_20T", "ttfs", {"t_unfired": 20}),
        ("fashion_mnist_ttfs_21T", "ttfs", {"t_unfired": 21}),
        ("cifar10_timing", "timing", {}),
        ("mnist_latency", "enhanced_counting", {"target_label": 10, "target_others": 1}),
        ("fashion_mnist_counting_unscaled", "counting", {"label_scaling": False}),
        ("fashion_mnist_unscaled", "enhanced_counting", {"label_scaling": False}),
        ("fashion_mnist_ttfs_20T_unsupervised", "ttfs", {"t_unfired": 20}),
    ],
)
def test_rows_of_the_tables(name, loss, settings):
    for suffix in ("", "_released")[: 1 if name == "mnist_latency" else 2]:
        found = experiments.get(name + suffix)
        built = found.build_loss()
        assert built.name == loss
        assert {key: getattr(built, key) for key in settings} == settings
    base = experiments.get(next(base for base in ("fashion_mnist", "cifar10", "mnist") if name.startswith(base)))
    kept = ("network", "neuron", "optimiser", "learning_rate", "epochs", "rate", "weight_decay", "dataset")
    assert all(getattr(experiments.get(name), field) == getattr(base, field) for field in kept)


def test_latency_row():
    found = experiments.get("mnist_latency")
    assert (found.encoding, found.steps, found.mean, found.std) == ("latency", 10, (0,), (1,))


def test_released_files_that_differ_from_their_data_set_s_others():
    """The released files for early exit and for TTFS; App. 5.3 and Table 1 stay with the plain names."""
    found = experiments.get("mnist_latency_released")
    assert (found.learning_rate, found.target_label, found.target_others) == (1e-3, 5, 1)
    assert (found.readout, found.steps, found.rate, *decays(found)) == ("first", 10, 0.6, 0.05, 0.001)
    plain = experiments.get("mnist_latency")
    assert (plain.learning_rate, plain.readout, *decays(plain)) == (5e-4, "count", 0.001, 0.001)
    for name in ("ttfs", "ttfs_T", "ttfs_20T", "ttfs_21T"):
        assert decays(experiments.get(f"fashion_mnist_{name}_released")) == (0, 0)
        assert decays(experiments.get(f"fashion_mnist_{name}")) == (0.002, 0.002)
    for name in ("counting", "kernel", "tet", "tet_balanced", "timing", "unscaled"):
        assert decays(experiments.get(f"fashion_mnist_{name}_released")) == (0.005, 0.005)


@pytest.mark.parametrize("loss", ["", "tet_", "ttfs_", "ttfs_20T_"])
def test_unsupervised_variants(loss):
    found = experiments.get(f"fashion_mnist_{loss}unsupervised")
    assert not found.supervision
    assert not found.build_network().supervision
    base = experiments.get(f"fashion_mnist_{loss}".rstrip("_"))
    assert base.supervision
    assert Experiment.from_dict(found.to_dict() | {"name": base.name, "supervision": True}) == base


def test_records_from_before_a_setting_was_added():
    later = ("supervision", "readout", "precision", "sharpness")
    older = {name: value for name, value in experiments.get("mnist").to_dict().items() if name not in later}
    assert Experiment.from_dict(older) == experiments.get("mnist")


def test_quick_needs_no_download():
    assert experiments.get("quick").dataset == "fashion_mnist_subset"


@pytest.mark.parametrize("name", ["quick", "mnist", "mnist_latency", "fashion_mnist", "nmnist"])
def test_networks_run(name):
    found = experiments.get(name)
    torch.manual_seed(0)
    net = found.build_network().eval()
    x = torch.rand(2, *found.in_shape)
    if found.encoding == "frames":
        x = x.expand(found.steps, *x.shape)
    assert net(x).shape == (found.steps, 2, found.classes)


@pytest.mark.parametrize("name", experiments.names())
def test_settings_come_back_from_json(name):
    found = experiments.get(name)
    assert found.name == name
    assert Experiment.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@given(
    st.builds(
        dict,
        learning_rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        t_unfired=st.floats(min_value=1e-300, allow_infinity=False),
        kernel_tau_s=st.none() | st.floats(min_value=1.0001, max_value=1e300),
        seed=st.integers(0, 2**63 - 1),
        augmentation=st.lists(st.sampled_from(["flip", "crop"])),
        padding=st.integers(0, 4) | st.lists(st.integers(0, 4), min_size=2, max_size=2),
        mean=st.tuples(st.floats(allow_nan=False, allow_infinity=False)),
        loss=st.sampled_from(sorted(losses.LOSSES)),
        clip=st.booleans(),
        tau_m=st.floats(5.1, 1e6),
    )
)
def test_any_settings_come_back_from_json(changes):
    found = experiments.get("mnist", **changes)
    again = Experiment.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert again.learning_rate == changes["learning_rate"]


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        experiments.get("mnist").epochs = 3


def test_overrides():
    found = experiments.get("mnist", loss="ttfs", tau_m=6, epochs=2)
    assert (found.name, found.loss, found.neuron.tau_m, found.neuron.tau_s, found.epochs) == ("mnist", "ttfs", 6, 3, 2)
    assert experiments.get("mnist").epochs == 100


def test_kernel_loss_takes_the_neurons_tau_s_by_default():
    assert experiments.get("nmnist", loss="kernel").build_loss().tau_s == 4
    assert experiments.get("nmnist", loss="kernel", kernel_tau_s=6).build_loss().tau_s == 6


NAN = float("nan")
INF = float("inf")
WRONG = [
    ({"tau_s": 5}, "tau_m and tau_s must differ"),
    ({"tau_m": 1}, "tau_m"),
    ({"target_label": -1}, "target_label"),
    ({"target_others": -0.5}, "target_others"),
    ({"target_label": True}, "target_label"),
    ({"epochs": 0}, "epochs"),
    ({"epochs": 2.0}, "epochs"),
    ({"epochs": True}, "epochs"),
    ({"epochs": 2**40}, "or less"),
    ({"batch_size": 0}, "batch_size"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**63}, "seed"),
    ({"steps": 0}, "steps"),
    ({"steps": 10**9}, "steps"),
    ({"learning_rate": 0}, "learning_rate"),
    ({"learning_rate": -1e-3}, "learning_rate"),
    ({"learning_rate": NAN}, "learning_rate"),
    ({"learning_rate": INF}, "learning_rate"),
    ({"learning_rate": "0.1"}, "learning_rate"),
    ({"learning_rate": 10**400}, "learning_rate"),
    ({"weight_decay": -1}, "weight_decay"),
    ({"norm_weight_decay": -1}, "norm_weight_decay"),
    ({"gradient_clip": 0}, "gradient_clip"),
    ({"rate": 0}, "rate"),
    ({"t_unfired": 0}, "t_unfired"),
    ({"kernel_tau_s": 1}, "kernel_tau_s"),
    ({"dropout": 1}, "dropout"),
    ({"clip": 1}, "clip"),
    ({"label_scaling": None}, "label_scaling"),
    ({"loss": "tfs"}, "Did you mean 'ttfs'"),
    ({"loss": ["ttfs"]}, "unknown loss"),
    ({"dataset": "mnits"}, "Did you mean 'mnist'"),
    ({"engine": "cpuu"}, "Did you mean 'cpu'"),
    ({"optimiser": "adam"}, "Did you mean 'adamw'"),
    ({"pooling": "average"}, "Did you mean 'avg'"),
    ({"readout": "firts"}, "Did you mean 'first'"),
    ({"precision": "tf23"}, "Did you mean 'tf32'"),
    ({"precision": None}, "unknown precision"),
    ({"supervision": 1}, "supervision"),
    ({"encoding": "latencyy"}, "Did you mean 'latency'"),
    ({"encoding": "latency"}, "mean to 0"),
    ({"encoding": "frames"}, "goes with encoding"),
    ({"augmentation": "flip"}, "augmentation"),
    ({"augmentation": ("flop",)}, "Did you mean 'flip'"),
    ({"augmentation": ("flip", "autoaugment")}, "colour images"),
    ({"mean": (0.1, 0.2)}, "mean"),
    ({"mean": (NAN,)}, "mean"),
    ({"std": (0,)}, "std"),
    ({"std": 1.0}, "std"),
    ({"padding": -1}, "padding"),
    ({"padding": (1, 2, 3)}, "padding"),
    ({"padding": 10**6}, "padding"),
    ({"network": "32C5-X"}, "'X'"),
    ({"network": ""}, "network"),
    ({"network": 32}, "network"),
    ({"network": "99999999999999C5"}, "32768 or less"),
    ({"network": "32C5-P2-64C5-P9"}, "nothing is left"),
    ({"network": "32768C32768"}, "nothing is left"),
    ({"neuron": 5}, "neuron"),
    ({"learningrate": 1}, "Did you mean 'learning_rate'"),
    ({"tau_mm": 5}, "Did you mean 'tau_m'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=[str(changes)[:40] for changes, _ in WRONG])
def test_wrong_settings_get_one_line(changes, words):
    with pytest.raises(UserError) as caught:
        experiments.get("mnist", **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_augmentations():
    with pytest.raises(UserError, match="not both"):
        experiments.get("cifar10", augmentation=("autoaugment", "autoaugment_imagenet"))
    with pytest.raises(UserError, match="cannot be augmented"):
        experiments.get("nmnist", augmentation=("flip",))


def test_unknown_experiment():
    with pytest.raises(UserError, match="Did you mean 'fashion_mnist'"):
        experiments.get("fashion_mnst")
    with pytest.raises(UserError, match="unknown experiment"):
        experiments.get(["mnist"])


def settings_with(**changes):
    values = {**experiments.get("mnist").to_dict(), **changes}
    return {key: value for key, value in values.items() if value != "gone"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (settings_with(epochs="gone"), "epochs"),
        (settings_with(epoch=3), "Did you mean 'epochs'"),
        (settings_with(neuron={"tau_m": 5.0}), "tau_s"),
        (settings_with(neuron="gone"), "neuron"),
        (settings_with(neuron=[]), "table"),
        (settings_with(network=None), "network"),
        (settings_with(learning_rate=None), "learning_rate"),
        ([], "table"),
        (None, "table"),
    ],
)
def test_from_dict_is_strict(values, words):
    with pytest.raises(UserError, match=words):
        Experiment.from_dict(values)
