"""Build the book and run all checks, two jobs at a time: `python tools/checks.py`, or `make test`.

The jobs wait in one queue, so that both cores have work until the end. The first job builds the book; those that read
its pages come last. The lines of a job are printed when it has ended, and the slowest tests at the very end.
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

PYTEST = [sys.executable, "-m", "pytest"]
LANES = 2
"""Jobs at a time. More would disturb each other and the tests that measure times."""
SIDE_BY_SIDE = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Environment of a job: its threads leave the core to the other job while they wait for work."""
SLOWEST = 10
"""Tests listed at the end, for each half."""
DURATION = re.compile(r"^ *(\d+\.\d+)s (?:call|setup|teardown) +(\S.*)$", re.MULTILINE)
"""A line that pytest prints for --durations."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@dataclass(frozen=True)
class Job:
    """A command of one half of the checks, code or book."""

    half: str
    name: str
    command: list[str]
    reads_pages: bool = False


@dataclass(frozen=True)
class Outcome:
    """Whether a job ended well, and what it printed."""

    is_well: bool
    output: str


def pytest_job(half: str, name: str, *words: str, reads_pages: bool = False) -> Job:
    """A job that runs pytest."""
    return Job(half, name, [*PYTEST, f"--durations={SLOWEST}", "--durations-min=1", *words], reads_pages)


NOT_BROWSER = ["-m", "not browser"]
ROOMS = ["tests/book", "tests/cli", "tests/datasets", "tests/ops"]
BUILD = Job("book", "build of the book", ["make", "book"])
OTHERS = [
    pytest_job(
        "code", "the heart, training, records, results", "tests", *(f"--ignore={room}" for room in ROOMS), *NOT_BROWSER
    ),
    pytest_job("code", "command line, data sets, engines", *ROOMS[1:], *NOT_BROWSER),
    pytest_job("book", "notebooks", "--nbval", "book/"),
    pytest_job("book", "the book's code", ROOMS[0], *NOT_BROWSER, reads_pages=True),
    pytest_job("book", "pages in a browser", "tests", "-m", "browser", reads_pages=True),
]


def run(job: Job, built: Future | None = None) -> Outcome:
    """Run a job; where there is a future of the book's build, wait for it first."""
    if built is not None and not built.result().is_well:
        return Outcome(False, "not run, since the book was not built")
    done = subprocess.run(
        job.command,
        env=SIDE_BY_SIDE | os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    return Outcome(done.returncode == 0, done.stdout)


def run_all() -> list[tuple[Job, Outcome]]:
    """Run all jobs, and print the lines of each when it has ended; after Ctrl-C none is begun."""
    begun = time.monotonic()
    ended = []
    with ThreadPoolExecutor(LANES) as lanes:
        built = lanes.submit(run, BUILD)
        jobs = {built: BUILD}
        for job in OTHERS:
            jobs[lanes.submit(run, job, built if job.reads_pages else None)] = job
        try:
            for future in as_completed(jobs):
                ended.append((jobs[future], future.result()))
                print(f"==== {jobs[future].name}: ended after {(time.monotonic() - begun) / 60:.1f} minutes")
                print(ended[-1][1].output, flush=True)
        finally:
            lanes.shutdown(cancel_futures=True)
    return ended


def slowest(outputs: list[str]) -> list[str]:
    """The slowest tests that pytest names in these outputs, one a line."""
    found = [match for output in outputs for match in DURATION.finditer(output)]
    found.sort(key=lambda match: float(match[1]), reverse=True)
    return [f"{float(match[1]):6.1f} s  {match[2]}" for match in found[:SLOWEST]]


def main() -> int:
    """Run all jobs, list the slowest tests and say what went well; returns the exit code."""
    start = time.monotonic()
    try:
        ended = run_all()
    except KeyboardInterrupt:
        print("stopped")
        return INTERRUPTED
    said = []
    for half in ("code", "book"):
        outcomes = [outcome for job, outcome in ended if job.half == half]
        print(f"==== slowest tests of the {half}")
        print("\n".join(slowest([outcome.output for outcome in outcomes])))
        is_well = all(outcome.is_well for outcome in outcomes)
        said.append(f"{half}: {'all well' if is_well else 'FAILED'}")
    print(f"{', '.join(said)}; in {(time.monotonic() - start) / 60:.0f} minutes")
    return int(not all(outcome.is_well for _, outcome in ended))


if __name__ == "__main__":
    sys.exit(main())
