"""A worker: prepares the log of a configuration with the others.

python prepare.py CONFIG CACHE MEMORY     with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
"""

from __future__ import annotations

import sys

import fieldwise as fw
from fieldwise.distributed.group import Workers
from fieldwise.errors import FieldwiseError
from fieldwise.jobs.prepare.together import prepare_together


def main(config: str, cache: str, memory: str) -> None:
    workers = Workers.join()
    try:
        prepared = prepare_together(fw.load_config(config, [f"data.cache={cache!r}"]), workers, memory=memory or None)
        print(prepared.folder)  # noqa: T201
    except FieldwiseError as error:
        print(error)  # noqa: T201
    workers.close()
    workers.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
