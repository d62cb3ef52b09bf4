"""The command line: `snnbook`, or `python -m snnbook`. It handles signals and streams, then imports the rest.

Importing torch takes seconds. A signal in that time would end in a traceback, or in an abort inside an extension
module. So this file imports nothing that takes long.
"""

import sys
from collections.abc import Sequence

from .. import signals
from . import streams

BAD, INTERRUPTED = 2, signals.INTERRUPTED
"""Exit codes: of wrong input, and of Ctrl-C (128 + the signal's number, the convention of shells)."""

SAVING = ("train", "reproduce")
"""Commands that save their work when SIGTERM stops them. Being stopped is then no failure."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; None takes those of this process
    Returns:
        the exit code: 0, BAD with one line on standard error, or that of a signal
    """
    if arguments is None:
        arguments = sys.argv[1:]
    saves = len(arguments) > 0 and arguments[0] in SAVING
    with streams.opened(), signals.exit_on_signals(saves) as codes:
        from . import app

        return app.run(arguments, codes)
