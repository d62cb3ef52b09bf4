"""`python -m snnbook` runs the command line, which is in cli/."""

import sys

from .cli import BAD, INTERRUPTED, main

__all__ = ["BAD", "INTERRUPTED", "main"]

if __name__ == "__main__":
    sys.exit(main())
