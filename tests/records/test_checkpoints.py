"""Checkpoints that somebody edited or made up: one line, bounded time and memory, nothing changed."""

import resource
import time
import zipfile

import pytest
import torch

from snnbook import training
from snnbook.errors import UserError
from snnbook.records import checkpoints, tensor_file

from ..small_runs import StopAfter, same_state, small, state
from . import hostile

pytestmark = pytest.mark.usefixtures("data")
WEIGHT = "layers.2.weight"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """Runs that stopped after the first epoch and within the second one; not to be written to."""
    root = tmp_path_factory.mktemp("runs")
    for name, within in (("between", False), ("within", True)):
        with pytest.raises(KeyboardInterrupt):
            training.fit(small(), root / name, "cpu", StopAfter(1 + within, within), save_every=0)
    assert (state(root / "within").epoch, state(root / "within").step) == (1, 1)
    return root


@pytest.fixture(params=["between", "within"])
def run(request, runs, tmp_path):
    return copied(runs / request.param, tmp_path / "run")


def copied(run, folder):
    folder.mkdir()
    for path in run.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def everywhere(run):
    """The ways into last.pt."""
    return lambda: training.resume(run, "cpu"), lambda: training.evaluate(run, "last", "cpu")


def alone(run):
    """The reader that they share, for the many."""
    return (lambda: checkpoints.read(run / checkpoints.LAST, small()),)


def refused(run, words=".", calls=everywhere):
    """All ways into last.pt end in one line with its name, soon, in little memory, and write nothing."""
    before = content(run)
    begun = time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in calls(run):
        with pytest.raises(UserError, match=words) as caught:
            call()
        line = str(caught.value)
        assert str(run / checkpoints.LAST) in line
        assert "\n" not in line
        assert len(line) < 1000
    assert content(run) == before
    assert time.monotonic() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000, "kB"
    return line


def test_what_nobody_edited_is_read_as_torch_reads_it(runs):
    for name in ("between", "within"):
        path = runs / name / checkpoints.LAST
        values = torch.load(path, weights_only=True)
        found = state(runs / name)
        kept = {field: values[field] for field in checkpoints._FIELDS} | {"experiment": found.experiment}
        same_state(checkpoints.Checkpoint(**kept), found)
        assert all(value.is_contiguous() for value in found.model.values())


# ---- types and shapes ----


def put(kind, place):
    """A function that puts such a value into a checkpoint's values."""

    def change(values):
        if place == "sums":
            values["sums"] = hostile.TENSORS[kind](values["sums"])
        elif place == "generators":
            values["generators"]["cpu"] = hostile.TENSORS[kind](values["generators"]["cpu"].float())
        elif place == "weight":
            values["model"][WEIGHT] = hostile.TENSORS[kind](values["model"][WEIGHT])
        else:
            entry = values["optimiser"]["state"][1]
            entry[place] = hostile.TENSORS[kind](entry[place])

    return change


@pytest.mark.parametrize("place", ["weight", "sums", "exp_avg", "exp_avg_sq", "step", "generators"])
@pytest.mark.parametrize("kind", hostile.TENSORS)
def test_other_kinds_of_values_in_the_place_of_a_tensor(kind, place, runs, tmp_path):
    if (kind, place) in (("double", "sums"), ("one more axis", "generators")):
        kind = "whole"
    run = copied(runs / "between", tmp_path / "run")
    hostile.edited(run / checkpoints.LAST, put(kind, place))
    refused(run, calls=everywhere if place in ("weight", "exp_avg") else alone)


OTHERS = [None, True, -1, 2**80, float("nan"), "x", "x" * 10**5, [], {}, {3: 4}, (1, 2), torch.ones(2), torch.ones(())]
OTHERS += [hostile.doubled(), hostile.within_itself(), {"a": hostile.doubled()}]


@pytest.mark.parametrize("name", [*checkpoints._FIELDS, "format", "version"])
@pytest.mark.parametrize("value", OTHERS, ids=range(len(OTHERS)))
def test_other_entries(name, value, runs, tmp_path):
    run = copied(runs / "between", tmp_path / "run")
    hostile.edited(run / checkpoints.LAST, lambda values: values.__setitem__(name, value))
    refused(run, calls=everywhere if name == "version" else alone)


def test_a_version_in_a_thousand_lists_is_not_shown(runs, tmp_path):
    """Equal to the number that is wanted, as torch compares; and a list whose text would fill memory."""
    run = copied(runs / "between", tmp_path / "run")
    for version in (torch.tensor(checkpoints.VERSION), float(checkpoints.VERSION), True):
        hostile.edited(run / checkpoints.LAST, lambda values, version=version: values.__setitem__("version", version))
        refused(run, "has version")
    hostile.edited(run / checkpoints.LAST, lambda values: values.__setitem__("version", hostile.doubled()))
    refused(run, "nested too deep")


def test_an_optimiser_of_another_kind_or_with_other_numbers(runs, tmp_path):
    def group(**changes):
        return lambda values: values["optimiser"]["param_groups"][0].update(changes)

    cases = {
        "momentum": group(momentum=0.9),
        "betas": group(betas=(0.5, 0.999)),
        "weight_decay": group(weight_decay=0.5),
        "params": group(params=[2, 1, 0]),
        "amsgrad": group(amsgrad=True),
        "maximize": group(maximize=True),
        "lr of": group(lr=float("nan")),
        "momentum_buffer": lambda values: values["optimiser"]["state"][0].update(momentum_buffer=torch.zeros(3)),
        "lacks 4": lambda values: values["optimiser"]["state"].pop(4),
        "lacks 'exp_avg'": lambda values: values["optimiser"]["state"][4].pop("exp_avg"),
        "holds 99": lambda values: values["optimiser"]["state"].update({99: values["optimiser"]["state"][0]}),
        "list of 2": lambda values: values["optimiser"]["param_groups"].pop(),
        "lacks 0": lambda values: values["optimiser"]["state"].clear(),
        "holds 'more'": lambda values: values["model"].update(more=torch.zeros(1)),
        "lacks 'layers.2.gamma'": lambda values: values["model"].pop("layers.2.gamma"),
        "holds 'mps'": lambda values: values["generators"].update(mps=torch.zeros(3)),
    }
    for number, (words, change) in enumerate(cases.items()):
        run = copied(runs / "within", tmp_path / str(number))
        hostile.edited(run / checkpoints.LAST, change)
        refused(run, words)


# ---- numbers ----


def forget(values):
    """The optimiser's moments are 0, its counters as they were."""
    for entry in values["optimiser"]["state"].values():
        entry["exp_avg"].zero_()
        entry["exp_avg_sq"].zero_()


def test_numbers_that_no_run_comes_to(run):
    state_of = checkpoints.read(run / checkpoints.LAST)
    begun = state_of.step > 0
    first = {}

    def case(words, change):
        first[words] = change

    case("steps of the optimiser are not", lambda values: values.update(epoch=2))
    case("steps of the optimiser|must be|holds 0", lambda values: values.update(epoch=0))
    case("not finite", lambda values: values["model"][WEIGHT].view(-1)[3].fill_(torch.nan))
    case("not above 0", lambda values: values["model"]["layers.2.threshold"][0].fill_(0))
    case("layers.0.gamma is not above 0", lambda values: values["model"]["layers.0.gamma"].neg_())
    case("exp_avg_sq of parameter 2 is negative", lambda values: values["optimiser"]["state"][2]["exp_avg_sq"].neg_())
    case("exp_avg of parameter 2 is larger", lambda values: values["optimiser"]["state"][2]["exp_avg_sq"].zero_())
    case("same number of steps", lambda values: values["optimiser"]["state"][2]["step"].add_(1))
    case("Invalid mt19937 state|cannot be the state", lambda values: values["generators"]["cpu"].fill_(255))
    if begun:
        case("sums are of", lambda values: values["sums"].zero_())
        case("negative", lambda values: values["sums"][4].neg_())
        case("exp_avg_sq of all parameters is 0", forget)
        case("sum correct is", lambda values: values["sums"][1].fill_(61))
        case("whole samples", lambda values: values["sums"][1].fill_(0.5))
        case("grad_sum is larger", lambda values: values["sums"][3].fill_(1e9))
    else:
        case("sums are not 0", lambda values: values["sums"].fill_(60))
        case("seconds", lambda values: values.update(seconds=5.0))
    case("seconds of the checkpoint must be .* not nan", lambda values: values.update(seconds=float("nan")))
    case("seconds of the checkpoint must be .* not -1", lambda values: values.update(seconds=-1.0))
    path = run / checkpoints.LAST
    whole = (run / checkpoints.LAST).read_bytes()
    for words, change in first.items():
        path.write_bytes(whole)
        hostile.edited(path, change)
        refused(run, words)


@pytest.mark.parametrize("changes", [{"epoch": 0}, {"epoch": 3, "step": 0}, {"step": 2}, {"step": 3}])
def test_counts_that_are_not_those_of_the_optimiser(changes, runs, tmp_path):
    """What the data say of an epoch's length is looked at where a run goes on."""
    for name in ("between", "within"):
        run = copied(runs / name, tmp_path / name)
        hostile.edited(run / checkpoints.LAST, lambda values: values.update(changes))
        before = content(run)
        with pytest.raises(UserError, match=r"last\.pt"):
            training.resume(run, "cpu")
        assert content(run) == before


def test_an_epoch_of_another_length_is_noticed_by_the_data(runs, tmp_path):
    """Steps that fit two epochs of three, or three of two: only the data tell."""
    run = copied(runs / "between", tmp_path / "run")

    def change(values):
        for entry in values["optimiser"]["state"].values():
            entry["step"].fill_(4)

    hostile.edited(run / checkpoints.LAST, change)
    checkpoints.read(run / checkpoints.LAST)
    with pytest.raises(UserError, match="3 steps in all, but its optimiser has counted 4"):
        training.resume(run, "cpu")


def test_a_checkpoint_without_counters_trains_on(tmp_path):
    """Plain gradient descent counts nothing and remembers nothing."""
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(optimiser="sgd"), tmp_path / "run", "cpu", StopAfter(2))
    hostile.edited(tmp_path / "run" / checkpoints.LAST, lambda values: values["optimiser"]["state"].update({0: {}}))
    refused(tmp_path / "run", "holds 0")
    hostile.edited(tmp_path / "run" / checkpoints.LAST, lambda values: values["optimiser"]["state"].clear())
    assert training.resume(tmp_path / "run", "cpu").finished


# ---- archives ----


@pytest.mark.parametrize("times", [1, 1000, 3000])
def test_a_block_that_is_named_often_is_not_read_often(times, runs, tmp_path):
    run = copied(runs / "between", tmp_path / "run")
    hostile.blocks_named_often(run / checkpoints.LAST, times)
    refused(run, "entries overlap")


def test_a_checkpoint_larger_than_its_settings_need_is_not_read(runs, tmp_path):
    """A file with a hole: two gigabytes that take no room on the disk."""
    run = copied(runs / "between", tmp_path / "run")
    path = run / checkpoints.LAST
    with path.open("r+b") as file:
        file.truncate(2**31)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in everywhere(run):
        with pytest.raises(UserError, match="2,147,483,648 bytes, and a checkpoint of its settings has"):
            call()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000, "kB"


def test_weights_that_share_a_block_are_apart_once_read(runs, tmp_path):
    """Two names for the same memory would move together in training."""
    run = copied(runs / "between", tmp_path / "run")

    def change(values):
        entry = values["optimiser"]["state"][1]
        entry["exp_avg"] = entry["exp_avg_sq"]

    hostile.edited(run / checkpoints.LAST, change)
    entry = state(run).optimiser["state"][1]
    assert entry["exp_avg"].data_ptr() != entry["exp_avg_sq"].data_ptr()


def pickled(*parts):
    """A pickle of protocol 2."""
    return b"\x80\x02" + b"".join(parts) + b"."


ORDERED = b"ccollections\nOrderedDict\n"
EMPTY = ORDERED + b")R"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickled(b"cbuiltins\nbytearray\n", b"\x8a\x05\x00\x00\x00\x00\x7f\x85R"), r"holds builtins\.bytearray"),
        (pickled(b"N", b"r\xff\xff\xff\x7f"), "places that there are not"),
        (pickled(b"(dq\x01", ORDERED, b"h\x01\x85R"), "damaged"),
        (pickled(EMPTY, b"}X\x01\x00\x00\x00aNsb"), "not a checkpoint of snnbook"),
        (pickled(b"ctorch._utils\n_rebuild_tensor_v2\n", b"}X\x01\x00\x00\x00aNsb"), "damaged"),
        (pickled(b"ctorch._utils\n_rebuild_sparse_tensor\n"), "holds torch._utils._rebuild_sparse_tensor"),
        (pickled(b"]", *[b"\x8a\x09" + b"\xff" * 8 + b"\x00a"] * 200), "too many large numbers"),
        (pickled(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"), "damaged"),
        (pickled(*[b"]"] * 50, *[b"a"] * 49), "nested too deep"),
        (b"", "damaged"),
        (pickled(b"N" * 2**20), "data.pkl is too large"),
    ],
)
def test_pickles_that_would_take_memory_or_change_the_program(content, words, runs, tmp_path):
    run = copied(runs / "between", tmp_path / "run")
    with zipfile.ZipFile(run / checkpoints.LAST, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    refused(run, words)
    assert tensor_file._NewDict()() == {}
