"""Every public function against every kind of value: taken where its meaning is plain, with the same result; else
refused in one line that names the argument. No other error is ever raised.

ROWS lists each function's arguments with a right value and its kind; a new public function without a row fails.
"""

import inspect
import itertools
import json
import math
import os
import pathlib
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnbook import (
    NeuronParameters,
    datasets,
    encoding,
    events,
    experiments,
    layers,
    losses,
    networks,
    neuron,
    ops,
    readout,
    records,
    results,
    settings,
    training,
)
from snnbook.devices import SideStream
from snnbook.errors import UserError
from snnbook.records import checkpoints
from snnbook.results import plots
from snnbook.training import metrics

from .small_runs import small

ROOT = pathlib.Path(__file__).parents[1]
RECORD = ROOT / "results" / "quick" / "quick-e12-seed0.jsonl"

torch.manual_seed(0)

# ---- the kinds ----


def quantised(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(x.float(), 0.125, 0, torch.qint8)


def nested(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([x, x])


class Odd:
    """An object of nobody's kind."""


STRANGE: dict[str, Any] = {
    "None": None,
    "True": True,
    "text": "nonsense",
    "empty text": "",
    "bytes": b"nonsense",
    "3": 3,
    "-1": -1,
    "10**40": 10**40,
    "0.5": 0.5,
    "nan": math.nan,
    "inf": math.inf,
    "1j": 1j,
    "np.int64(3)": np.int64(3),
    "np.float32(0.5)": np.float32(0.5),
    "np.nan": np.float64("nan"),
    "np.True_": np.True_,
    "[]": [],
    "['a']": ["a"],
    "[None]": [None],
    "ragged": [[1.0], [1.0, 2.0]],
    "{'a': 1}": {"a": 1},
    "{1}": {1},
    "pair of tensors": (torch.ones(2, 2), torch.ones(2, 2)),
    "object": Odd(),
    "class": int,
    "module": nn.Linear(2, 2),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "neuron": NeuronParameters(tau_m=9),
    "Path": pathlib.Path("nowhere"),
    "null byte": "a\0b",
    "tensor of none": torch.empty(0),
    "tensor of 0.5": torch.tensor(0.5),
    "tensor of 3": torch.tensor([3]),
    "tensor of nan": torch.tensor(math.nan),
    "tensor of True": torch.tensor(True),
    "vector": torch.tensor([1.0, 2.0]),
    "matrix": torch.ones(2, 2),
    "ints": torch.arange(4).view(2, 2),
    "uint16s": torch.ones(2, 2, dtype=torch.uint16),
    "bools": torch.ones(2, 2, dtype=torch.bool),
    "complex": torch.ones(2, 2, dtype=torch.complex64),
    "sparse": torch.eye(3).to_sparse(),
    "quantised": quantised(torch.ones(2, 2)),
    "meta": torch.ones(2, 2, device="meta"),
    "float8": torch.ones(2, 2).to(torch.float8_e4m3fn),
    "nested": nested(torch.ones(2, 2)),
    "np.array(['a'])": np.array(["a"]),
    "np objects": np.array([Odd()]),
    "np complex": np.ones(2, complex),
    "np dates": np.array(["2020-01-01"], "datetime64[D]"),
}
"""Values of every kind, whatever the argument is."""

OF_TENSORS: dict[str, Callable[[Tensor], Any]] = {
    "as int64": lambda x: x.long(),
    "as uint8": lambda x: x.byte(),
    "as bool": lambda x: x.bool(),
    "as float32": lambda x: x.float(),
    "as complex": lambda x: x.cfloat(),
    "as sparse": lambda x: x.to_sparse(),
    "as quantised": quantised,
    "as float8": lambda x: x.to(torch.float8_e4m3fn),
    "on meta": lambda x: x.to("meta"),
    "nested twice": nested,
    "as objects": lambda x: np.array(x.tolist(), dtype=object),
    "as text": lambda x: np.array(x.tolist()).astype(str),
    "a pair of it": lambda x: (x, x),
    "one axis more": lambda x: x[None],
    "one axis more, last": lambda x: x[..., None],
    "one axis less": lambda x: x[0],
    "first axis doubled": lambda x: torch.cat([x, x]),
    "last axis doubled": lambda x: torch.cat([x, x], -1),
    "nothing along the first": lambda x: x[:0],
    "nothing along the last": lambda x: x[..., :0],
}
"""The right tensor made wrong in one respect."""


def spread(x: Tensor) -> Tensor:
    """The same values, none beside the next in memory."""
    return torch.stack([x, x + 1], -1)[..., 0]


SAME: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda x: x.numpy(),
    "numpy float64": lambda x: x.double().numpy(),
    "numpy, other byte order": lambda x: x.numpy().astype(x.numpy().dtype.newbyteorder()),
    "numpy, backwards": lambda x: x.numpy()[::-1].copy()[::-1],
    "numpy, read only": lambda x: np.frombuffer(x.numpy().tobytes(), x.numpy().dtype).reshape(x.shape),
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
    "double": lambda x: x.double(),
    "half": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "spread": spread,
    "gradient": lambda x: x.clone().requires_grad_(),
    "parameter": lambda x: nn.Parameter(x.clone()),
    "int32": lambda x: x.int(),
    "uint8": lambda x: x.byte(),
    "uint16": lambda x: x.to(torch.uint16),
    "list of tensors": list,
    "np.int64": np.int64,
    "np.uint8": np.uint8,
    "np.float32": np.float32,
    "np.array of one": lambda x: np.array([x]),
    "tensor of one": lambda x: torch.tensor([x]),
    "tensor without axis": torch.tensor,
    "np.bool": np.bool_,
    "np.str": np.str_,
    "list instead": list,
    "numpy instead": np.array,
    "text": str,
    "bytes": os.fsencode,
    "Path": pathlib.Path,
    "device": torch.device,
}
"""Other forms of the right value, with the same meaning."""

ARRAYS = ("numpy", "numpy, other byte order", "numpy, backwards", "numpy, read only", "list", "tuple", "spread")
NUMBERS = ("np.array of one", "tensor of one", "tensor without axis")


@dataclass(frozen=True)
class Kind:
    """What an argument takes.

    Args:
        same: names in SAME; with these the result is that of the right value
        may: names in STRANGE or OF_TENSORS that are (or may be) right values too; all others are refused
    """

    same: tuple[str, ...] = ()
    may: frozenset[str] = frozenset()


def kind(*same: str, may: str = "") -> Kind:
    return Kind(same, frozenset(filter(None, may.split("|"))))


FLOATS = kind(
    *(*ARRAYS, "numpy float64", "double", "half", "bfloat16", "gradient", "parameter"),
    may="as float32",
)
WEIGHTS = kind(*ARRAYS, "gradient", "parameter", "double", may="as float32")
CHANGED = kind("spread", "gradient", "parameter", may="as float32")
LABELS = kind(*ARRAYS, "int32", "uint8", "uint16", "list of tensors", may="as int64|as uint8")
WHOLE = kind("np.int64", "np.uint8", *NUMBERS, may="3|np.int64(3)|tensor of 3")
REAL_NUMBERS = "3|10**40|0.5|np.int64(3)|np.float32(0.5)|tensor of 0.5|tensor of 3"
REAL = kind("np.float32", *NUMBERS, may=REAL_NUMBERS)
SWITCH = kind("np.bool", *NUMBERS, may="True|np.True_|tensor of True")
NAME = kind("np.str")
SIZES = kind("list instead", "numpy instead")
OBJECT = kind()
PATH = kind("text", "bytes", "Path")


@dataclass(frozen=True)
class Argument:
    """One argument of a function.

    Args:
        value: a right one
        kind: what it takes
        said: what errors call it; its own name unless given
        also: more names of right values
        never: names that are no right values here, against the kind
        skipped: names not tried, because what comes of them is the caller's own
    """

    value: Any
    kind: Kind
    said: str = ""
    also: str = ""
    never: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class Row:
    """A function with right arguments, made anew for every call."""

    function: Callable[..., Any]
    arguments: dict[str, Argument] = field(default_factory=dict)


class Reached(Exception):
    """All arguments were taken, and the work would begin here."""


# ---- right arguments ----

T, N, C = 4, 3, 3
IMAGES = (torch.rand(N, 1, 6, 6) * 8).round() / 8
FRAMES = (torch.rand(T, N, 1, 6, 6) * 8).round() / 8
SPIKES = (torch.rand(T, N, C) < 0.5).float()
LABEL = torch.tensor([0, 2, 1])
MAPS = (torch.rand(T, N, 2, 6, 6) < 0.5).float()
CURRENT = (torch.rand(T, N, 2, 6, 6) * 8).round() / 8
FLAT = (torch.rand(T, N, 5) < 0.5).float()
KERNEL = ((torch.rand(2, 1, 3, 3) - 0.25) * 8).round() / 8
MATRIX = ((torch.rand(3, 5) - 0.25) * 8).round() / 8
THETA, PAIR, TRIPLE = torch.tensor([0.5, 0.75]), torch.tensor([1.0, 1.5]), torch.tensor([0.5, 0.75, 1.0])
NEURON = NeuronParameters()
OF_NEURON = Argument(NEURON, OBJECT, also="neuron")
ENGINE = Argument("reference", NAME)


def labels(**more: Any) -> Argument:
    return Argument(LABEL, LABELS, **more)


def spikes(**more: Any) -> Argument:
    return Argument(SPIKES, FLOATS, **more)


def net() -> networks.Network:
    torch.manual_seed(1)
    return networks.build("2C3-P2-4", (1, 6, 6), 3, steps=T, padding=1, engine="reference")


def pass_() -> Any:
    return ops.forward(CURRENT, THETA, NEURON, engine="reference")[1]


def layer(kind_: str = "conv") -> layers.SpikingLayer:
    torch.manual_seed(2)
    if kind_ == "conv":
        return layers.SpikingConv2d(1, 2, 3, padding=1, engine="reference")
    return layers.SpikingLinear(5, 3, engine="reference")


CONVOLUTION, CONNECTED = events.Convolution(1), events.FullyConnected()
BATCH, GRAD_MAP = FRAMES[0], (torch.rand(N, 2, 6, 6) * 8).round() / 8
FLAT_BATCH, GRAD_FLAT = FLAT[0], (torch.rand(N, 3) * 8).round() / 8
GRAD_OUT, GRAD_POOLED = (torch.rand(T, N, 2, 6, 6) * 8).round() / 8, (torch.rand(T, N, 2, 3, 3) * 8).round() / 8
AXES = "one axis more|one axis less|first axis doubled|last axis doubled|nothing along the first|one axis more, last"

ANY_LAYER = (
    f"{AXES}|nothing along the last|tensor of none|vector|matrix|3|-1|0.5|tensor of 0.5|np.int64(3)|np.float32(0.5)|"
    "tensor of nan|np.nan|nan|inf|[]"
)


def loss_rows() -> dict[str, Callable[[], Row]]:
    found: dict[str, Callable[[], Row]] = {}
    numbers = {"target_label": 5.0, "target_others": 1.0, "tau_s": 3.0, "sharpness": 1.0, "t_unfired": 4.0}
    for loss in losses.LOSSES.values():
        name = f"losses.{loss.__name__}"
        given = {
            argument: Argument(
                numbers[argument], REAL, never="0.5|np.float32(0.5)|tensor of 0.5" * (argument == "tau_s")
            )
            if argument in numbers
            else Argument(True, SWITCH)
            for argument in inspect.signature(loss).parameters
        }
        found[name] = lambda loss=loss, given=given: Row(loss, given)
        found[f"{name}.__call__"] = lambda loss=loss: Row(
            loss(), {"spikes": spikes(also="first axis doubled|last axis doubled"), "labels": labels()}
        )
    return found


def affine_rows(name: str, affine: Any, x: Tensor, weight: Tensor, grad: Tensor) -> dict[str, Callable[[], Row]]:
    longer = "first axis doubled|nothing along the first" + "|last axis doubled" * (x.dim() == 4)
    of_x, of_weight = Argument(x, WEIGHTS), Argument(weight, WEIGHTS)
    shapes = SIZES
    return {
        f"events.{name}.current": lambda: Row(
            affine.current,
            {
                "x": Argument(x, FLOATS, also=longer),
                "weight": Argument(weight, WEIGHTS, also=longer.replace("|nothing along the first", "")),
            },
        ),
        f"events.{name}.grad_input": lambda: Row(
            affine.grad_input,
            {"grad": Argument(grad, FLOATS), "weight": of_weight, "shape": Argument(tuple(x.shape), shapes)},
        ),
        f"events.{name}.grad_weight": lambda: Row(
            affine.grad_weight,
            {"grad": Argument(grad, FLOATS), "x": of_x, "shape": Argument(tuple(weight.shape), shapes)},
        ),
    }


DTYPE = Argument(None, OBJECT, also="None|dtype")
X_LAYER = Argument(FRAMES, FLOATS, also="first axis doubled|last axis doubled")

ROWS: dict[str, Callable[[], Row]] = {
    "neuron.NeuronParameters": lambda: Row(
        NeuronParameters,
        {
            "tau_m": Argument(5.0, REAL, never="3|0.5|np.int64(3)|np.float32(0.5)|tensor of 0.5|tensor of 3"),
            "tau_s": Argument(3.0, REAL, never="0.5|np.float32(0.5)|tensor of 0.5"),
            "tau_g": Argument(2.5, REAL, never="0.5|np.float32(0.5)|tensor of 0.5"),
            "kernel": Argument("exponential", NAME),
            "leaky": Argument(True, SWITCH),
        },
    ),
    "neuron.eps": lambda: Row(neuron.eps, {"k": Argument(2, WHOLE, also=f"-1|{REAL_NUMBERS}"), "neuron": OF_NEURON}),
    "neuron.kappa": lambda: Row(
        neuron.kappa, {"k": Argument(2, WHOLE, also=f"-1|{REAL_NUMBERS}"), "neuron": OF_NEURON}
    ),
    "encoding.direct": lambda: Row(
        encoding.direct,
        {
            "images": Argument(
                IMAGES,
                FLOATS,
                also="on meta|first axis doubled|last axis doubled|nothing along the first|nothing along the last",
            ),
            "steps": Argument(T, WHOLE),
        },
    ),
    "encoding.encode": lambda: Row(
        encoding.encode,
        {
            "images": Argument(
                IMAGES,
                FLOATS,
                also="on meta|first axis doubled|last axis doubled|nothing along the first|nothing along the last",
            ),
            "kind": Argument("direct", NAME, said="encoding"),
            "steps": Argument(T, WHOLE),
        },
    ),
    "encoding.latency": lambda: Row(
        encoding.latency,
        {
            "images": Argument(
                IMAGES,
                FLOATS,
                also="first axis doubled|last axis doubled|nothing along the first|nothing along the last",
            ),
            "steps": Argument(T, WHOLE),
            "bright_first": Argument(True, SWITCH),
            "check": Argument(True, SWITCH),
        },
    ),
    **{
        f"readout.{name}": lambda name=name: Row(
            getattr(readout, name),
            {
                "spikes": Argument(
                    SPIKES,
                    FLOATS,
                    also="as int64|as uint8|as bool|on meta|first axis doubled|last axis doubled"
                    if name != "exit_step"
                    else "as int64|as uint8|as bool|first axis doubled|last axis doubled",
                ),
                **({"labels": labels()} if name == "exit_step" else {}),
                "readout": Argument("count", NAME),
            },
        )
        for name in ("score", "predict", "exit_step")
    },
    "losses.get": lambda: Row(
        losses.get, {"name": Argument("tet", NAME, said="loss"), "gradient": Argument("rate", NAME)}
    ),
    "losses.from_times": lambda: Row(losses.from_times, {"spikes": spikes(), "grad_times": Argument(SPIKES, FLOATS)}),
    "losses.label_train": lambda: Row(
        losses.label_train,
        {
            "steps": Argument(T, WHOLE),
            "like": Argument(
                torch.ones(1),
                OBJECT,
                also="None|"
                + "|".join(n for n, v in STRANGE.items() if isinstance(v, (Tensor, int, float, np.number, np.bool_)))
                + "|[]|as int64|as uint8|as bool|as float32|on meta|nothing along the last|"
                + AXES,
            ),
        },
    ),
    **loss_rows(),
    "events.Convolution": lambda: Row(events.Convolution, {"padding": Argument(1, WHOLE), "backward_dtype": DTYPE}),
    "events.FullyConnected": lambda: Row(events.FullyConnected, {"backward_dtype": DTYPE}),
    **affine_rows("Convolution", CONVOLUTION, BATCH, KERNEL, GRAD_MAP),
    **affine_rows("FullyConnected", CONNECTED, FLAT_BATCH, MATRIX, GRAD_FLAT),
    "events.distinct_steps": lambda: Row(
        lambda x: len(events.distinct_steps(x)),
        {
            "x": Argument(
                FRAMES,
                OBJECT,
                also="on meta|as int64|as uint8|as bool|as float32|tensor of none|vector|matrix|ints|uint16s|bools|[]|"
                "tensor of 3|meta|nothing along the last|" + AXES,
            )
        },
    ),
    "events.check_affine": lambda: Row(events.check_affine, {"affine": Argument(CONVOLUTION, OBJECT)}),
    "events.currents": lambda: Row(
        events.currents,
        {
            "x": Argument(FRAMES, FLOATS, also="first axis doubled|last axis doubled"),
            "weight": Argument(KERNEL, WEIGHTS, also="first axis doubled|last axis doubled"),
            "affine": Argument(CONVOLUTION, OBJECT),
            "engine": ENGINE,
        },
    ),
    "events.spiking_affine": lambda: Row(
        events.spiking_affine,
        {
            "x": Argument(FRAMES, FLOATS, also="first axis doubled|last axis doubled"),
            "weight": Argument(KERNEL, WEIGHTS, also="last axis doubled"),
            "threshold": Argument(THETA, FLOATS, also="vector"),
            "affine": Argument(CONVOLUTION, OBJECT),
            "neuron": OF_NEURON,
            "window": Argument(1, WHOLE),
            "engine": ENGINE,
            "force": Argument(None, OBJECT, also="None", skipped="class|module"),
        },
    ),
    "layers.SpikingLayer": lambda: Row(
        lambda **given: layers.SpikingLayer(**given).weight,
        {
            "weight": Argument(
                KERNEL,
                WEIGHTS,
                also="first axis doubled|last axis doubled|one axis more|one axis more, last|one axis less|matrix|"
                "meta|on meta",
            ),
            "affine": Argument(CONVOLUTION, OBJECT),
            "neuron": OF_NEURON,
            "pool": Argument(1, WHOLE),
            "engine": ENGINE,
        },
    ),
    "layers.SpikingConv2d": lambda: Row(
        layers.SpikingConv2d,
        {
            "in_channels": Argument(1, WHOLE),
            "out_channels": Argument(2, WHOLE),
            "kernel_size": Argument(3, WHOLE),
            "padding": Argument(1, WHOLE),
            "neuron": Argument(NEURON, OBJECT, also="neuron|None"),
            "pool": Argument(1, WHOLE),
            "engine": ENGINE,
        },
    ),
    "layers.SpikingLinear": lambda: Row(
        layers.SpikingLinear,
        {
            "in_features": Argument(5, WHOLE),
            "out_features": Argument(3, WHOLE),
            "neuron": Argument(NEURON, OBJECT, also="neuron|None"),
            "engine": ENGINE,
        },
    ),
    "layers.SpikingLayer.forward": lambda: Row(
        layer().forward,
        {
            "x": X_LAYER,
            "force": Argument(None, OBJECT, also="None", skipped="class|module"),
            "ahead": Argument(SideStream(torch.device("cpu")), OBJECT, also="None"),
        },
    ),
    "layers.SpikingLayer.fold": lambda: Row(layer().fold),
    "layers.SpikingLayer.standardised": lambda: Row(layer().standardised, {"scale": Argument(2.0, REAL, also="-1")}),
    "layers.SpikingLayer.current": lambda: Row(
        layer("linear").current,
        {"x": Argument(FLAT, FLOATS, also="first axis doubled"), "scale": Argument(2.0, REAL, also="-1")},
    ),
    "layers.AdjustedAvgPool2d": lambda: Row(layers.AdjustedAvgPool2d, {"window": Argument(2, WHOLE)}),
    "layers.AdjustedAvgPool2d.forward": lambda: Row(
        layers.AdjustedAvgPool2d(2).forward,
        {"spikes": Argument(MAPS, FLOATS, also="on meta|first axis doubled|last axis doubled")},
    ),
    "layers.PlainPool2d": lambda: Row(
        layers.PlainPool2d, {"window": Argument(2, WHOLE), "kind": Argument("max", NAME)}
    ),
    "layers.PlainPool2d.forward": lambda: Row(
        layers.PlainPool2d(2, "avg").forward,
        {"spikes": Argument(MAPS, FLOATS, also="on meta|first axis doubled|last axis doubled")},
    ),
    "layers.TimeDropout": lambda: Row(
        layers.TimeDropout,
        {
            "p": Argument(0.5, REAL, said="dropout", never="3|np.int64(3)|tensor of 3"),
            "conserving": Argument(True, SWITCH),
        },
    ),
    "layers.TimeDropout.forward": lambda: Row(
        layers.TimeDropout(0.5).eval().forward,
        {"spikes": Argument(MAPS, FLOATS, also="on meta|nothing along the last|" + AXES)},
    ),
    "networks.supervise": lambda: Row(
        networks.supervise,
        {"saved": Argument(ops.forward(SPIKES, TRIPLE, NEURON, "reference")[1], OBJECT), "labels": labels()},
    ),
    "networks.Network": lambda: Row(
        networks.Network,
        {
            "layers": Argument([nn.Flatten(2), layer("linear")], OBJECT),
            "in_shape": Argument((1, 1, 5), SIZES),
            "steps": Argument(T, WHOLE),
            "supervision": Argument(True, SWITCH),
        },
    ),
    "networks.Network.fold": lambda: Row(net().fold),
    "networks.Network.encode": lambda: Row(
        net().encode, {"x": Argument(IMAGES, FLOATS, said="input", also="one axis more|first axis doubled")}
    ),
    "networks.Network.forward": lambda: Row(
        net().forward,
        {"x": Argument(IMAGES, FLOATS, said="input|labels", also="one axis more"), "labels": labels(also="None")},
    ),
    "networks.Network.initialise": lambda: Row(
        net().initialise,
        {
            "batch": Argument(IMAGES, FLOATS, said="input|batch", also="first axis doubled|one axis more"),
            "rate": Argument(1.0, REAL),
        },
    ),
    "networks.build": lambda: Row(
        lambda **given: [len(p) for p in networks.build(**given).parameters()],
        {
            "notation": Argument("2C3-P2-4", NAME, said="network|notation"),
            "in_shape": Argument((1, 6, 6), SIZES),
            "classes": Argument(3, WHOLE),
            "neuron": Argument(NEURON, OBJECT, also="neuron|None"),
            "steps": Argument(T, WHOLE),
            "padding": Argument(1, WHOLE),
            "pooling": Argument("adjusted", NAME),
            "dropout": Argument(0.5, REAL, never="3|np.int64(3)|tensor of 3"),
            "engine": ENGINE,
            "supervision": Argument(True, SWITCH),
            "bf16_backward": Argument(True, SWITCH),
        },
    ),
    "ops.Saved": lambda: Row(
        ops.Saved,
        {
            name: Argument(
                SPIKES,
                OBJECT,
                said=name,
                also="as int64|as uint8|as bool|as float32|as complex|on meta|as sparse|as quantised|as float8",
            )
            for name in ("spikes", "du", "dg")
        }
        | {"neuron": OF_NEURON, "engine": ENGINE},
    ),
    "ops.engine_name": lambda: Row(
        ops.engine_name,
        {
            "engine": ENGINE,
            "device": Argument("cpu", kind("device", "np.str"), also="device"),
            "dtype": Argument(torch.float32, OBJECT, also="dtype"),
        },
    ),
    "ops.forward": lambda: Row(
        ops.forward,
        {
            "current": Argument(
                CURRENT,
                WEIGHTS,
                also="first axis doubled|last axis doubled|one axis more, last|nothing along the last",
                said="current|threshold",
            ),
            "threshold": Argument(THETA, FLOATS, also="vector"),
            "neuron": OF_NEURON,
            "engine": ENGINE,
        },
    ),
    "ops.backward": lambda: Row(
        ops.backward, {"grad_times": Argument(GRAD_OUT, FLOATS), "saved": Argument(pass_(), OBJECT)}
    ),
    "ops.get": lambda: Row(
        lambda **given: ops.get(**given).name,
        {
            "engine": ENGINE,
            "device": Argument("cpu", kind("device", "np.str"), also="device"),
            "dtype": Argument(torch.float32, OBJECT, also="dtype"),
        },
    ),
}

# ---- settings, runs, files ----

SETTINGS: dict[str, Argument] = {
    "name": Argument("quick", NAME, also="text|null byte"),
    "dataset": Argument("fashion_mnist_subset", NAME, said="data set"),
    "network": Argument("2C5-P2-4", NAME),
    "padding": Argument(
        1, kind("np.int64", "np.uint8", "tensor without axis"), also="3|np.int64(3)|tensor of 3", said="padding|network"
    ),
    "steps": Argument(T, WHOLE),
    "neuron": OF_NEURON,
    "pooling": Argument("adjusted", NAME),
    "dropout": Argument(0.5, REAL, never="3|np.int64(3)|tensor of 3"),
    "encoding": Argument("direct", NAME),
    "mean": Argument((0.25,), SIZES, also="tensor of 3"),
    "std": Argument((0.5,), SIZES, also="tensor of 3"),
    "augmentation": Argument(("flip",), kind("list instead"), also="[]|tensor of none"),
    "loss": Argument("enhanced_counting", NAME),
    "target_label": Argument(5.0, REAL, said="target_label", never="0.5|np.float32(0.5)|tensor of 0.5"),
    "target_others": Argument(1.0, REAL),
    "clip": Argument(True, SWITCH),
    "label_scaling": Argument(True, SWITCH),
    "t_unfired": Argument(4.0, REAL),
    "sharpness": Argument(1.0, REAL),
    "kernel_tau_s": Argument(2.0, REAL, also="None", never="0.5|np.float32(0.5)|tensor of 0.5"),
    "supervision": Argument(True, SWITCH),
    "readout": Argument("count", NAME),
    "rate": Argument(0.5, REAL),
    "optimiser": Argument("adamw", NAME),
    "learning_rate": Argument(0.5, REAL),
    "weight_decay": Argument(0.5, REAL),
    "norm_weight_decay": Argument(0.5, REAL, also="None"),
    "gradient_clip": Argument(0.5, REAL),
    "epochs": Argument(2, WHOLE),
    "batch_size": Argument(2, WHOLE),
    "seed": Argument(2, WHOLE),
    "engine": ENGINE,
    "precision": Argument("float32", NAME),
}
RIGHT = {name: argument.value for name, argument in SETTINGS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data: None) -> pathlib.Path:
    """A run that is trained, and a folder of results."""
    root = tmp_path_factory.mktemp("inputs")
    (root / "results" / "quick").mkdir(parents=True)
    shutil.copy(RECORD, root / "results" / "quick" / RECORD.name)
    training.fit(small(epochs=1, engine="reference"), root / "run", "cpu")
    return root


def file_rows(root: pathlib.Path) -> dict[str, Callable[[], Row]]:
    record = records.read(RECORD)
    experiment = record.experiment
    found = results.load(root / "results")
    a_path = "text|bytes|Path"
    device = Argument("cpu", kind("device", "np.str"), also="device")
    run = Argument(str(root / "run"), PATH, said="nonsense|nowhere|run", also=a_path)
    top = Argument(str(root / "results"), PATH, said="root|nonsense|nowhere", also=a_path)
    record_file = Argument(str(RECORD), PATH, said="nonsense|nowhere|path|run|root", also=a_path)
    of_experiment = Argument(experiment, OBJECT)
    beside = {
        "progress": Argument(None, OBJECT, also="None"),
        "command": Argument(None, OBJECT, also="None|[]|['a']|{'a': 1}"),
        "save_every": Argument(5.0, REAL),
    }

    def fresh() -> pathlib.Path:
        return root / f"new-{next(NUMBERS_OF_FILES)}"

    return {
        "training.fit": lambda: Row(
            training.fit,
            {
                "experiment": of_experiment,
                "out": Argument(str(fresh()), PATH, also=f"None|{a_path}"),
                "device": device,
                **beside,
            },
        ),
        "training.resume": lambda: Row(training.resume, {"run": run, "device": device, **beside}),
        "training.evaluate": lambda: Row(
            training.evaluate, {"run": run, "which": Argument("best", NAME, said="checkpoint"), "device": device}
        ),
        "training.choose_device": lambda: Row(
            training.choose_device,
            {
                "name": device.__class__("cpu", device.kind, said="device", also="device"),
                "group": Argument(training.ALONE, OBJECT),
            },
        ),
        "datasets.load": lambda: Row(
            lambda **given: datasets.load(**given).sha256,
            {
                "name": Argument("fashion_mnist_subset", NAME, said="data set"),
                "split": Argument("test", NAME),
                "device": device,
            },
        ),
        "datasets.check": lambda: Row(
            datasets.check, {"names": Argument(("fashion_mnist_subset",), kind("list instead"), also="[]")}
        ),
        "records.read": lambda: Row(records.read, {"path": record_file}),
        "records.write": lambda: Row(
            records.write, {"record": Argument(record, OBJECT), "path": Argument(str(fresh()), PATH, also=a_path)}
        ),
        "checkpoints.read": lambda: Row(
            checkpoints.read,
            {"path": Argument(str(root / "run" / "best.pt"), PATH, said="nonsense|nowhere|path", also=a_path)},
        ),
        "checkpoints.write": lambda: Row(
            checkpoints.write,
            {
                "checkpoint": Argument(checkpoints.read(root / "run" / "best.pt"), OBJECT),
                "path": Argument(str(fresh()), PATH, also=a_path),
            },
        ),
        "results.Result": lambda: Row(
            results.Result,
            {"file": Argument("a", NAME, also="text|empty text|null byte"), "record": Argument(record, OBJECT)},
        ),
        **{
            f"results.{name}": lambda name=name: Row(getattr(results, name), {"experiment": of_experiment})
            for name in ("run_name", "folder_of")
        },
        "results.path_of": lambda: Row(results.path_of, {"experiment": of_experiment, "root": top}),
        **{
            f"results.{name}": lambda name=name: Row(getattr(results, name), {"root": top})
            for name in ("load", "check_usable", "index_text", "write_index", "refresh_index")
        },
        "results.read": lambda: Row(
            results.read,
            {
                "path": Argument(
                    str(root / "results" / "quick" / RECORD.name), PATH, said="nonsense|nowhere|path", also=a_path
                )
            },
        ),
        "results.save": lambda: Row(
            results.save,
            {
                "record": Argument(record, OBJECT),
                "root": Argument(str(fresh()), PATH, said="root|nonsense|nowhere", also=a_path),
            },
        ),
        "results.add_run": lambda: Row(
            results.add_run,
            {"run": record_file, "root": Argument(str(fresh()), PATH, said="root|nonsense|nowhere", also=a_path)},
        ),
        "results.index_line": lambda: Row(results.index_line, {"result": Argument(found[0], OBJECT)}),
        "plots.plot": lambda: Row(
            plots.plot,
            {
                "runs": Argument(
                    [str(RECORD)], kind("list instead"), said="nonsense|nowhere|runs|cannot read a", also=a_path
                ),
                "out": Argument(str(fresh()) + ".png", PATH, said="out|picture", also=a_path),
            },
        ),
    }


NUMBERS_OF_FILES = itertools.count()

OF_FILES = (
    *(f"training.{name}" for name in ("fit", "resume", "evaluate", "choose_device")),
    *(f"datasets.{name}" for name in ("load", "check")),
    *(f"{module}.{name}" for module in ("records", "checkpoints") for name in ("read", "write")),
    *(f"results.{name}" for name in (
        *("Result", "run_name", "folder_of", "path_of", "load", "index_text", "write_index", "refresh_index"),
        *("check_usable", "read", "save", "add_run", "index_line"),
    )),
    "plots.plot",
)  # fmt: skip

ROWS |= {
    "metrics.evaluate": lambda: Row(
        metrics.evaluate,
        {
            "net": Argument(net(), OBJECT),
            "batches": Argument([(IMAGES, LABEL)], OBJECT, skipped="module"),
            "encode": Argument(lambda x: x, OBJECT, skipped="class|module"),
            "readout": Argument("count", NAME),
            "group": Argument(metrics.ALONE, OBJECT),
        },
    ),
    "metrics.silent": lambda: Row(
        metrics.silent,
        {"firing_rates": Argument([[0.5], [0.0]], OBJECT, also="[]|tensor of none|ragged|pair of tensors")},
    ),
    "metrics.thresholds": lambda: Row(metrics.thresholds, {"net": Argument(net(), OBJECT)}),
    "settings.Experiment": lambda: Row(settings.Experiment, SETTINGS),
    "settings.Experiment.override": lambda: Row(
        lambda **given: experiments.get("quick").override(**given),
        {k: v for k, v in SETTINGS.items() if k in ("steps", "neuron", "rate")},
    ),
    "settings.Experiment.encode": lambda: Row(
        experiments.get("quick").encode,
        {
            "images": Argument(
                IMAGES,
                FLOATS,
                also="on meta|first axis doubled|last axis doubled|nothing along the first|nothing along the last",
            )
        },
    ),
    "settings.Experiment.learning_rate_of": lambda: Row(
        experiments.get("quick").learning_rate_of, {"epoch": Argument(2, WHOLE)}
    ),
    "experiments.get": lambda: Row(experiments.get, {"name": Argument("quick", NAME, said="experiment")}),
    "experiments.names": lambda: Row(experiments.names),
}

# ---- what is public ----

MODULES = (
    *(neuron, encoding, readout, losses, events, layers, networks, ops, settings, experiments, metrics),
    *(training, datasets, records, checkpoints, results, plots),
)

ONLY = {
    "metrics": ("evaluate", "silent", "thresholds"),
    "records": ("read", "write"),
    "checkpoints": ("read", "write"),
    "datasets": ("load", "check"),
}
"""Modules whose other functions take what the package makes itself; tests of their own are in test_records.py etc."""

EXEMPT = {
    "losses.Loss": "a base for subclasses; its __call__ is tried on each of the six",
    "events.Affine": "a protocol",
    "training.EpochFigures": "made by the trainer; its checks are tested in test_records.py",
    "training.Progress": "for subclasses",
    "settings.Experiment.build_loss": "takes nothing",
    "settings.Experiment.build_network": "takes nothing",
    "settings.Experiment.to_dict": "takes nothing",
    "settings.Experiment.from_dict": "reads JSON; test_experiments.py and test_fuzz.py",
    "results.AddedRun": "returned by results.add_run",
    "ops.Engine": "a protocol; callers check the arguments of its methods",
    "ops.Layer": "made by events.spiking_affine from checked arguments",
    "ops.Pass": "made by engines",
    "ops.Plan": "made by engines",
    "ops.uncompiled": "a decorator for the package's own functions",
    "ops.Saved.with_spikes": "tested in test_ops.py and below",
    "training.device_number": "the check of choose_device",
    "settings.Experiment.build_optimiser": "takes what named_parameters() gives",
    "experiments.Experiment": "settings.Experiment",
    "experiments.asked": "get, for the command line",
}
HOOKS = ("value_and_times", "value_and_rates", "per_spike", "label_scale", "cannot_learn")
"""Methods of losses that `__call__` calls with checked arguments."""


def public() -> set[str]:
    """The names of all public functions, classes and methods of MODULES."""
    found = set()
    for module in MODULES:
        short = module.__name__.split(".")[-1]
        names = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        ]
        for name in ONLY.get(short, names):
            value = getattr(module, name)
            if name.startswith("_") or not callable(value) or not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            found.add(f"{short}.{name}")
            if inspect.isclass(value):
                found |= {
                    f"{short}.{name}.{method}"
                    for method, function in vars(value).items()
                    if inspect.isfunction(inspect.unwrap(getattr(function, "__func__", function)))
                    and (method == "__call__" or not method.startswith("_"))
                    and not (short == "losses" and method in HOOKS)
                }
    return found


def test_every_public_function_has_a_row():
    rows = {*ROWS, *OF_FILES}
    missing = {name for name in public() - rows if not any(name == e or name.startswith(f"{e}.") for e in EXEMPT)}
    assert missing == set(), sorted(missing)
    extra = {name for name in rows - public() if not name.startswith(("losses.", "events.")) or "__call__" not in name}
    assert extra - {"settings.Experiment.override"} == set(), "a row of nothing that is public"


# ---- the trial ----


def flat(result: Any) -> list[Any]:
    """Tensors and numbers in a result, in order."""
    if isinstance(result, (Tensor, int, float, str)) or result is None:
        return [result]
    if isinstance(result, (list, tuple)):
        return [part for each in result for part in flat(each)]
    if isinstance(result, ops.Saved):
        return [result.spikes, result.du, result.dg]
    return [type(result)]


def alike(one: Any, other: Any) -> bool:
    one, other = flat(one), flat(other)
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if isinstance(a, Tensor):
            if a.shape != b.shape or not torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6, equal_nan=True):
                return False
        elif a != b and not (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-6)):
            return False
    return True


def applies(name: str, value: Any) -> bool:
    return name not in OF_TENSORS or isinstance(value, Tensor)


def outcome(row: Row, argument: str, value: Any, two: bool = False) -> tuple[str, Any]:
    """What comes of one call: ("taken", result), ("refused", line) or ("RAW", what)."""
    given = {name: each.value for name, each in row.arguments.items()} | {argument: value}
    said = row.arguments[argument].said or argument
    try:
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            return "taken", row.function(**given)
    except Reached:
        return "taken", None
    except UserError as error:
        line = str(error)
        if two:  # two that do not fit together: the line may name either
            said = "|".join([said, *row.arguments])
        if "\n" in line or not line.isprintable() or len(line) > 600 or not re.search(rf"(?<![a-z])({said})", line):
            return "POOR", line
        return "refused", line
    except Exception as error:
        return "RAW", f"{type(error).__name__}: {str(error)[:90]!r}"


def trial(name: str, make: Callable[[], Row]) -> list[str]:
    """All that goes otherwise than the table says, a line each."""
    wrong = []
    for argument, wanted in make().arguments.items():
        may = (wanted.kind.may | set(filter(None, wanted.also.split("|")))) - set(wanted.never.split("|"))
        right = outcome(make(), argument, make().arguments[argument].value)
        if right[0] != "taken":
            wrong.append(f"{name}({argument}): the right value is {right[0]}: {right[1]}")
            continue
        for form in wanted.kind.same:
            got = outcome(make(), argument, SAME[form](make().arguments[argument].value))
            if got[0] != "taken" or not alike(got[1], right[1]):
                wrong.append(f"{name}({argument}) as {form}: {got[0]}: {got[1]}"[:300])
        for strange in (*STRANGE, *OF_TENSORS):
            row = make()
            if not applies(strange, row.arguments[argument].value) or strange in wanted.skipped.split("|"):
                continue
            value = OF_TENSORS[strange](row.arguments[argument].value) if strange in OF_TENSORS else STRANGE[strange]
            got = outcome(row, argument, value, strange in OF_TENSORS or isinstance(value, Tensor))
            if got[0] == "taken" and strange not in may:
                wrong.append(f"{name}({argument}) given {strange}: taken"[:300])
            elif got[0] not in ("taken", "refused"):
                wrong.append(f"{name}({argument}) given {strange}: {got[0]}: {got[1]}"[:300])
    return wrong


@pytest.mark.parametrize("name", ROWS)
def test_takes_what_is_plain_and_refuses_the_rest_in_one_line(name):
    wrong = trial(name, ROWS[name])
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("name", OF_FILES)
def test_so_do_functions_of_files_and_runs(name, folder, tmp_path, monkeypatch):
    rows = file_rows(folder)
    monkeypatch.chdir(tmp_path)

    def reached(*_: Any, **__: Any) -> None:
        raise Reached

    if name in ("training.fit", "training.resume"):
        monkeypatch.setattr(training, "Trainer", reached)
    if name == "training.evaluate":
        monkeypatch.setattr(training.datasets, "load", reached)
    if name.startswith("results.") or name in ("records.write", "checkpoints.write"):  # to the disk and back takes long
        monkeypatch.setattr(results.files, "_to_disk", lambda file, content: file.write(content))
    wrong = trial(name, rows[name])
    assert not wrong, "\n".join(["", *wrong])


# ---- mixed precision ----


def small_net(engine: str, dtype: torch.dtype = torch.float32, **settings: Any) -> tuple[networks.Network, Tensor]:
    torch.manual_seed(1)
    images = (torch.rand(N, 1, 6, 6) + torch.eye(6)[2 * LABEL][:, None, :, None]).to(dtype)
    made = networks.build("2C3-P2-8", (1, 6, 6), 3, steps=T, padding=1, engine=engine, **settings).to(dtype)
    made.initialise(images, 1.0)
    return made, images


def a_step(engine: str, autocast: torch.dtype | None, within: bool, **settings: Any) -> list[Tensor]:
    """Spikes, loss, scores and gradients of a training step; `within` autocast with its backward pass."""
    made, images = small_net(engine, **settings)
    torch.manual_seed(3)
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        spikes, _ = made(images, labels=LABEL)
        loss = losses.get("ttfs")(spikes, LABEL)
        scores = readout.score(spikes)
        if within:
            loss.backward()
    if not within:
        loss.backward()
    return [spikes.detach(), loss.detach(), scores.detach(), *(p.grad for p in made.parameters())]


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("settings", [{}, {"pooling": "avg", "dropout": 0.2}, {"bf16_backward": True}], ids=str)
def test_autocast_changes_nothing(engine, settings):
    if engine == "cpu":
        pytest.importorskip("numba")
    plain_step = a_step(engine, None, True, **settings)
    assert plain_step[0].any()
    assert plain_step[3].any()
    for autocast in (torch.bfloat16, torch.float16):
        for within in (False, True):
            for ours, wanted in zip(a_step(engine, autocast, within, **settings), plain_step, strict=True):
                assert ours.dtype is wanted.dtype
                assert torch.equal(ours, wanted)


def test_autocast_around_a_forward_pass_alone_changes_no_spike():
    made, images = small_net("auto")
    with torch.no_grad():
        wanted = made(images)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(made(images), wanted)
            current = events.currents(MAPS, torch.rand(2, 2, 3, 3), events.Convolution(1))
    assert current.dtype is torch.float32


def test_16_bits_of_another_module_are_widened():
    """Between layers, autocast may leave bfloat16; its gradient comes back in that type."""
    x = FLAT.bfloat16().requires_grad_()
    out = layer("linear")(x)
    assert out.dtype is torch.float32
    out.sum().backward()
    assert x.grad.dtype is torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_of_16_bits_are_refused(dtype):
    made, images = small_net("auto")
    made.to(dtype)
    for call in (
        lambda: made(images),
        lambda: made(images.to(dtype)),
        lambda: made.initialise(images, 1.0),
        made.spiking[0].fold,
        made.spiking[0].standardised,
    ):
        with pytest.raises(
            UserError, match=r"weight .*must be float32 or float64.*\.float\(\).*bf16_backward=True"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_networks_of_64_bits_work(engine):
    if engine == "cpu":
        pytest.importorskip("numba")
    made, images = small_net(engine, torch.float64)
    spikes, _ = made(images.float(), labels=LABEL)  # widened, too
    losses.get("ttfs")(spikes, LABEL).backward()
    assert spikes.dtype is torch.float64
    assert all(p.grad.dtype is torch.float64 for p in made.parameters())


# ---- NaN ----


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("frames", [False, True])
def test_nan_or_infinity_in_the_input_is_said_before_it_reaches_the_weights(bad, frames):
    made, images = small_net("auto")
    before = [p.clone() for p in made.state_dict().values()]
    x = (FRAMES if frames else images).clone()
    x.view(-1)[7] = bad
    with pytest.raises(UserError, match="input x holds NaN or infinity; look at the images"):
        made(x, labels=LABEL)
    assert all(torch.equal(p, q) for p, q in zip(made.state_dict().values(), before, strict=True))


def test_large_images_are_no_infinity():
    """Their sum is, in float32, which is looked at first."""
    made, images = small_net("auto")
    assert made(torch.full_like(images, 3e38)).shape == (T, N, 3)


# ---- losses of one's own ----


class Own(losses.Loss):
    name = "own"

    def __init__(self, made: Any) -> None:
        self.made = made

    def value_and_times(self, spikes: Tensor, label: Tensor) -> Any:
        return self.made(spikes)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda s: None, "must return a pair, the value and e = dL/dt, not None"),
        (lambda s: s.sum(), "must return a pair"),
        (lambda s: (s.sum(), s, s), "must return a pair"),
        (lambda s: (1.0, s), "the value as a floating-point tensor, not 1.0"),
        (lambda s: (s.sum(), s.numpy()), r"e = dL/dt as a floating-point tensor, not a ndarray of shape \(4, 3, 3\)"),
        (lambda s: (s.sum(), s.long()), "e = dL/dt as a floating-point tensor, not a Tensor .*int64"),
        (lambda s: (s.sum(), s.cfloat()), "e = dL/dt as a floating-point tensor"),
        (lambda s: (s.sum(), s.to_sparse()), "e = dL/dt as a floating-point tensor"),
        (lambda s: (s.sum((0, 2)), s), r"the value as a scalar, not of shape \(3,\)"),
        (lambda s: (s.sum(), s[0]), r"e = dL/dt in the shape of the spikes, \(T, N, C\) = \(4, 3, 3\), not \(3, 3\)"),
        (lambda s: (s.sum(), s[:2]), r"in the shape of the spikes, .* not \(2, 3, 3\)"),
        (lambda s: (s.sum(), s.sum()), r"in the shape of the spikes, .* not \(\)"),
        (lambda s: (s.sum(), s.to("meta")), "returned e = dL/dt on meta, where spikes are on cpu"),
        (lambda s: (s.sum(), s / 0), "the gradient that Own gives holds NaN or infinity at a spike"),
        (lambda s: (s.sum(), s * math.nan), "the gradient that Own gives holds NaN or infinity at a spike"),
    ],
)
def test_a_loss_of_ones_own_that_returns_something_else_gets_one_line(made, words):
    with pytest.raises(UserError, match=words) as caught:
        Own(made)(SPIKES.clone().requires_grad_(), LABEL)
    assert "Own" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_of_ones_own_may_return_what_broadcasts_and_nan_where_no_spike_is():
    for made in (
        lambda s: (s.sum(), s[:1] * 0 + 2),
        lambda s: (s.sum(), (s[:, :1, :1] * 0 + 2).expand_as(s)),
        lambda s: (s.sum().double(), torch.where(s > 0, 2.0, math.nan).double()),
    ):
        spikes = SPIKES.clone().requires_grad_()
        Own(made)(spikes, LABEL).backward()
        assert torch.equal(spikes.grad, 2 * SPIKES)
    assert Own(lambda s: (s.sum() * math.inf, s))(SPIKES, LABEL).isinf()


# ---- what can never learn ----


def pulls(loss: losses.Loss, steps: int) -> bool:
    """Whether a spike of the label is ever asked to come earlier, beyond what others are asked: over all trains."""
    trains = torch.tensor(list(itertools.product((0.0, 1.0), repeat=steps))).T
    spikes = torch.zeros(steps, trains.shape[1], 2)
    spikes[..., 0] = trains
    spikes[..., 1] = trains
    spikes.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss(spikes, torch.zeros(trains.shape[1], dtype=torch.int64)).backward()
    label, other = spikes.grad.unbind(2)
    return bool((label > 0).any()) and bool((label > other).any())


@pytest.mark.parametrize(
    ("name", "settings", "steps", "words"),
    [
        ("timing", {}, 1, "T = 1 leaves too few target spikes"),
        ("kernel", {}, 1, "T = 1 leaves too few target spikes"),
        ("kernel", {}, 2, "T = 2 leaves too few target spikes"),
        ("counting", {}, 1, "target_others 1 is no fewer than T = 1 spikes"),
        ("enhanced_counting", {"target_others": 4, "target_label": 5}, 4, "target_others 4 is no fewer than T = 4"),
        ("counting", {"target_label": 2, "target_others": 2}, 5, "target_label 2 is not above target_others 2"),
        ("enhanced_counting", {"target_label": 1, "target_others": 3}, 5, "target_label 1 is not above"),
    ],
)
def test_a_loss_that_can_teach_nothing_is_refused_by_settings_and_warned_of_in_a_loop(name, settings, steps, words):
    with pytest.raises(UserError, match=f"loss '{name}' can teach nothing with these settings: {words}"):
        experiments.get("quick", loss=name, steps=steps, rate=0.5, **settings)
    loss = losses.get(name, **settings)
    with pytest.warns(UserWarning, match=f"the {name} loss teaches nothing here: {words}"):
        loss(torch.ones(steps, 1, 2, requires_grad=True) * 1, torch.tensor([0]))
    if name in ("timing", "kernel"):
        assert not pulls(loss, steps)
        assert pulls(loss, steps + 1 if name == "timing" or steps == 2 else 3)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses_with_their_own_settings_teach_without_a_word(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.get(name)(SPIKES, LABEL)
    assert experiments.get("quick", loss=name).build_loss().cannot_learn(5) == ""
    assert pulls(losses.get(name), 5)


def test_a_rate_above_t_is_refused():
    with pytest.raises(UserError, match="rate must be 5 or less"):
        experiments.get("quick", rate=99)
    made, images = small_net("auto")
    with pytest.raises(UserError, match=r"rate must be T = 4 or less, .* not 99"):
        made.initialise(images, 99)
    assert experiments.get("quick", rate=5).rate == 5


# ---- forms with a meaning of their own ----


def test_settings_of_numpy_numbers_are_those_of_python():
    given = {
        "steps": np.int64(4),
        "epochs": np.uint8(2),
        "learning_rate": np.float32(0.5),
        "clip": np.True_,
        "tau_m": np.int32(6),
        "tau_s": torch.tensor(3.5),
        "padding": np.array([1, 1]),
        "mean": np.array([0.25]),
        "augmentation": np.array(["flip"]),
    }
    found = experiments.get("quick", **given)
    assert found == experiments.get(
        "quick", steps=4, epochs=2, learning_rate=0.5, clip=True, tau_m=6, tau_s=3.5, padding=(1, 1), mean=(0.25,),
        augmentation=("flip",),
    )  # fmt: skip
    assert type(found.neuron.tau_m) is int
    assert settings.Experiment.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_paddings_by_torchs_names():
    for padding, sides in (("same", (6, 6)), ("valid", (4, 4)), ([1, "valid"], (6, 4)), ((np.int64(2), 0), (8, 4))):
        if padding == "valid":
            made = networks.build("2C3-2C1-3", (1, 6, 6), 2, padding=padding)
        else:
            made = networks.build("2C3-2C3-3", (1, 6, 6), 2, padding=padding)
        assert made(IMAGES).shape == (5, N, 2), sides
    plain_layer, named = layers.SpikingConv2d(1, 2, 3, 1), layers.SpikingConv2d(1, 2, (3, 3), "same")
    assert plain_layer.affine == named.affine
    assert plain_layer.weight.shape == named.weight.shape
    assert layers.SpikingConv2d(1, 2, 3, "valid").affine == events.Convolution(0)
    for settings_, words in (
        ({"kernel_size": (3, 5)}, "kernel_size must be the same on both sides"),
        ({"kernel_size": 4, "padding": "same"}, "padding 'same' needs a kernel of an odd side"),
        ({"kernel_size": 3, "padding": "reflect"}, "padding must be a whole number, 'same' or 'valid'"),
        ({"kernel_size": 3, "padding": (1, 2)}, "padding must be the same on both sides"),
    ):
        with pytest.raises(UserError, match=words):
            layers.SpikingConv2d(1, 2, **settings_)
    with pytest.raises(UserError, match="padding lists 3 numbers for 1"):
        networks.build("2C3-3", (1, 6, 6), 2, padding=(1, 1, 1))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"in_shape": (6, 6)}, r"in_shape must be 3 numbers, \(C, H, W\), such as \(1, 28, 28\).*, not \(6, 6\)"),
        ({"in_shape": (1, 6)}, "in_shape must be"),
        ({"in_shape": (1, 6, 6, 1)}, "in_shape must be"),
        ({"in_shape": (0, 6, 6)}, "in_shape must be a whole number, 1 or more"),
        ({"in_shape": 6}, "in_shape must be"),
        ({"classes": 0}, "classes must be a whole number, 1 or more"),
        ({"steps": 0}, "steps must be a whole number, 1 or more"),
    ],
)
def test_shapes_that_are_none_get_one_line(given, words):
    with pytest.raises(UserError, match=words):
        networks.build("2C3-3", **{"in_shape": (1, 6, 6), "classes": 2, **given})


def test_what_people_pass_by_mistake_gets_the_way_out():
    made, images = small_net("auto")
    tet = losses.get("tet")
    for words, call in {
        "spikes must be one tensor, not a tuple of 2 .* pass the spikes alone": lambda: tet((SPIKES, SPIKES), LABEL),
        "to carry a gradient call .float": lambda: tet(SPIKES.bool(), LABEL),
        "normalise it first": lambda: made(images.byte()),
        "input x must be one tensor, not a list of 2": lambda: made([images, LABEL]),
        "spikes must be one tensor, not a list of 4 .* call torch.stack": lambda: tet(list(SPIKES), LABEL),
        "some are masked; call .filled": lambda: made(np.ma.masked_array(images.numpy(), mask=images.numpy() > 0.5)),
        "the tensor spikes holds NaN": lambda: readout.predict(SPIKES * math.nan),
        "steps must be a whole number, 1000000 or less": lambda: encoding.direct(images, 2**40),
        "labels must be 3 integers, one per sample": lambda: tet(SPIKES, torch.eye(3, dtype=torch.int64)),
        r"labels must be 3 integers, one per sample, shape \(3,\), not torch.int64 of": lambda: tet(
            SPIKES, LABEL[:, None]
        ),
        "call .to_dense": lambda: tet(SPIKES.to_sparse(), LABEL),
        "call .dequantize": lambda: made(quantised(images)),
        "on meta; which holds no values": lambda: made(images.to("meta")),
    }.items():
        with pytest.raises(UserError, match=words):
            call()


def test_checks_leave_the_arguments_as_they_are():
    """What is converted is a copy; what needs no conversion is used as it is, gradient and all."""
    x = FLAT.double().requires_grad_()
    layer("linear")(x).sum().backward()
    assert x.grad.dtype is torch.float64
    assert x.grad.any()
    array = IMAGES.double().numpy()
    kept = array.copy()
    small_net("auto")[0](array)
    assert (array == kept).all()
