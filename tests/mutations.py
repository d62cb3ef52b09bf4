"""Break the package on purpose, one sign or scale at a time: every break must turn the named check red.

Run as `make mutations` (or `python tests/mutations.py 3 7` for some of them); a few seconds each. Works on a copy.
`tests/test_mutations.py` keeps the list true to the source.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("snnbook", "tests", "book", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """One change to one place of the package, and the check that must fail for it.

    Args:
        file: under snnbook/
        old, new: text; `old` stands exactly once in the file
        check: a pytest node, or a notebook for nbval
    """

    file: str
    old: str
    new: str
    check: str


MUTATIONS = [
    Mutation(
        "losses.py",
        "grad_times = self.per_spike(target - count, count) / steps",
        "grad_times = self.per_spike(count - target, count) / steps",
        "tests/test_losses.py::test_totals_per_neuron",
    ),
    Mutation(
        "losses.py",
        "missing / count, 0.0)",
        "missing, 0.0)",
        "book/04_counting_and_enhanced.ipynb",
    ),
    Mutation(
        "losses.py",
        "value = (count - target).square().sum() / (2 * steps)",
        "value = (count - target).square().sum() / steps",
        "tests/test_losses.py::test_golden_loss",
    ),
    Mutation(
        "losses.py",
        "scale = steps / samples",
        "scale = 1 / samples",
        "tests/test_losses.py::test_sum_of_first_spike_gradients",
    ),
    Mutation(
        "losses.py",
        "(label.to(spikes) - log_share.exp()) * first",
        "(log_share.exp() - label.to(spikes)) * first",
        "book/05_first_spikes_zero_sum.ipynb",
    ),
    Mutation(
        "losses.py",
        "return grad_value * ctx.saved_tensors[0], None, None",
        "return ctx.saved_tensors[0], None, None",
        "tests/test_losses.py::test_backward_uses_its_incoming_gradient",
    ),
    Mutation(
        "losses.py",
        "return error.square().sum() / 2, -self._filter(error.flip(0)).flip(0)",
        "return error.square().sum() / 2, self._filter(error.flip(0)).flip(0)",
        "book/03_rate_losses_keep_time.ipynb",
    ),
    Mutation(
        "losses.py",
        "half_step = 0.5",
        "half_step = 0.0",
        "tests/test_losses.py::test_timing_by_hand",
    ),
    Mutation(
        "losses.py",
        "/ LABEL_SCALE_UNIT).clamp(min=1.0)",
        ").clamp(min=1.0)",
        "tests/test_losses.py::test_label_scaling_by_hand",
    ),
    Mutation(
        "ops/reference.py",
        "return torch.where(slope > 0, -1 / slope, 0.0).clamp(min=-bound)",
        "return torch.where(slope > 0, 1 / slope, 0.0).clamp(max=bound)",
        "tests/test_ops.py::test_reference_equals_the_double_sum",
    ),
    Mutation(
        "ops/reference.py",
        "share = torch.where(mean > 0, grad_pooled / (window**2 * mean), 0.0)",
        "share = torch.where(mean > 0, grad_pooled / window**2, 0.0)",
        "tests/test_ops.py::test_adjusted_pooling_conserves_the_sum",
    ),
    Mutation(
        "ops/cpu_kernels.py",
        "each[i] = e[i] / (size * mean[i])",
        "each[i] = e[i] / size",
        "tests/test_ops.py::test_fused_pooling_equals_reference",
    ),
    Mutation(
        "ops/cpu_kernels.py",
        "inverse = inverse if inverse < bound else bound",
        "inverse = inverse",
        "tests/test_ops.py::test_golden_layer",
    ),
    Mutation(
        "ops/cpu_events.py",
        "(a[i] - started) * gain, (b[i] - started) * gain",
        "-started * gain, -started * gain",
        "tests/test_event_driven.py::test_equals_the_dense_reference",
    ),
    Mutation(
        "ops/cpu_events.py",
        "credited - g[i]",
        "credited + g[i]",
        "tests/test_event_driven.py::test_conserves_the_sum",
    ),
    Mutation(
        "events.py",
        "grad_x = back.unflatten(0, x.shape[:2]) * x",
        "grad_x = back.unflatten(0, x.shape[:2])",
        "tests/test_networks.py::test_the_sum_of_gradients_through_a_network",
    ),
    Mutation(
        "layers.py",
        "self.threshold.div_(self.gamma)",
        "self.threshold.mul_(self.gamma)",
        "tests/test_networks.py::test_folding_leaves_the_output_unchanged_and_refuses_a_dead_gamma",
    ),
    Mutation(
        "networks.py",
        "layer.threshold.div_(_search_factor(layer, x, rate))",
        "layer.threshold.mul_(_search_factor(layer, x, rate))",
        "tests/test_networks.py::test_golden_training_steps",
    ),
    Mutation(
        "layers.py",
        "self.beta.div_(self.gamma)",
        "pass",
        "book/07_thresholds_that_learn.ipynb",
    ),
    Mutation(
        "networks.py",
        "if spikes[start:].sum(0).mean().item() > wanted:",
        "if spikes[start:].sum(0).mean().item() > rate:",
        "book/07_thresholds_that_learn.ipynb",
    ),
    Mutation(
        "trainer.py",
        "return experiment.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / experiment.epochs)) / 2",
        "return experiment.learning_rate * (1 + math.cos(math.pi * epoch / experiment.epochs)) / 2",
        "book/08_training_for_real.ipynb",
    ),
]


def turns_red(mutation: Mutation) -> bool:
    """Whether the named check fails on a copy of the project with the mutation in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        ignore = shutil.ignore_patterns("_build", "vendor", "__pycache__", ".ipynb_checkpoints")
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(
                source, copy / name, **({"ignore": ignore, "symlinks": True} if source.is_dir() else {})
            )
        path = copy / "snnbook" / mutation.file
        path.write_text(path.read_text().replace(mutation.old, mutation.new))
        options = ["--nbval"] if mutation.check.endswith(".ipynb") else []
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, mutation.check]
        environment = os.environ | {"PYTHONPATH": folder}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 1):  # 1: tests failed; anything else is no verdict
            raise RuntimeError(f"{mutation.check} could not be run:\n{done.stdout}\n{done.stderr}")
        return done.returncode == 1


def main() -> int:
    """Run the mutations whose numbers are given, or all; 1 if one survives."""
    chosen = [int(number) for number in sys.argv[1:]] or range(1, len(MUTATIONS) + 1)
    survived = 0
    for number in chosen:
        mutation = MUTATIONS[number - 1]
        red = turns_red(mutation)
        survived += not red
        print(
            f"{number:2} {'red' if red else 'SURVIVED':8} {mutation.file}: {mutation.old[:50]!r} -> {mutation.check}",
            flush=True,
        )
    print(f"{len(chosen) - survived} of {len(chosen)} breaks were seen")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
