"""Run all checks of a built book in two parallel halves: `python tools/checks.py`, or `make test`.

One half checks the code; its lines are printed at once. The other checks the book: the notebooks, then the pages in a
browser, which wait more than they compute, then the tests that build small books. Its lines are printed at its end.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO

PYTEST = [sys.executable, "-m", "pytest"]
BUILDERS = [f"tests/book/test_{name}.py" for name in ("book_static", "builders", "notebooks", "shown", "stderr")]
CODE = [[*PYTEST, "tests", "-m", "not browser", *(f"--ignore={file}" for file in BUILDERS)]]
BOOK = [[*PYTEST, "--nbval", "book/"], [*PYTEST, "tests", "-m", "browser"], [*PYTEST, *BUILDERS]]

# Threads that wait for work then leave the cores to the other half.
SHARING = {"OMP_WAIT_POLICY": "PASSIVE"}

STOPPED = 2
"""Exit code of pytest after Ctrl-C."""


def run(commands: list[list[str]], output: IO[bytes] | None = None) -> bool:
    """Run commands one after the other, also after one fails, and return whether all succeeded."""
    codes = []
    for command in commands:
        done = subprocess.run(command, env=SHARING | os.environ, stdout=output, stderr=output)
        codes.append(done.returncode)
        if done.returncode == STOPPED:
            break
    return not any(codes)


def main() -> int:
    start = time.monotonic()
    with tempfile.TemporaryFile() as book_output, ThreadPoolExecutor(1) as pool:
        book = pool.submit(run, BOOK, book_output)
        code_passed = run(CODE)
        book_passed = book.result()
        book_output.seek(0)
        sys.stdout.buffer.write(book_output.read())
    words = {True: "all well", False: "FAILED"}
    minutes = (time.monotonic() - start) / 60
    print(f"code: {words[code_passed]}, book: {words[book_passed]}; in {minutes:.0f} minutes")
    if code_passed and book_passed:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
