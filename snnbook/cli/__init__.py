"""The command line: `snnbook`, or `python -m snnbook`. It handles signals and streams, then imports the rest.

Importing torch takes seconds, in which a signal would end in a traceback, or in an abort within an extension module.
So nothing here may import anything that takes long.
"""

import sys
from collections.abc import Sequence

from .. import signals
from . import streams

BAD, INTERRUPTED = 2, signals.INTERRUPTED
"""Exit codes: something given was wrong; stopped by Ctrl-C (128 + the signal's number, as shells have it)."""

SAVING = ("train", "reproduce")
"""Commands that save what they have done when SIGTERM stops them, which is no failure then."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program; None takes this process's
    Returns:
        the exit code: 0, BAD with one line on standard error, or that of a signal
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with streams.opened(), signals.exit_on_signals(saves=arguments[:1] in [[name] for name in SAVING]) as codes:
        from . import app

        return app.run(arguments, codes)
