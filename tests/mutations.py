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
PAGES = ROOT / "book" / "_build" / "html"
COPIED = ("snnbook", "tests", "book", "examples", "results", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """One change to one place of the package, and the check that must fail for it.

    Args:
        file: under snnbook/; a script (.js) is broken in the built pages too
        old, new: text; `old` stands exactly once in the file
        check: a pytest node, or a notebook for nbval
        shows: losses by name and equations by label that the notebook is seen to check; the break is in their code
    """

    file: str
    old: str
    new: str
    check: str
    shows: tuple[str, ...] = ()


MUTATIONS = [
    Mutation(
        "losses.py",
        "self._value_and_pull(spikes, label, shard, least=1)",
        "self._value_and_pull(spikes, label, shard, least=0)",
        "book/own.ipynb",
        ("eq-rate-floor",),
    ),
    Mutation(
        "losses.py",
        "return value, -pull",
        "return value, pull",
        "tests/test_gradient_kinds.py::test_a_surrogate_network_learns_from_rates",
    ),
    Mutation(
        "gradient_kinds.py",
        "                foreign = True\n                continue\n",
        "                continue\n",
        "tests/test_gradient_kinds.py::test_a_surrogate_network_under_a_loss_of_times_is_warned_of_once",
    ),
    Mutation(
        "gradient_kinds.py",
        "    for layer in layers:\n        layer.kind_is_known = True\n",
        "",
        "tests/test_gradient_kinds.py::test_no_false_alarm",
    ),
    Mutation(
        "layers.py",
        "if self.training and torch.is_grad_enabled() and self._owns_gamma():",
        "if torch.is_grad_enabled() and self._owns_gamma():",
        "tests/test_layers.py::test_reading_writes_nothing",
    ),
    Mutation(
        "layers.py",
        "            threshold = threshold / scale\n",
        "",
        "tests/test_layers.py::test_reading_writes_nothing",
    ),
    Mutation(
        "losses.py",
        "pull = self.per_spike(missing, divisor) / steps",
        "pull = self.per_spike(-missing, divisor) / steps",
        "tests/test_losses.py::test_totals_per_neuron",
    ),
    Mutation(
        "devices.py",
        "        if not autocasts():",
        "        if True:",
        "tests/test_inputs.py::test_autocast_changes_nothing",
    ),
    Mutation(
        "inputs.py",
        "if not math.isfinite(distinct.detach().sum().item()) and",
        "if False and",
        "tests/test_inputs.py::test_nan_or_infinity_in_the_input_is_said_before_it_reaches_the_weights",
    ),
    Mutation(
        "inputs.py",
        "if value.dtype not in _REAL or",
        "if False and",
        "tests/test_inputs.py::test_what_people_pass_by_mistake_gets_the_way_out",
    ),
    Mutation(
        "losses.py",
        "if self.target_label <= self.target_others:",
        "if self.target_label < self.target_others:",
        "tests/test_inputs.py::test_a_loss_that_can_teach_nothing_is_refused_by_settings_and_warned_of_in_a_loop",
    ),
    Mutation(
        "losses.py",
        "(missing / count).masked_fill_",
        "missing.masked_fill_",
        "book/04_counting_and_enhanced.ipynb",
        ("enhanced_counting", "eq-enhanced-gradient", "eq-enhanced-total"),
    ),
    Mutation(
        "losses.py",
        "missing.square().sum() / (2 * steps)",
        "missing.square().sum() / steps",
        "tests/test_losses.py::test_golden_loss",
    ),
    Mutation(
        "losses.py",
        "scale = steps / _joint_samples(spikes, shard)",
        "scale = 1 / _joint_samples(spikes, shard)",
        "tests/test_losses.py::test_sum_of_first_spike_gradients",
    ),
    Mutation(
        "losses.py",
        "(label.to(spikes) - log_share.exp()) * first",
        "(log_share.exp() - label.to(spikes)) * first",
        "book/05_first_spikes_zero_sum.ipynb",
        ("ttfs", "eq-ttfs-gradient"),
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
        ("kernel", "eq-approximation"),
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
        "tests/ops/test_ops.py::test_reference_equals_the_double_sum",
    ),
    Mutation(
        "ops/reference.py",
        "share = torch.where(mean > 0, grad_pooled / (window**2 * mean), 0.0)",
        "share = torch.where(mean > 0, grad_pooled / window**2, 0.0)",
        "tests/ops/test_ops.py::test_adjusted_pooling_conserves_the_sum",
    ),
    Mutation(
        "ops/cpu/llvm_windows.py",
        "builder.fdiv(vectors.load(place, length), spikes)",
        "vectors.load(place, length)",
        "tests/ops/test_ops.py::test_fused_pooling_equals_reference",
    ),
    Mutation(
        "ops/cpu/llvm_windows.py",
        "emit(at, whole, left)",
        "emit(at, whole, word(LANES))",
        "tests/ops/test_cpu_maps.py::test_windows_are_pooled_and_shared_and_nothing_beside_them",
    ),
    Mutation(
        "ops/cpu/llvm_rows.py",
        "lanes = builder.sub(length, word(LANES * (number - 1))) if masks",
        "lanes = word(LANES) if masks",
        "tests/ops/test_cpu_maps.py::test_rows_are_added_and_nothing_beside_them",
    ),
    Mutation(
        "ops/cpu/llvm_rows.py",
        'function.linkage = "internal"',
        'function.linkage = "linkonce_odr"',
        "tests/ops/test_cpu_maps.py::test_functions_of_ours_belong_to_one_module",
    ),
    Mutation(
        "ops/cpu/llvm_rows.py",
        "word(LANES - 1 if masks else 0)",
        "word(LANES - 1)",
        "tests/ops/test_cpu_maps.py::test_processors_without_masked_loads_add_the_same",
    ),
    Mutation(
        "ops/cpu/llvm_rows.py",
        "builder.gep(source, [used]), left)",
        "source, left)",
        "tests/ops/test_cpu_maps.py::test_rows_are_added_and_nothing_beside_them",
    ),
    Mutation(
        "ops/cpu/events.py",
        "c, trace = channel[j], membrane[j] - synaptic[j]",
        "c, trace = channel[j], membrane[j]",
        "tests/ops/test_event_driven.py::test_equals_the_dense_reference",
    ),
    Mutation(
        "ops/cpu/maps.py",
        "-bound if row[i] < -bound else",
        "bound if row[i] < -bound else",
        "tests/test_networks.py::test_folding_agrees_between_engines",
    ),
    Mutation(
        "ops/cpu/neurons.py",
        "slope = c[i] * (now - before[i] if leaky else now)",
        "slope = c[i] * now",
        "tests/ops/test_ops.py::test_fused_pooling_equals_reference",
    ),
    Mutation(
        "ops/cpu/neurons.py",
        "inverse = inverse if inverse < bound else bound",
        "inverse = inverse",
        "tests/ops/test_ops.py::test_golden_layer",
    ),
    Mutation(
        "ops/cpu/events.py",
        "(a[i] - started) * gain, (b[i] - started) * gain",
        "-started * gain, -started * gain",
        "tests/ops/test_event_driven.py::test_equals_the_dense_reference",
    ),
    Mutation(
        "ops/cpu/events.py",
        "credited - g[i]",
        "credited + g[i]",
        "tests/ops/test_event_driven.py::test_conserves_the_sum",
    ),
    Mutation(
        "ops/cpu/events.py",
        "np.uint64(low + trailing_zeros(word))",
        "np.uint64(trailing_zeros(word))",
        "tests/ops/test_event_driven.py::test_equals_the_dense_reference",
    ),
    Mutation(
        "ops/cpu/__init__.py",
        "limit * math.prod(shape)",
        "limit * math.prod(shape[1:])",
        "tests/ops/test_event_driven.py::test_chosen_where_spikes_are_few_and_the_kernel_allows",
    ),
    Mutation(
        "ops/cpu/__init__.py",
        "empty = runs.new_empty if whole else runs.new_zeros",
        "empty = runs.new_empty",
        "tests/ops/test_ops.py::test_fused_pooling_equals_reference",
    ),
    Mutation(
        "ops/cpu/maps.py",
        "min(side, width + cut - column)",
        "min(side - 1, width + cut - column)",
        "tests/ops/test_cpu_maps.py::test_currents_of_few_spikes_equal_the_dense_product",
    ),
    Mutation(
        "ops/cpu/maps.py",
        "stop = min(begin + together, side)",
        "stop = side",
        "tests/ops/test_cpu_maps.py::test_currents_of_few_spikes_equal_the_dense_product",
    ),
    Mutation(
        "ops/cpu/maps.py",
        "floor, out[c], np.empty(PARTS, weight.dtype))\n\n\n@_plain_driver\ndef standardise_backward",
        "floor, out[0], np.empty(PARTS, weight.dtype))\n\n\n@_plain_driver\ndef standardise_backward",
        "tests/test_networks.py::test_weights_are_made_ready_as_by_folding_and_then_standardising",
    ),
    Mutation(
        "ops/cpu/connected.py",
        "factors[at] = i * width, row[i]",
        "factors[at] = i * width, 1",
        "tests/ops/test_cpu_maps.py::test_fully_connected_currents_of_few_spikes_equal_the_dense_product",
    ),
    Mutation(
        "ops/cpu/maps.py",
        "scale * g[i] - evenly - along",
        "scale * g[i] - along",
        "tests/ops/test_cpu_maps.py::test_standardised_weights_equal_the_reference",
    ),
    Mutation(
        "ops/triton/weights.py",
        "tl.store(by_weight + at, scale * g - evenly - along * (w - mean), there)",
        "tl.store(by_weight + at, scale * g - evenly + along * (w - mean), there)",
        "tests/test_networks.py::test_passes_over_weights_agree_between_engines",
    ),
    Mutation(
        "ops/triton/weights.py",
        "tl.store(weight + at, clipped, there & (clipped != w))",
        "tl.store(weight + at, clipped, there & (clipped < w))",
        "tests/test_networks.py::test_folding_agrees_between_engines",
    ),
    Mutation(
        "ops/triton/step.py",
        "plane, y, x = at // width // height, at // width % height // WINDOW, at % width // WINDOW",
        "plane, y, x = at // width // height, at // width % width // WINDOW, at % width // WINDOW",
        "tests/ops/test_triton.py::test_equals_the_reference_on_odd_sizes",
    ),
    Mutation(
        "ops/triton/halves.py",
        "for half in range(1 + tl.load(more)):",
        "for half in range(1):",
        "tests/ops/test_triton_maps.py::test_products_are_as_exact_as_float32",
    ),
    Mutation(
        "ops/triton/halves.py",
        "second = (value - first.to(tl.float32)).to(tl.float16)",
        "second = (value - value).to(tl.float16)",
        "tests/ops/test_triton_maps.py::test_products_are_as_exact_as_float32",
    ),
    Mutation(
        "ops/triton/halves.py",
        "tl.minimum(268 - (tl.load(largest) >> 23), 253)",
        "tl.minimum(268 - (tl.load(largest) >> 23), 140)",
        "tests/ops/test_triton_maps.py::test_gradients_and_weights_of_any_size",
    ),
    Mutation(
        "ops/triton/halves.py",
        "of_weight = (channel * TAPS + (TAPS - 1 - tap)) * rows if BACK else k",
        "of_weight = (channel * TAPS + tap) * rows if BACK else k",
        "tests/ops/test_triton_maps.py::test_a_layer_goes_this_way",
    ),
    Mutation(
        "ops/triton/__init__.py",
        '"enable_fp_fusion": False',
        '"enable_fp_fusion": True',
        "tests/ops/test_triton.py::test_compiles_ahead_of_time",
    ),
    Mutation(
        "ops/triton/neurons.py",
        "fired = (u >= threshold) & (start + i < steps)",
        "fired = u >= threshold",
        "tests/ops/test_triton.py::test_equals_the_reference_on_odd_sizes",
    ),
    Mutation(
        "ops/triton/step.py",
        "f = tl.where(fired, credited, f) * decay_g",
        "f = tl.where(fired, credited, f)",
        "tests/ops/test_ops.py::test_golden_layer",
    ),
    Mutation(
        "events.py",
        "grad_x = back.unflatten(0, x.shape[:2]) * x",
        "grad_x = back.unflatten(0, x.shape[:2])",
        "tests/test_networks.py::test_the_sum_of_gradients_through_a_network",
    ),
    Mutation(
        "ops/reference.py",
        "threshold.div_(gamma)",
        "threshold.mul_(gamma)",
        "tests/test_networks.py::test_folding_leaves_the_output_unchanged_and_refuses_a_dead_gamma",
    ),
    Mutation(
        "results/protocol.py",
        "math.sqrt(1 + 1 / ours.n)",
        "math.sqrt(1 / ours.n)",
        "book/09_the_tables.ipynb",
    ),
    Mutation(
        "results/protocol.py",
        "gap > 0 if abs(gap) > t_quantile",
        "gap > 0 if abs(gap) >= 0 * t_quantile",
        "tests/results/test_protocol.py::test_a_ranking_needs_three_seeds_on_both_sides",
    ),
    Mutation(
        "results/__init__.py",
        "return self.as_named and self.published",
        "return self.as_named",
        "tests/results/test_results.py::test_a_run_on_other_images_is_in_no_row",
    ),
    Mutation(
        "results/reproduce.py",
        "if run.record.exists() and not results.read(run.record).as_named:",
        "if run.record.exists() and not results.read(run.record):",
        "tests/results/test_reproduce.py::test_a_record_of_another_run_is_not_taken_for_the_run",
    ),
    Mutation(
        "results/tables.py",
        "if result.experiment.name == experiment and result.counts:",
        "if result.experiment.name == experiment:",
        "tests/results/test_results.py::test_nothing_is_mixed",
    ),
    Mutation(
        "results/tables.py",
        "100 * max(e.test_accuracy for e in epochs)",
        "100 * epochs[-1].test_accuracy",
        "tests/results/test_results.py::test_table_5_takes_running_bests_each_on_its_own",
    ),
    Mutation(
        "readout.py",
        "alone = spikes.sum(2) == 1",
        "alone = spikes.sum(2) >= 1",
        "book/10_deciding_early.ipynb",
        ("eq-early-exit",),
    ),
    Mutation(
        "readout.py",
        "return 2.0**-t",
        "return 2.0**t",
        "tests/test_networks.py::test_the_first_spike_weighs_more_than_all_later_ones",
    ),
    Mutation(
        "networks.py",
        "layer.threshold.div_(factor)",
        "layer.threshold.mul_(factor)",
        "tests/test_networks.py::test_golden_training_steps",
    ),
    Mutation(
        "datasets/augment.py",
        "negative = torch.rand(count, 2, generator=generator) < 0.5",
        "negative = (torch.rand(1, 2, generator=generator) < 0.5).expand(count, 2)",
        "tests/datasets/test_augment.py::test_every_image_of_a_batch_has_draws_of_its_own",
    ),
    Mutation(
        "datasets/augment.py",
        "chosen = torch.randint(len(probability), (count,), generator=generator)",
        "chosen = torch.randint(len(probability), (1,), generator=generator).expand(count)",
        "tests/datasets/test_augment.py::test_every_image_of_a_batch_has_draws_of_its_own",
    ),
    Mutation(
        "datasets/autoaugment.py",
        "-sign * LARGEST_ANGLE * share",
        "sign * LARGEST_ANGLE * share",
        "tests/datasets/test_augment.py::test_operations_give_pillows_bytes",
    ),
    Mutation(
        "datasets/loader.py",
        "draws.at(places)",
        "draws.at(rows)",
        "tests/datasets/test_loader.py::test_augmentation_is_the_augmentation_of_the_raw_bytes",
    ),
    Mutation(
        "datasets/recordings.py",
        "first = counts.cumsum(0) - counts",
        "first = counts.cumsum(0) - counts + 1",
        "tests/datasets/test_loader.py::test_frames_count_the_events_of_equal_slices",
    ),
    Mutation(
        "records/tensor_file.py",
        "return self._archive.read(entry)",
        "entry.CRC = None\n        return self._archive.read(entry)",
        "tests/training/test_training.py::test_a_flipped_bit_is_found_in_weights",
    ),
    Mutation(
        "training/__init__.py",
        "epoch(0), team.rank, None, team.size)",
        "epoch(0), 0, None, 1)",
        "tests/training/test_distributed.py::test_an_evaluation_is_shared_and_told_once",
    ),
    Mutation(
        "signals.py",
        "signal.signal(number, signal.SIG_IGN)",
        "pass",
        "tests/training/test_faults.py::test_a_second_sigterm_does_not_disturb_the_first",
    ),
    Mutation(
        "cli/streams.py",
        "            os.set_inheritable(number, True)\n",
        "            pass\n",
        "tests/cli/test_start.py::test_a_file_never_takes_the_place_of_a_closed_stream",
    ),
    Mutation(
        "cli/app.py",
        "streams.lossy_output() if command is train else",
        "contextlib.nullcontext() if command is train else",
        "tests/cli/test_start.py::test_a_run_goes_on_without_its_streams",
    ),
    Mutation(
        "signals.py",
        "found is not signal.SIG_IGN and",
        "True and",
        "tests/cli/test_start.py::test_a_signal_that_is_ignored_stays_so",
    ),
    Mutation(
        "signals.py",
        "        os._exit(codes[number])",
        "        raise KeyboardInterrupt",
        "tests/cli/test_start.py::test_a_signal_while_a_module_is_imported",
    ),
    Mutation(
        "ops/cpu/jit.py",
        "hashlib.sha256(content[len(start) : -size]).digest() == content[-size:]",
        "True",
        "tests/ops/test_environment.py::test_damaged_files_are_compiled_anew",
    ),
    Mutation(
        "ops/cpu/jit.py",
        " and not found.st_mode & 0o077",
        "",
        "tests/ops/test_environment.py::test_a_folder_that_others_could_write_to_is_not_trusted",
    ),
    Mutation(
        "ops/cpu/calls.py",
        "_shared = False\n",
        "_shared = True\n",
        "tests/ops/test_environment.py::test_several_threads_call_one_network",
    ),
    Mutation(
        "ops/cpu/calls.py",
        "    os.register_at_fork(after_in_child=_after_fork)",
        "    pass",
        "tests/ops/test_environment.py::test_forked_processes_compute",
    ),
    Mutation(
        "signals.py",
        'getattr(stop, "number", signal.SIGINT)',
        "signal.SIGINT",
        "tests/training/test_faults.py::test_a_signal_before_the_first_step",
    ),
    Mutation(
        "training/metrics.py",
        "if any(not _finite(p.grad)",
        "if all(not _finite(p.grad)",
        "tests/training/test_training.py::test_broken_gradients_stop_with_advice",
    ),
    Mutation(
        "datasets/tars.py",
        "if self._unpacked.skip(room + 1):",
        "if room < 0:",
        "tests/datasets/test_readers.py::test_a_cifar_archive_that_is_cut_or_damaged",
    ),
    Mutation(
        "datasets/cifar.py",
        "records[:, depth - 1]",
        "records[:, 0]",
        "tests/datasets/test_readers.py::test_cifar100_takes_the_fine_label",
    ),
    Mutation(
        "datasets/nmnist.py",
        "key=lambda recording: recording[:2]",
        "key=lambda recording: recording[1::-1]",
        "tests/datasets/test_readers.py::test_recordings_come_in_the_order_of_their_numbers",
    ),
    Mutation(
        "datasets/zips.py",
        "if packed > archive_size:",
        "if packed < 0:",
        "tests/datasets/test_hostile_files.py::test_files_in_a_zip_do_not_share_their_bytes",
    ),
    Mutation(
        "datasets/archives.py",
        "if state.st_size > most:",
        "if most < 0:",
        "tests/datasets/test_hostile_files.py::test_files_larger_than_can_be_are_not_opened",
    ),
    Mutation(
        "datasets/mirrors.py",
        'not re.fullmatch("[0-9]{1,18}", header)',
        "not header",
        "tests/datasets/test_servers.py::test_phrases_say_what_a_server_did",
    ),
    Mutation(
        "datasets/download.py",
        "yield Place(root, own=True, loose=True)",
        "yield Place(root, own=True)",
        "tests/datasets/test_places.py::test_published_files_are_taken_from_a_folder_of_any_name",
    ),
    Mutation(
        "cli/reproduce.py",
        'raise ValueError(f"not a number: {text!r}")',
        "return 1.0",
        "tests/cli/test_fuzz.py::test_malformed_command_lines",
    ),
    Mutation(
        "training/step.py",
        "            keep_memory()\n",
        "            pass\n",
        "tests/test_devices.py::test_a_step_on_a_cpu_has_freed_memory_kept",
    ),
    Mutation(
        "devices.py",
        "self._used += results",
        "pass",
        "tests/test_devices.py::test_the_second_queue_follows_the_first_and_is_waited_for",
    ),
    Mutation(
        "layers.py",
        "ahead.join(weight, threshold)",
        "ahead.join()",
        "tests/test_devices.py::test_weights_are_made_ready_beside_earlier_layers",
    ),
    Mutation(
        "losses.py",
        "            sums = shard.sum(sums)\n",
        "            sums = sums + 0\n",
        "tests/training/test_distributed.py::test_losses_of_shards_add_up_to_that_of_the_batch",
    ),
    Mutation(
        "losses.py",
        "return spikes.shape[1] if shard is None else shard.total",
        "return spikes.shape[1]",
        "tests/training/test_distributed.py::test_losses_of_shards_add_up_to_that_of_the_batch",
    ),
    Mutation(
        "layers.py",
        "mask = mask[shard.rows]",
        "mask = mask[: shard.count]",
        "tests/training/test_distributed.py::test_masks_are_those_of_the_joint_batch",
    ),
    Mutation(
        "shards.py",
        "return self.is_first or not self.is_whole",
        "return True",
        "tests/training/test_distributed.py::test_two_processes_train_as_one",
    ),
    Mutation(
        "training/trainer.py",
        "for _ in islice(batches, self.step):",
        "for _ in islice(batches, 0):",
        "tests/training/test_faults.py::test_sigterm_in_any_step",
    ),
    Mutation(
        "training/trainer.py",
        "self._totals.restore(checkpoint.sums, checkpoint.step, self.team)",
        "self._totals.restore(0 * checkpoint.sums, checkpoint.step, self.team)",
        "tests/training/test_faults.py::test_sigterm_in_any_step",
    ),
    Mutation(
        "records/files.py",
        "os.replace(written, path)",
        "path.write_bytes(content)",
        "tests/training/test_faults.py::test_a_folder_that_turns_read_only",
    ),
    Mutation(
        "records/run_folder.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "tests/training/test_faults.py::test_two_processes_do_not_write_to_one_folder",
    ),
    Mutation(
        "neuron.py",
        "return (neuron.decay_m ** (k + 1) - neuron.decay_s ** (k + 1)) * neuron.gain",
        "return (neuron.decay_m**k - neuron.decay_s**k) * neuron.gain",
        "book/01_spikes_in_time.ipynb",
        ("eq-response",),
    ),
    Mutation(
        "encoding.py",
        "intensity = 1 - images if bright_first else images",
        "intensity = images if bright_first else 1 - images",
        "book/01_spikes_in_time.ipynb",
        ("eq-latency",),
    ),
    Mutation(
        "ops/reference.py",
        "grad_timing[t] = response - earlier.masked_fill(fired, 0)",
        "grad_timing[t] = response - earlier",
        "book/02_learning_by_moving_spikes.ipynb",
        ("eq-grad-timing",),
    ),
    Mutation(
        "ops/reference.py",
        "share = torch.where(mean > 0, grad_pooled / (window**2 * mean), 0.0)",
        "share = grad_pooled / window**2",
        "book/02_learning_by_moving_spikes.ipynb",
        ("eq-pool",),
    ),
    Mutation(
        "losses.py",
        "push = torch.full_like(spikes, -1 / math.sqrt(classes))",
        "push = torch.full_like(spikes, -1 / classes)",
        "book/06_six_losses_one_train.ipynb",
        ("timing", "eq-timing"),
    ),
    Mutation(
        "losses.py",
        "terms = len(spikes) * _joint_samples(spikes, shard)",
        "terms = _joint_samples(spikes, shard)",
        "book/06_six_losses_one_train.ipynb",
        ("tet", "eq-tet"),
    ),
    Mutation(
        "losses.py",
        "(self.sharpness * spikes).log_softmax(2)",
        "spikes.log_softmax(2)",
        "book/09_the_tables.ipynb",
        ("eq-balanced-tet",),
    ),
    Mutation(
        "losses.py",
        "train[1:] = 1",
        "train[:] = 1",
        "book/06_six_losses_one_train.ipynb",
        ("eq-target-train",),
    ),
    Mutation(
        "book/fingerprints.py",
        "order = [label, *(i for i in range(self.neurons) if i != label)]",
        "order = list(range(self.neurons))",
        "tests/book/test_raster.py::test_the_tables_are_the_losses",
    ),
    Mutation(
        "ops/reference.py",
        "    beta.div_(gamma)\n",
        "",
        "book/07_thresholds_that_learn.ipynb",
        ("eq-fold",),
    ),
    Mutation(
        "networks.py",
        "if fired > wanted:",
        "if fired > rate:",
        "book/07_thresholds_that_learn.ipynb",
    ),
    Mutation(
        "settings.py",
        "return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2",
        "return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2",
        "book/08_training_for_real.ipynb",
    ),
    Mutation(
        "training/step.py",
        "((norm + 1e-6) / bound).clamp(min=1.0)",
        "((norm + 1e-6) / bound)",
        "tests/training/test_step.py::test_gradients_are_bounded_as_torch_does",
    ),
    Mutation(
        "training/step.py",
        "self.optimiser.found_inf = self.totals.watch(loss, norm, shard)",
        "self.totals.watch(loss, norm, shard)",
        "tests/training/test_step.py::test_a_broken_batch_changes_nothing_and_is_reported",
    ),
    Mutation(
        "training/step.py",
        'group["lr"].fill_(rate)',
        'group["lr"] = torch.tensor(rate)',
        "tests/training/test_step.py::test_a_record_plays_what_steps_do",
    ),
    Mutation(
        "training/cuda_graph.py",
        "self._labels.copy_(labels)",
        "labels.clone()",
        "tests/training/test_step.py::test_a_record_plays_what_steps_do",
    ),
    Mutation(
        "training/cuda_graph.py",
        "tensor.copy_(value)",
        "value.copy_(tensor)",
        "tests/training/test_step.py::test_recording_leaves_no_trace",
    ),
    Mutation(
        "training/cuda_graph.py",
        "value.zero_() if before is None",
        "None if before is None",
        "tests/training/test_step.py::test_a_record_plays_what_steps_do",
    ),
    Mutation(
        "losses.py",
        "torch.where(label, log_share, 0.0).sum() / terms",
        "log_share[label.expand_as(spikes)].sum() / terms",
        "tests/training/test_step.py::test_nothing_in_a_step_waits_for_the_device",
    ),
    Mutation(
        "losses.py",
        "torch.zeros(steps) if like is None else like.new_zeros(steps)",
        "torch.zeros(steps) if like is None else torch.zeros(steps).to(like)",
        "tests/training/test_step.py::test_nothing_in_a_step_is_sent_to_the_device_or_back",
    ),
    Mutation(
        "events.py",
        "dense = ctx.affine.backward_dtype is not None or isinstance",
        "dense = isinstance",
        "tests/training/test_step.py::test_bf16_backward_keeps_spikes_and_nearly_the_gradients",
    ),
    Mutation(
        "events.py",
        "if repeats and need_weight and not (need_input or dense):",
        "if repeats and need_weight and not dense:",
        "tests/ops/test_cpu_images.py::test_a_gradient_of_other_steps_or_wanted_for_the_image_goes_the_dense_way",
    ),
    Mutation(
        "ops/cpu/images.py",
        "builder.gep(factors, [builder.mul(sums, across)])",
        "builder.gep(factors, [builder.mul(sums, apart)])",
        "tests/ops/test_cpu_images.py::test_products_are_added_and_nothing_beside_them",
    ),
    Mutation(
        "ops/cpu/images.py",
        "builder.gep(source_row, [row])",
        "builder.gep(source_row, [line])",
        "tests/ops/test_cpu_images.py::test_products_are_added_and_nothing_beside_them",
    ),
    Mutation(
        "ops/cpu/images.py",
        "start = (n * image.shape[1] + y + i) * line",
        "start = (n * image.shape[1] + y) * line",
        "tests/ops/test_cpu_images.py::test_the_weights_gradient_is_the_dense_one",
    ),
    Mutation(
        "ops/cpu/images.py",
        "or len(saved.current) > 1:",
        "or False:",
        "tests/ops/test_cpu_images.py::test_a_gradient_of_other_steps_or_wanted_for_the_image_goes_the_dense_way",
    ),
    Mutation(
        "ops/cpu/events.py",
        "slow_maps[-1] = zero",
        "pass",
        "tests/ops/test_event_driven.py::test_equals_the_dense_reference",
    ),
    Mutation(
        "ops/cpu/events.py",
        "inputs_of[j - begin] = place[j] + now * size",
        "inputs_of[j - begin] = place[j]",
        "tests/ops/test_event_driven.py::test_equals_the_dense_reference",
    ),
    Mutation(
        "training/metrics.py",
        "(winners.sum(1) > 1).sum()",
        "(winners.sum(1) > 0).sum()",
        "tests/training/test_training.py::test_classes_and_ties_are_counted",
    ),
    Mutation(
        "ops/dense.py",
        ">= LARGE_MAP",
        ">= 0",
        "tests/ops/test_dense.py::test_a_maps_gradient_in_either_order_of_memory",
    ),
    Mutation(
        "ops/dense.py",
        " and not tracked",
        "",
        "tests/ops/test_dense.py::test_a_product_carries_gradients_where_they_are_wanted",
    ),
    Mutation(
        "ops/dense.py",
        "a.dtype == b.dtype == torch.float32",
        "a.dtype == b.dtype",
        "tests/ops/test_dense.py::test_other_products_are_torchs_own",
    ),
    Mutation(
        "ops/cpu/__init__.py",
        "(1 - FEWEST / len(weight))",
        "1",
        "tests/ops/test_cpu_maps.py::test_currents_are_made_spike_by_spike_where_inputs_are_few",
    ),
    Mutation(
        "book/scaling.py",
        'if row["changed"] == axis:',
        'if row["changed"]:',
        "tests/book/test_scaling.py::test_each_line_holds_the_points_where_one_thing_was_changed",
    ),
    Mutation(
        "losses.py",
        '"""target - m."""\n        return missing',
        '"""target - m."""\n        return 2 * missing',
        "book/04_counting_and_enhanced.ipynb",
        ("counting", "eq-counting-gradient", "eq-counting-total"),
    ),
    Mutation(
        "losses.py",
        "missing.square().sum() / (2 * steps)",
        "missing.square().sum() / steps",
        "book/03_rate_losses_keep_time.ipynb",
        ("eq-counting",),
    ),
    Mutation(
        "losses.py",
        "/ LABEL_SCALE_UNIT).clamp(min=1.0)",
        ").clamp(min=1.0)",
        "book/04_counting_and_enhanced.ipynb",
        ("eq-label-scaling",),
    ),
    Mutation(
        "losses.py",
        "filtered[t] = trace / self.tau_s",
        "filtered[t] = trace",
        "book/06_six_losses_one_train.ipynb",
        ("eq-kernel-loss",),
    ),
    Mutation(
        "losses.py",
        "1 - (first * index).sum(0) / steps",
        "1 - (first * (index + 1)).sum(0) / steps",
        "book/05_first_spikes_zero_sum.ipynb",
        ("eq-ttfs",),
    ),
    Mutation(
        "encoding.py",
        "return images.expand(steps, *images.shape)",
        "return (images / steps).expand(steps, *images.shape)",
        "book/01_spikes_in_time.ipynb",
        ("eq-direct",),
    ),
    Mutation(
        "ops/reference.py",
        "for x in (m, s, g, u))",
        "for x in (m, s, g, u_prev))",
        "book/01_spikes_in_time.ipynb",
        ("eq-neuron",),
    ),
    Mutation(
        "ops/reference.py",
        ").clamp(min=-bound)",
        ")",
        "book/02_learning_by_moving_spikes.ipynb",
        ("eq-time-slope",),
    ),
    Mutation(
        "ops/reference.py",
        "grad_weight[t] = (weight_m - weight_s) * neuron.gain",
        "grad_weight[t] = weight_m - weight_s",
        "book/02_learning_by_moving_spikes.ipynb",
        ("eq-grad-weight",),
    ),
    Mutation(
        "neuron.py",
        "return neuron.decay_g ** (k + 1)",
        "return neuron.decay_g**k",
        "book/02_learning_by_moving_spikes.ipynb",
        ("eq-kappa",),
    ),
    Mutation(
        "layers.py",
        "self.weight, gamma, self.beta",
        "self.weight, gamma, 0 * self.beta",
        "book/07_thresholds_that_learn.ipynb",
        ("eq-standardise",),
    ),
    Mutation(
        "layers.py",
        "_Mask.apply(spikes, factor, mask if",
        "_Mask.apply(spikes, factor, factor if",
        "book/disagreements.ipynb",
        ("eq-dropout",),
    ),
    Mutation(
        "networks.py",
        "layer.threshold.div_(factor)",
        "layer.threshold.mul_(factor)",
        "book/07_thresholds_that_learn.ipynb",
        ("eq-initialise",),
    ),
    Mutation(
        "networks.py",
        "((du > FORCE_SLOPE) * t).amax(0)",
        "((du > FORCE_SLOPE) * t).amin(0)",
        "book/07_thresholds_that_learn.ipynb",
        ("eq-supervise",),
    ),
    Mutation(
        "readout.py",
        "1 + EARLY_BONUS - EARLY_BONUS * t / steps",
        "1 + EARLY_BONUS * t / steps",
        "book/10_deciding_early.ipynb",
        ("eq-readout",),
    ),
    Mutation(
        "readout.py",
        "return 2.0**-t",
        "return 2.0**t",
        "book/10_deciding_early.ipynb",
        ("eq-readout-first",),
    ),
    Mutation(
        "results/protocol.py",
        "t_quantile(ours.n - 1) *",
        "0 * t_quantile(ours.n - 1) *",
        "book/09_the_tables.ipynb",
        ("eq-reach",),
    ),
    Mutation(
        "results/protocol.py",
        "for x in values) / (n - 1))",
        "for x in values) / n)",
        "book/09_the_tables.ipynb",
        ("eq-spread",),
    ),
    Mutation(
        "book/fingerprints.py",
        "total / size if size else None",
        "size / total if total else None",
        "book/06_six_losses_one_train.ipynb",
        ("eq-fingerprint",),
    ),
    Mutation(
        "records/__init__.py",
        "best.test_accuracy_halves[1 - chosen]",
        "best.test_accuracy_halves[chosen]",
        "tests/results/test_results.py::test_a_row_by_hand",
    ),
    Mutation(
        "training/metrics.py",
        "right[half::2].sum()",
        "right[half:].sum()",
        "tests/training/test_training.py::test_halves_are_the_even_and_the_odd_places",
    ),
    Mutation(
        "results/protocol.py",
        "round(abs(ours.mean - paper), 9)",
        "abs(ours.mean - paper)",
        "tests/results/test_protocol.py::test_verdicts",
    ),
    Mutation(
        "results/__init__.py",
        "        load(root)  # before anything is written",
        "        # before anything is written",
        "tests/results/test_results.py::test_nothing_is_saved_beside_a_record_that_cannot_be_read",
    ),
    Mutation(
        "cli/reproduce.py",
        "        on_file.look(root)",
        "        pass",
        "tests/results/test_reproduce.py::test_a_results_folder_that_cannot_be_used_is_told_before_training",
    ),
    Mutation(
        "results/estimates.py",
        "statistics.median(spent",
        "statistics.mean(spent",
        "tests/results/test_reproduce.py::test_a_measurement_leaves_compilation_out",
    ),
    Mutation(
        "records/tensor_file.py",
        "entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size",
        "False",
        "tests/training/test_faults.py::test_a_checkpoint_that_would_unpack_to_more_than_its_file_is_not_unpacked",
    ),
    Mutation(
        "book/explore.js",
        "k * count + choice",
        "k + count * choice",
        "tests/book/test_browser.py::test_frames_are_python_s_own_drawing[02_learning_by_moving_spikes]",
    ),
    Mutation(
        "book/explore.js",
        "ids[changes[i]] = changes[i + 1]",
        "ids[changes[i]] = changes[i]",
        "tests/book/test_browser.py::test_a_state_kept_as_a_difference_is_put_together[04_counting_and_enhanced]",
    ),
    Mutation(
        "book/explore.js",
        "first.nextElementSibling.textContent = name",
        "first.nextElementSibling.title = name",
        "tests/book/test_browser.py::test_every_control_moves_by_keyboard[05_first_spikes_zero_sum]",
    ),
    Mutation(
        "book/explore.js",
        "image.alt = table.alts[state]",
        "image.alt = table.alts[0]",
        "tests/book/test_browser.py::test_every_control_moves_by_keyboard[05_first_spikes_zero_sum]",
    ),
    Mutation(
        "book/explore.js",
        'root.querySelector(".snn-note").remove()',
        'console.warn("a note"), root.querySelector(".snn-note").remove()',
        "tests/book/test_browser.py::test_a_page_is_quiet_and_light[05_first_spikes_zero_sum]",
    ),
    Mutation(
        "book/raster.js",
        "digits.reduceRight(",
        "digits.reduce(",
        "tests/book/test_browser_raster.py::test_a_raster_shows_the_losses_own_numbers",
    ),
    Mutation(
        "book/raster.js",
        "way = e > 0 ? -1 : 1",
        "way = e > 0 ? 1 : -1",
        "tests/book/test_browser_raster.py::test_a_raster_shows_the_losses_own_numbers",
    ),
    Mutation(
        "book/raster.js",
        "ArrowUp: [-1, 0]",
        "ArrowUp: [1, 0]",
        "tests/book/test_browser_raster.py::test_a_raster_is_played_by_keyboard",
    ),
    Mutation(
        "book/raster.js",
        'svg.setAttribute("aria-label", ',
        'svg.setAttribute("title", ',
        "tests/book/test_browser_raster.py::test_a_raster_shows_the_losses_own_numbers",
    ),
    Mutation(
        "book/canvas.py",
        '"left": max',
        '"left": min',
        "tests/book/test_canvas.py::test_no_edge_cuts_the_labels_of_a_named_choice",
    ),
    Mutation(
        "book/canvas.py",
        "FIXED.split(seen)",
        "[seen]",
        "tests/book/test_canvas.py::test_shorten_keeps_glyphs_and_images_and_drops_the_rest",
    ),
    Mutation(
        "book/explore.py",
        "if old != new for x in (i, new)",
        "if old == new for x in (i, new)",
        "tests/book/test_explore.py::test_the_packed_table_is_python_s_own_drawing_byte_for_byte",
    ),
    Mutation(
        "records/tensor_file.py",
        "places = {entry.header_offset for entry in entries}",
        "places = self._entries",
        "tests/records/test_checkpoints.py::test_a_block_that_is_named_often_is_not_read_often[1]",
    ),
    Mutation(
        "records/checkpoint_schema.py",
        'dtype, shape = (torch.float32, ()) if name == "step" else parameters[number]',
        "dtype, shape = value.dtype, value.shape",
        "tests/records/test_checkpoints.py::test_other_kinds_of_values_in_the_place_of_a_tensor[one more axis-exp_avg]",
    ),
    Mutation(
        "records/checkpoint_schema.py",
        "if (whole != 0) if epoch == 0 else (whole < epoch or whole % epoch):",
        "if whole < 0:",
        "tests/records/test_checkpoints.py::test_numbers_that_no_run_comes_to[between]",
    ),
    Mutation(
        "training/trainer.py",
        "if done is not None and done != min(wanted, COUNTED):",
        "if done is None:",
        "tests/records/test_checkpoints.py::test_an_epoch_of_another_length_is_noticed_by_the_data",
    ),
    Mutation(
        "records/run_folder.py",
        "if not (here and self.mine):",
        "if not here:",
        "tests/records/test_run_folder.py::test_a_run_whose_lock_or_folder_is_taken_away_stops",
    ),
    Mutation(
        "records/run_folder.py",
        "if (folder / name).is_symlink():",
        "if not name:",
        "tests/records/test_run_folder.py::test_a_link_where_a_run_writes",
    ),
    Mutation(
        "records/files.py",
        "if os.fstat(file.fileno()).st_nlink < 2:",
        "if True:",
        "tests/records/test_run_folder.py::test_a_second_name_of_a_file_keeps_what_it_was",
    ),
    Mutation(
        "records/__init__.py",
        "if found != digest.hexdigest():",
        "if not found:",
        "tests/records/test_figures.py::test_every_damaged_byte_of_a_record_is_noticed",
    ),
    Mutation(
        "results/__init__.py",
        "if known.get(file, sha256) != sha256:",
        "if not sha256:",
        "tests/records/test_figures.py::test_a_damaged_record_of_version_2_is_noticed_by_the_index",
    ),
    Mutation(
        "records/figures.py",
        "        _check_accuracies(self)\n",
        "        pass\n",
        "tests/records/test_figures.py::test_figures_that_contradict_each_other_or_the_settings",
    ),
    Mutation(
        "results/render.py",
        'return ("\'" if formula else "") + visible(value)',
        "return visible(value)",
        "tests/records/test_figures.py::test_csv_has_no_formulas",
    ),
    Mutation(
        "errors.py",
        "c if c.isprintable() else",
        "c if c else",
        "tests/records/test_figures.py::test_tables_show_text_of_records_as_it_is",
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
        broken = [copy / "snnbook" / mutation.file]
        if mutation.file.endswith(".js"):  # built pages hold the script: it is broken there
            pages = shutil.copytree(PAGES, copy / PAGES.relative_to(ROOT), symlinks=True)
            broken += [page for page in pages.glob("*.html") if mutation.old in page.read_text()]
            if len(broken) == 1:
                raise RuntimeError(f"no built page holds {mutation.file} as it is: run make book first")
        for path in broken:
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
