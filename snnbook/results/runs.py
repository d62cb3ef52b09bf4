"""The list of all runs on file: what they took, and how each is repeated."""

from . import Result
from .render import NONE, Cell, Table

NOTES = (
    "Minutes are those of the clock: a run that shared its machine with others, or was halted, has more",
    "Several machines, versions or commits: the run went on there, in this order",
)


def _short(commit: str | None) -> str:
    """The first digits of a commit, and whether the sources differed from it."""
    digits, dirty, rest = (commit or NONE).partition("+")
    return f"{digits[:8]}{dirty}{rest}"


def runs_table(results: list[Result]) -> Table:
    """Every run on file, whatever it was for: figures, time, hardware, sources, and the command that repeats it."""
    rows = []
    for result in results:
        record, minutes = result.record, result.seconds / 60
        rows.append(
            (
                Cell(result.name + " (other images)" * (not result.published), result.name, (result.name,)),
                *(Cell(f"{100 * e.test_accuracy:.2f}", 100 * e.test_accuracy) for e in (record.best, record.last)),
                Cell(f"{minutes:.1f}", minutes),
                *(Cell(word or NONE, word) for word in (result.hardware, result.engine, result.torch)),
                Cell(", ".join(map(_short, result.commits)), ", ".join(c or NONE for c in result.commits)),
                Cell(result.repeated_by or NONE, result.repeated_by),
            )
        )
    columns = ("run", "best %", "last %", "minutes", "hardware", "engine", "torch", "commit", "command")
    return Table("All runs on file", columns, tuple(rows), NOTES, left=1)
