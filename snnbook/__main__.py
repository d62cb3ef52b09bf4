"""The command line's entry: `snnbook`, or `python -m snnbook`. It minds signals and streams, then imports the rest.

Importing torch takes seconds, in which a signal would end in a traceback, or in an abort within an extension module.
So nothing here may import anything that takes long.
"""

import sys
from collections.abc import Sequence

from . import interrupts, streams

BAD, INTERRUPTED = 2, interrupts.INTERRUPTED
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
    with streams.opened(), interrupts.leaving(saves=arguments[:1] in [[name] for name in SAVING]) as codes:
        from . import cli

        return cli.run(arguments, codes)


if __name__ == "__main__":
    sys.exit(main())
