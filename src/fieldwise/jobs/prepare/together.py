"""Preparing a log on several workers, each reading a part of its files: the bytes are those of one process.

Log and cache lie where all workers see them. In the folder that is being made (`jobs.prepare.prepare`)::

    worker-0/ worker-1/ ...      one for each worker
        learned.safetensors    what it learned from its files in a pass, which all others add to their own
        0/ 1/ ...              its rows of each log, encoded: caches and a rejects file

What an encoder learns is a sum (counts, sketches, classes), so after a pass all workers add up the same. Each then
encodes the rows that it has read, and worker 0 joins the caches, in the order of the files. Files are the unit of work:
a log of fewer files than workers leaves some without any.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.data.cache import Cache
from fieldwise.data.cache_format import BLOCK_EXAMPLES
from fieldwise.data.chunk import naming
from fieldwise.data.split import SplitLog
from fieldwise.distributed.group import Workers
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, Warned, ignore
from fieldwise.features.encoder import Encoder
from fieldwise.features.scratch import Scratch
from fieldwise.io import arrays
from fieldwise.io.files import atomic_file
from fieldwise.io.locks import artefact_lock
from fieldwise.io.memory import available_bytes, held_bytes
from fieldwise.jobs.prepare.budget import Budget
from fieldwise.jobs.prepare.crosses import found_crosses, with_found
from fieldwise.jobs.prepare.logs import open_sources
from fieldwise.jobs.prepare.passes import REJECTS_NAME, Counts, cache_writer, learn, refuse_rejects, transform
from fieldwise.jobs.prepare.plan import look
from fieldwise.jobs.prepare.prepare import in_words, judge_again, limits, prepared_of, transient
from fieldwise.jobs.prepare.prepared import PREPARED_NAME, Prepared, finish, open_prepared, save_encoder
from fieldwise.jobs.prepare.spool import Spool
from fieldwise.profile.crosses import FoundCrosses

__all__ = ["prepare_together"]

LEARNED_NAME = "learned.safetensors"


def prepare_together(
    config: Config,
    workers: Workers,
    *,
    memory: int | str | None = None,
    max_rejects: float | None = None,
    listen: Listener = ignore,
) -> Prepared:
    """Do what `prepare` does, on several workers that all call this with the same arguments, and return the same.

    Parameters
    ----------
    workers
        Who else prepares.
    memory
        Of each worker; unless given, half of what is free is shared by the workers of a host.
    config, max_rejects, listen
        As in `prepare`. Each worker reports its own rows.

    Raises
    ------
    DataError, ResourceError
        As in `prepare`, on all workers.
    ConfigError
        The workers see different logs.
    """
    if config.data.crosses == "auto":
        alone = prepare_together(
            config.changed("data", crosses="none"), workers, memory=memory, max_rejects=max_rejects, listen=listen
        )
        config = with_found(config, workers.first(lambda: found_crosses(alone, listen), FoundCrosses))
    limit, max_rejects = limits(config, memory, max_rejects)
    prepared = _prepared(config, {}, workers, limit, max_rejects, listen)
    if without := transient(prepared, config):
        if workers.rank == 0:
            listen(Warned(in_words(without)))
        prepared = _prepared(config, without, workers, limit, max_rejects, listen)
    return prepared


def _prepared(
    config: Config,
    without: Mapping[str, str],
    workers: Workers,
    limit: int | None,
    max_rejects: float | None,
    listen: Listener,
) -> Prepared:
    """Encode a log, some of its fields left `without`, or open what an earlier call made of it."""
    with workers.together():
        sources, schema, left_out, root, key = look(config, without)
    name = workers.first(lambda: key, str)
    with workers.together():
        if key != name:
            raise ConfigError(
                "the workers see different logs or configurations",
                where=f"worker {workers.rank}",
                expected=name,
                got=key,
                fix="give all of them the same files, with the same modification times",
            )
    with ExitStack() as held:

        def begin() -> str | None:
            place = held.enter_context(artefact_lock(root, key))
            if (place.folder / PREPARED_NAME).exists():
                judge_again(place.folder, max_rejects, listen)
                return None
            return str(held.enter_context(place.new_folder()))

        made = workers.first(begin, str | None)  # type: ignore[arg-type]
        if made is not None:
            folder = Path(made)
            with workers.together():
                if limit is None:
                    limit = held_bytes() + (available_bytes() or 4 << 30) // (2 * workers.num_local)
                budget = Budget.of(schema, limit)
                (folder / f"worker-{workers.rank}").mkdir()
            with closing(Scratch(folder, budget.table_bytes)) as scratch:
                encoder = Encoder(schema, scratch)
                encoder.keep_all_texts()
                own = open_sources(config, budget.chunk_bytes)
                own = [source._replace(log=source.log.part(workers.rank, workers.size)) for source in own]
                counts = _encode(folder, encoder, own, workers, budget, max_rejects, listen)

                def join() -> None:
                    _join(folder, encoder, counts, own[0], max_rejects)
                    for source in sources:
                        source.log.refuse_change()

                workers.first(join, type(None))
        workers.first(held.close, type(None))  # now it has its name
    with workers.together():
        prepared = open_prepared(root / key)
    return prepared_of(prepared, config, sources, schema, left_out)


def _encode(
    folder: Path,
    encoder: Encoder,
    sources: list[SplitLog],
    workers: Workers,
    budget: Budget,
    max_rejects: float | None,
    listen: Listener,
) -> list[list[Counts]]:
    """Fit the encoder on the rows of all workers, and encode this one's.

    Returns
    -------
    On worker 0, what became of the rows: of each worker, by log.
    """
    own = folder / f"worker-{workers.rank}"
    # A share of rejects is judged when all rows are counted.
    most = max_rejects if max_rejects is not None and max_rejects >= 1 else None

    def hold_limit() -> None:
        if encoder.counter_bytes > budget.counter_bytes:
            encoder.spill(budget.counter_bytes // 2)

    num_rows: int | None = None
    counts: list[Counts] = []
    with closing(Spool(own, sources[0].log.count_rows()[0])) as spool:
        while not encoder.fitted:
            with workers.together():
                num_rows = learn(
                    encoder,
                    sources[0],
                    num_rows=num_rows,
                    max_rejects=most,
                    listen=listen,
                    after_chunk=hold_limit,
                    spool=spool,
                )
                checksum = arrays.save_arrays(own / LEARNED_NAME, encoder.learned())
            parts = workers.gather(checksum.encode())
            checksums = workers.first(lambda parts=parts: [part.decode() for part in parts], list[str])  # type: ignore[misc]
            with workers.together():
                for rank, checksum in enumerate(checksums):
                    if rank != workers.rank:
                        learned = arrays.load_verified(folder / f"worker-{rank}" / LEARNED_NAME, checksum)
                        encoder.add_learned(learned, texts=workers.rank == 0)
                        hold_limit()
                with naming(sources[0].log.files[0]):
                    encoder.finish()
        if workers.rank == 0:
            for note in encoder.notes:
                listen(Warned(note))
        with workers.together():
            for number, source in enumerate(sources):
                (own / str(number)).mkdir()
                counts.append(
                    transform(
                        encoder,
                        [source],
                        own / str(number),
                        num_rows=None,
                        max_rejects=most,
                        listen=listen,
                        spool=spool if spool.is_open and number == 0 else None,
                    )
                )
    return [msgspec.json.decode(part, type=list[Counts]) for part in workers.gather(msgspec.json.encode(counts))]


def _join(
    folder: Path, encoder: Encoder, counts: list[list[Counts]], source: SplitLog, max_rejects: float | None
) -> None:
    """Make what one process makes out of what the workers made, and remove the latter."""
    rows_read = sum(of_log.rows_read for of_worker in counts for of_log in of_worker)
    parts: dict[str, dict[str, int]] = {}
    made_of: dict[str, list[Path]] = {}
    with atomic_file(folder / REJECTS_NAME) as rejects:
        for number, of_log in enumerate(zip(*counts, strict=True)):
            for rank, of_worker in enumerate(of_log):
                made = folder / f"worker-{rank}" / str(number)
                with (made / REJECTS_NAME).open("rb") as lines:
                    shutil.copyfileobj(lines, rejects)
                for part, of_part in of_worker.parts.items():
                    before = parts.get(part, dict.fromkeys(of_part, 0))
                    parts[part] = {name: count + of_part[name] for name, count in before.items()}
                    made_of.setdefault(part, []).append(made / part)
    line_ends = [each for of_log in zip(*counts, strict=True) for of_worker in of_log for each in of_worker.line_ends]
    num_rejects = rows_read - sum(part["examples"] for part in parts.values())
    refuse_rejects(folder, rows_read, num_rejects, max_rejects)
    for part, caches in made_of.items():
        _join_caches(folder / part, caches, encoder)
    for rank in range(len(counts)):
        shutil.rmtree(folder / f"worker-{rank}")
    finish(folder, encoder, save_encoder(folder, encoder), Counts(rows_read, parts, line_ends), source)


def _join_caches(folder: Path, caches: list[Path], encoder: Encoder) -> None:
    """Write the examples of some caches into one, in order."""
    if len(caches) == 1:
        caches[0].rename(folder)
        return
    opened = [Cache.open(path) for path in caches]
    with cache_writer(encoder, folder, opened[0].gather(np.zeros(0, dtype=np.int64))) as writer:
        for cache in opened:
            for first in range(0, cache.num_examples, BLOCK_EXAMPLES):
                writer.add(cache.gather(np.arange(first, min(first + BLOCK_EXAMPLES, cache.num_examples))))
