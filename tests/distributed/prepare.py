"""A worker: prepares the log of a configuration with the others."""

from __future__ import annotations

import fieldwise as fw
from fieldwise.distributed.group import Workers
from fieldwise.errors import FieldwiseError
from fieldwise.jobs.prepare.together import prepare_together


def prepare(workers: Workers, config: str, cache: str, memory: str) -> str:
    """Return the folder, or what is wrong."""
    try:
        prepared = prepare_together(fw.load_config(config, [f"data.cache={cache!r}"]), workers, memory=memory or None)
    except FieldwiseError as error:
        return str(error)
    return str(prepared.folder)
