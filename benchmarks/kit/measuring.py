"""Measuring in turns, medians and spreads, tables in the terminal, and records for the book.

A record is results/benchmarks/<script>.json: the question, settings, hardware and versions, and the rows of the table.
It is written if the script is called with --record.
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
from snnbook.results import render

RESULTS = Path(__file__).parents[2] / "results" / "benchmarks"
WARM_UPS = 2
ROUNDS = 11

Row = dict[str, Any]


def take_turns(
    tasks: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, warm_ups: int = WARM_UPS, again: bool = False
) -> dict[str, list[float]]:
    """Measure tasks in turns, so that other work on the machine slows all of them alike.

    Args:
        tasks: functions to call, by name
        rounds: that count
        warm_ups: rounds before them, which do not count
        again: call each task twice in every turn and count the second call. The first call finds the caches full of
            other tasks' data; a step in training does not, because the step before it used the same data
    Returns:
        seconds of every round, by task
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
    """Return median and spread in ms.

    Args:
        seconds: of every round
        images: that a task works on; adds images per second
    """
    middle = statistics.median(seconds)
    row: Row = {
        "ms": round(middle * 1000, 2),
        "from": round(min(seconds) * 1000, 2),
        "to": round(max(seconds) * 1000, 2),
    }
    if images:
        row["images_per_second"] = round(images / middle)
    return row


def _shown(value: Any) -> str:
    """Return a value of a row as text."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


class Benchmark:
    """One question, its settings, and the rows that answer it.

    Args:
        script: `__file__` of the script, which names the record
        question: that the benchmark answers
        settings: that do not change, by name
        device: to measure
    """

    def __init__(self, script: str, question: str, settings: Row, device: str = "cpu") -> None:
        parser = argparse.ArgumentParser(description=question)
        parser.add_argument("--record", action="store_true", help=f"write the answer to {RESULTS.name}/ for the book")
        self._records = parser.parse_args().record
        self.name = Path(script).stem
        self.question = question
        self.settings = settings
        here = session(torch.device(device), "", 0, None)
        self.hardware = {
            "processor": here.processor,
            "cores": here.cores,
            "threads": here.threads,
            "device": here.device,
            "system": here.system,
            "versions": here.versions,
            "commit": here.commit,
            "date": here.started,
        }
        print(f"{question}\n{here.processor}, {here.threads} threads, {here.device}, torch {here.versions['torch']}")
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()) + "\n")

    def answer(self, rows: Sequence[Row], remarks: Sequence[str] = ()) -> int:
        """Print the table, write the record if --record was given, and return exit code 0."""
        print(render.text(render.from_rows(rows, _shown)))
        for remark in remarks:
            print(remark)
        print()
        if self._records:
            RESULTS.mkdir(parents=True, exist_ok=True)
            content = {
                "question": self.question,
                "settings": self.settings,
                "hardware": self.hardware,
                "rows": list(rows),
                "remarks": list(remarks),
            }
            files.write_atomic(RESULTS / f"{self.name}.json", files.to_json(content, indent=1))
        return 0

    def refuse(self, why: str) -> int:
        """Report the reason for not reporting a speed, and return exit code 1."""
        print(f"no speed is reported: {why}", file=sys.stderr)
        return 1


def run(main: Callable[[], int]) -> int:
    """Run a script and return its exit code: 2, and one line, if it cannot run here, such as without Numba."""
    try:
        return main()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
