"""Run commands of fieldwise in forks that may write no file beyond a number of bytes; a script of its own.

    python limited.py CONFIG < REQUESTS

Every line of REQUESTS is JSON: ``[max_bytes or null, [argument, ...]]``. Prints a line of JSON for each: the exit code
(negative for a signal) and what was written to stderr. The script trains once for itself, so that all is imported and
compiled before the first fork.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from tests.full_disk import files_of_at_most

import fieldwise as fw
from fieldwise.cli import main


def run(max_bytes: int | None, arguments: list[str]) -> tuple[int, str]:
    """Return the exit code of a command and what it wrote to stderr."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(write_end, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.close(read_end)
            os.close(write_end)
            if max_bytes is None:
                main(arguments, standalone_mode=True)
            else:
                with files_of_at_most(max_bytes):
                    main(arguments, standalone_mode=True)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write_end)
    with open(read_end, errors="replace") as pipe:
        messages = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), messages


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        fw.train(fw.load_config(sys.argv[1]), folder)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(*json.loads(line))) + "\n")
        sys.stdout.flush()
