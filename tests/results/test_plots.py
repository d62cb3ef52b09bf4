"""Pictures of runs, and TensorBoard's files."""

import struct
import sys
import xml.etree.ElementTree as ET

import pytest

from snnbook import records, training
from snnbook.errors import UserError
from snnbook.results import plots
from snnbook.training import tensorboard

from ..small_runs import StopAfter, small

pytestmark = pytest.mark.usefixtures("data")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """Two finished runs and one that stopped; not to be written to."""
    root = tmp_path_factory.mktemp("runs")
    training.fit(small(), root / "first", "cpu")
    training.fit(small(loss="ttfs", epochs=1), root / "second_$x$", "cpu")
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(seed=2), root / "stopped", "cpu", StopAfter(2))
    return root


def drawn(monkeypatch):
    """The figures that are drawn, caught at their making."""
    from matplotlib import figure

    caught = []

    class Caught(figure.Figure):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            caught.append(self)

    monkeypatch.setattr(figure, "Figure", Caught)
    return caught


def test_png_and_svg(runs, tmp_path):
    every = sorted(runs.iterdir())
    png = plots.plot(every, tmp_path / "new" / "curves.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24]) == (1440, 792)
    svg = plots.plot(every, tmp_path / "curves.SVG").read_bytes()
    assert ET.fromstring(svg).tag.endswith("svg")
    assert plots.plot(every, tmp_path / "again.svg").read_bytes() == svg, "the same runs, the same bytes"


def test_curves_are_the_records(runs, tmp_path, monkeypatch):
    caught = drawn(monkeypatch)
    plots.plot([runs / "first", runs / "stopped"], tmp_path / "curves.svg")
    (figure,) = caught
    accuracy, absolute, total, ratio, thresholds, names = figure.axes
    first = records.read(runs / "first")
    stopped = records.read(runs / "stopped")
    for axis, name in ((absolute, "grad_abs_sum"), (total, "grad_sum"), (ratio, "positive_ratio")):
        for line, record in zip(axis.lines, (first, stopped), strict=True):
            assert line.get_xdata().tolist() == [each.epoch for each in record.epochs]
            assert line.get_ydata().tolist() == [getattr(each, name) for each in record.epochs]
    tested, trained = accuracy.lines[:2]
    assert tested.get_ydata().tolist() == pytest.approx([100 * each.test_accuracy for each in first.epochs])
    assert trained.get_ydata().tolist() == pytest.approx([100 * each.train_accuracy for each in first.epochs])
    marks, mean = thresholds.lines[:2]
    assert marks.get_ydata().tolist() == first.last.output_thresholds
    assert mean.get_ydata().tolist() == pytest.approx([sum(first.last.output_thresholds) / 10])
    assert thresholds.lines[2].get_xdata().tolist() == [2] * 10
    shown = [text.get_text() for text in names.get_legend().get_texts()]
    assert shown == [
        f"1  first, enhanced_counting: best {first.best.test_accuracy:.2%}",
        f"2  stopped, enhanced_counting: best {stopped.best.test_accuracy:.2%}",
    ]
    colours = [line.get_color() for line in absolute.lines]
    assert len(set(colours)) == 2
    assert [handle.get_color() for handle in names.get_legend().legend_handles] == colours


def test_record_files_can_be_drawn(runs, tmp_path):
    records.write(records.read(runs / "first"), tmp_path / "kept.jsonl")
    assert plots.plot([tmp_path / "kept.jsonl"], tmp_path / "curves.png").exists()


def test_what_cannot_be_drawn(runs, tmp_path, monkeypatch):
    out = tmp_path / "curves.png"
    for name in ("curves.jpg", "curves", "png"):
        with pytest.raises(UserError, match=r"named \.png or \.svg"):
            plots.plot([runs / "first"], tmp_path / name)
    with pytest.raises(UserError, match="cannot read"):
        plots.plot([runs / "nowhere"], out)
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), tmp_path / "early", "cpu", StopAfter(1, mid_epoch=True))
    with pytest.raises(UserError, match="no epoch done yet"):
        plots.plot([runs / "first", tmp_path / "early"], out)
    with pytest.raises(UserError, match="cannot make the folder"):
        plots.plot([runs / "first"], runs / "first" / "settings.json" / "curves.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="pip install matplotlib"):
        plots.plot([runs / "first"], out)
    assert not out.exists()


# ---- TensorBoard ----


def scalars(folder):
    """name -> {step: value} of all of TensorBoard's files in a run's folder, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = EventAccumulator(str(folder / tensorboard.FOLDER))
    seen.Reload()
    found = {name: {event.step: event.value for event in seen.Scalars(name)} for name in seen.Tags()["scalars"]}
    return found, seen


def test_tensorboard_shows_every_epoch_once_after_a_stop_too(tmp_path):
    pytest.importorskip("tensorboard")
    told = tensorboard.Several([StopAfter(3, mid_epoch=True), tensorboard.TensorBoard()])
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), tmp_path / "run", "cpu", told)
    training.resume(tmp_path / "run", "cpu", tensorboard.TensorBoard())
    found, seen = scalars(tmp_path / "run")
    epochs = records.read(tmp_path / "run").epochs
    for name in ("loss", "test_accuracy", "grad_abs_sum", "learning_rate", "seconds"):
        assert found[name] == pytest.approx({each.epoch: getattr(each, name) for each in epochs}, rel=1e-6)
    for half, places in enumerate(("even", "odd")):
        wanted = {each.epoch: each.test_accuracy_halves[half] for each in epochs}
        assert found[f"test_accuracy_halves/{places}"] == pytest.approx(wanted, rel=1e-6)
    for number in (1, 2, 3):
        rates = {each.epoch: sum(each.firing_rates[number - 1]) for each in epochs}
        assert found[f"spikes_per_neuron/layer_{number}"] == pytest.approx(rates, rel=1e-6)
    assert found["mean_threshold/layer_3"][3] == pytest.approx(epochs[2].thresholds[2]["mean"], rel=1e-6)
    assert seen.Histograms("output_thresholds")[-1].histogram_value.num == 10


def test_a_missing_tensorboard_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        tensorboard.TensorBoard()
