"""Files of a run edited, cut and mislabelled at random: one line, or a right result; in bounded time and memory.

Some 700 edits by default; SNNBOOK_EDITS=20 makes 20 times as many, with other seeds.
"""

import json
import math
import os
import random
import resource
import shutil
import time
import zipfile
from functools import partial

import pytest
import torch

from snnbook import records, results, training
from snnbook.errors import UserError
from snnbook.records import RunRecord, checkpoints, files

from ..results.test_results import record
from ..small_runs import StopAfter, small
from . import hostile

pytestmark = pytest.mark.usefixtures("data")
SEEDS = range(3 * int(os.environ.get("SNNBOOK_EDITS", "1")))
MOST_SECONDS, MOST_MEMORY = 5, 300_000  # of an edit; kB of all edits of a seed


@pytest.fixture(scope="module")
def kept(tmp_path_factory, data):
    """A run that stopped within its second epoch; not to be written to."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), folder, "cpu", StopAfter(2, mid_epoch=True), save_every=0)
    return folder


@pytest.fixture
def bounded():
    """Memory of all that a test does."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


def tried(call):
    """What a call gives; None where it is refused, in one line, soon."""
    begun = time.monotonic()
    found = None
    line = ""
    try:
        found = call()
    except UserError as error:
        line = str(error)
    assert time.monotonic() - begun < MOST_SECONDS
    assert "\n" not in line
    assert len(line) < 20_000
    return found


ODD = [None, True, False, -1, 0, 1, 2, 10**30, -0.0, 0.5, 1e-300, 1e300, "", "x", "1", "\x1b[31m", "\u202e"]
ODD += [[], {}, [[]], [None], {"a": 1}, [1, 2, 3]]


def places(values, path=()):
    """Paths to all values within values."""
    yield path
    if isinstance(values, dict):
        for name, value in values.items():
            yield from places(value, (*path, name))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from places(value, (*path, number))


def edit(values, rng, odd):
    """Change one thing within values, in place; returns the values."""
    path = rng.choice([path for path in places(values) if path])
    inner = values
    for name in path[:-1]:
        inner = inner[name]
    name = path[-1]
    kind = rng.randrange(6)
    value = inner[name]
    if kind == 0 and isinstance(inner, dict):
        del inner[name]
    elif kind == 1 and isinstance(inner, dict):
        inner[f"{name}{rng.choice(['', ' ', 'x'])}~"] = inner.pop(name)
    elif kind == 1 and isinstance(inner, list):
        inner.insert(name, value)
    elif kind == 2 and isinstance(value, (int, float)) and not isinstance(value, bool):
        inner[name] = rng.choice([-value, value + 1, value * 1.01, value / 2, value * 1000, int(value)])
    elif kind == 3:
        other = rng.choice([path for path in places(values) if path])
        found = values
        for step in other:
            found = found[step]
        inner[name] = found if len(other) > len(path) or other != path[: len(other)] else None
    else:
        inner[name] = odd(rng, value)
    return values


# ---- checkpoints ----


def odd_tensor(rng, value):
    """Something in the place of a value of a checkpoint."""
    if isinstance(value, torch.Tensor) and rng.random() < 0.7:
        numbers = [torch.zeros_like(value), torch.ones_like(value), -value if value.is_floating_point() else value]
        if rng.random() < 0.3:
            return rng.choice(numbers)
        return hostile.TENSORS[rng.choice(list(hostile.TENSORS))](value.float())
    if rng.random() < 0.3:
        return rng.choice([torch.ones(3), torch.tensor(2), torch.zeros(2, 2, dtype=torch.float64), hostile.doubled()])
    return rng.choice(ODD)


def damage(content, rng):
    """Bytes cut off, changed, or there twice."""
    kind = rng.randrange(4)
    place = rng.randrange(len(content))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + content[rng.randrange(len(content)) :]
    if kind == 2:
        return content[:place] + bytes(rng.randrange(256) for _ in range(rng.randint(1, 8))) + content[place:]
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(changed)


def mislabel(path, rng):
    """Give two entries of an archive each other's content, or one the name of another; checksums are right."""
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    one, other = rng.sample(list(found), 2)
    if rng.random() < 0.5:
        found[one], found[other] = found[other], found[one]
    else:
        found[one] = rng.choice([b"", found[one][:-1], found[one] + b"\0" * 8, found[other]])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in found.items():
            archive.writestr(name, content)


def change_checkpoint(path, rng):
    kind = rng.randrange(4)
    if kind == 0:
        path.write_bytes(damage(path.read_bytes(), rng))
    elif kind == 1:
        mislabel(path, rng)
    else:
        hostile.edited(path, lambda values: edit(values, rng, odd_tensor))


def right_checkpoint(found):
    """It may be another state than the one that was edited, but it is a state of such a run."""
    net = found.experiment.build_network()
    net.load_state_dict(found.model)
    assert all(value.isfinite().all() for value in found.model.values())
    assert 0 <= found.epoch <= found.experiment.epochs
    for entry in found.optimiser["state"].values():
        assert entry["exp_avg"].shape == entry["exp_avg_sq"].shape


@pytest.mark.parametrize("seed", SEEDS)
def test_checkpoints(seed, kept, tmp_path, bounded):
    rng = random.Random(seed)
    path = tmp_path / checkpoints.LAST
    refused = 0
    begun = time.monotonic()
    for number in range(60):
        shutil.copyfile(kept / checkpoints.LAST, path)
        change_checkpoint(path, rng)
        found = tried(partial(checkpoints.read, path, small() if number % 2 else None))
        if found is None:
            refused += 1
        else:
            right_checkpoint(found)
    assert refused > 30, f"{time.monotonic() - begun:.1f} s"


@pytest.mark.parametrize("seed", SEEDS)
def test_runs_go_on_or_are_left_alone(seed, kept, tmp_path, bounded):
    """One file of a run is changed, or has the content of another one; the run ends, or nothing of it is changed."""
    rng = random.Random(1000 + seed)
    names = [records.SETTINGS, records.PROVENANCE, records.EPOCHS, checkpoints.LAST, checkpoints.BEST]
    for number in range(8):
        folder = tmp_path / str(number)
        shutil.copytree(kept, folder)
        name = rng.choice(names)
        if rng.random() < 0.3:
            (folder / name).write_bytes((folder / rng.choice(names)).read_bytes())
        elif name.endswith(".pt"):
            change_checkpoint(folder / name, rng)
        else:
            (folder / name).write_bytes(change_lines((folder / name).read_bytes(), rng))
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        found = tried(lambda folder=folder: training.resume(folder, "cpu"))
        if found is not None:
            assert found.finished or found.experiment != small()
        elif name != checkpoints.BEST:  # that one is looked at once the run has gone on
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, name


# ---- JSON ----


def odd_value(rng, value):
    return rng.choice(ODD)


def change_lines(content, rng):
    """Lines edited as values, or as bytes; left out, there twice, or in another order."""
    kind = rng.randrange(5)
    if kind == 0:
        return damage(content, rng)
    if content.startswith(b"{\n"):
        return files.to_json(edit(json.loads(content), rng, odd_value), indent=2)
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    if kind == 1:
        lines.insert(rng.randrange(len(lines)), lines[place])
    elif kind == 2 and len(lines) > 1:
        del lines[place]
    elif kind == 3:
        rng.shuffle(lines)
    else:
        lines[place] = files.to_json(edit(json.loads(lines[place]), rng, odd_value))
    return b"".join(lines)


def right_record(found):
    """Figures of as many layers, steps and classes as the settings describe, and consistent."""
    assert isinstance(found, RunRecord)
    assert len(found.epochs) <= found.experiment.epochs
    for epoch in found.epochs:
        assert abs(epoch.grad_sum) <= epoch.grad_abs_sum * 1.001
        assert len(epoch.firing_rates) == len(epoch.thresholds)
        assert {len(rates) for rates in epoch.firing_rates} == {found.experiment.steps}
        assert len(epoch.output_thresholds) == found.experiment.classes
        assert min(epoch.test_accuracy_halves) <= epoch.test_accuracy <= max(epoch.test_accuracy_halves)
        assert math.isfinite(epoch.seconds + epoch.loss)


@pytest.mark.parametrize("seed", SEEDS)
def test_run_folders(seed, kept, tmp_path, bounded):
    rng = random.Random(2000 + seed)
    folder = tmp_path / "run"
    shutil.copytree(kept, folder)
    for _ in range(100):
        name = rng.choice([records.SETTINGS, records.PROVENANCE, records.EPOCHS])
        (folder / name).write_bytes(change_lines((kept / name).read_bytes(), rng))
        found = tried(lambda: records.read(folder))
        if found is not None:
            right_record(found)
        shutil.copyfile(kept / name, folder / name)


@pytest.mark.parametrize("seed", SEEDS)
def test_records(seed, tmp_path, bounded):
    """With a checksum nothing that is changed is read, but for the file's name."""
    rng = random.Random(3000 + seed)
    root = tmp_path / "results"
    path = results.save(record("quick", [0.5, 0.75], epochs=2), root)
    whole = path.read_bytes()
    wanted = records.read(path)
    for _ in range(80):
        changed = change_lines(whole, rng)
        path.write_bytes(changed)
        found = tried(lambda: records.read(path))
        assert found is None or (found == wanted and changed == whole)
        # of version 2: the index has the checksum, and figures must be right by themselves
        lines = changed.replace(b'"version": 3', b'"version": 2').splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if b'"sha256"' not in line))
        found = tried(lambda: records.read(path))
        if found is not None:
            right_record(found)
        assert tried(lambda: results.load(root)) is None
    path.write_bytes(whole)
    other = path.with_name("quick-e2-seed1.jsonl")
    path.rename(other)
    assert tried(lambda: results.load(root)) is None
