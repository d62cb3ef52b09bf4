"""Measuring in turns, medians and spreads, tables in the terminal, and records for the book.

A record is results/benchmarks/<script>.json: the question, settings, hardware and versions, and the rows of the table.
It is written where the script is called with --record.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from snnbook.errors import UserError
from snnbook.records import files
from snnbook.records.provenance import session

RESULTS = Path(__file__).parents[2] / "results" / "benchmarks"
WARM_UPS, ROUNDS = 2, 11

Row = dict[str, Any]


def take_turns(
    tasks: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, warm_ups: int = WARM_UPS, again: bool = False
) -> dict[str, list[float]]:
    """Seconds of every round, by task; the tasks take turns, so that what else the machine does meets all alike.

    Args:
        tasks: what to call, by name
        rounds, warm_ups: that count, and that come before
        again: in every turn call the task twice, and count the second: the first finds the caches full of other
            tasks' data, which a step in training, after one like itself, does not
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(warm_ups + rounds):
        for name, task in tasks.items():
            if again:
                task()
            start = time.perf_counter()
            task()
            if round_ >= warm_ups:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def timing(seconds: Sequence[float], images: int | None = None) -> Row:
    """Median and spread in ms, and images per second where a task works on so many images."""
    middle = statistics.median(seconds)
    row: Row = {
        "ms": round(middle * 1000, 2),
        "from": round(min(seconds) * 1000, 2),
        "to": round(max(seconds) * 1000, 2),
    }
    return row | ({"images_per_second": round(images / middle)} if images else {})


def fastest(rows: Sequence[Row], of: Callable[[Row], bool]) -> float | None:
    """The least median among some rows; None where there is none."""
    return min((row["ms"] for row in rows if of(row)), default=None)


def show(rows: Sequence[Row]) -> None:
    """Print rows as a table; the keys are its heads."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [keys, *([_text(row.get(key)) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(keys))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


class Benchmark:
    """One question, its settings, and the rows that answer it.

    Args:
        script: `__file__` of the script, which names the record
        question: what is asked
        settings: what was held fixed, by name
        device: that is measured
    """

    def __init__(self, script: str, question: str, settings: Row, device: str = "cpu") -> None:
        parser = argparse.ArgumentParser(description=question)
        parser.add_argument("--record", action="store_true", help=f"write the answer to {RESULTS.name}/ for the book")
        self._keep = parser.parse_args().record
        self.name, self.question, self.settings = Path(script).stem, question, settings
        here = session(torch.device(device), "", 0, None)
        self.hardware = {
            "processor": here.processor, "cores": here.cores, "threads": here.threads, "device": here.device,
            "system": here.system, "versions": here.versions, "commit": here.commit, "date": here.started,
        }  # fmt: skip
        print(f"{question}\n{here.processor}, {here.threads} threads, {here.device}, torch {here.versions['torch']}")
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()) + "\n")

    def answer(self, rows: Sequence[Row], remarks: Sequence[str] = ()) -> int:
        """Print the table, write the record where asked to; returns exit code 0."""
        show(rows)
        for remark in remarks:
            print(remark)
        print()
        if self._keep:
            RESULTS.mkdir(parents=True, exist_ok=True)
            content = {
                "question": self.question, "settings": self.settings, "hardware": self.hardware, "rows": list(rows),
                "remarks": list(remarks),
            }  # fmt: skip
            files.write_atomic(RESULTS / f"{self.name}.json", files.to_json(content, indent=1))
        return 0

    def refuse(self, why: str) -> int:
        """Tell no speed; returns exit code 1."""
        print(f"no speed is told: {why}", file=sys.stderr)
        return 1


def run(main: Callable[[], int]) -> int:
    """A script's exit code; 2 and one line where it cannot run here, such as without Numba."""
    try:
        return main()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
