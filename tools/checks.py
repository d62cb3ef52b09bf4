"""Run all checks of a built book, in two halves side by side: `python tools/checks.py`, or `make test`.

One half is the code's: its lines come as they are printed. The other is the book's: the notebooks, then the pages in a
browser, which wait more than they compute, then the tests that build small books. Its lines come when it has ended.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

PYTEST = [sys.executable, "-m", "pytest"]
BUILDERS = [f"tests/book/test_{name}.py" for name in ("book_static", "builders", "notebooks", "shown", "stderr")]
CODE = [[*PYTEST, "tests", "-m", "not browser", *(f"--ignore={file}" for file in BUILDERS)]]
BOOK = [[*PYTEST, "--nbval", "book/"], [*PYTEST, "tests", "-m", "browser"], [*PYTEST, *BUILDERS]]
SIDE_BY_SIDE = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait for work leave the cores to the other half
STOPPED = 2  # pytest's code after Ctrl-C


def run(commands: list[list[str]], output=None) -> bool:
    """Run one after another, also where one fails; whether all went well."""
    codes = []
    for command in commands:
        done = subprocess.run(command, env=SIDE_BY_SIDE | os.environ, stdout=output, stderr=output)
        codes.append(done.returncode)
        if done.returncode == STOPPED:
            break
    return not any(codes)


def main() -> int:
    start = time.monotonic()
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(1) as beside:
        book_too = beside.submit(run, BOOK, said)
        halves = {"code": run(CODE), "book": book_too.result()}
        said.seek(0)
        sys.stdout.buffer.write(said.read())
    told = ", ".join(f"{half}: {'all well' if well else 'FAILED'}" for half, well in halves.items())
    print(f"{told}; in {(time.monotonic() - start) / 60:.0f} minutes")
    return int(not all(halves.values()))


if __name__ == "__main__":
    sys.exit(main())
