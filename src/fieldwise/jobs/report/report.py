"""``fieldwise report``: the report of a run, a comparison or a search.

::

    report.html    for people, drawn by matplotlib (`report.training`)
    report.json    every figure in it (`report.content.ReportContent`)
    card.md        the model card

Training itself draws nothing: the verbs do when it is done, and Python on request, for drawing takes a second or two
and an extra library, and a training is worth more than its report.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from fieldwise.bundle import open_bundle
from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.data.read_report import describe
from fieldwise.errors import ArtefactError
from fieldwise.events import Listener, StageStart, Warned, ignore
from fieldwise.io.files import write_bytes
from fieldwise.jobs.compare.comparison import Comparison
from fieldwise.jobs.init.write_config import config_toml
from fieldwise.jobs.machine import describe_machine
from fieldwise.jobs.predict.coverage import Coverage
from fieldwise.jobs.prepare.plan import cache_root
from fieldwise.jobs.prepare.prepared import PREPARED_NAME, Prepared, open_prepared
from fieldwise.jobs.report.lines import comparison_lines, difference_lines, member_lines, model_line, trial_lines
from fieldwise.jobs.report.measure import measure
from fieldwise.jobs.result import Result
from fieldwise.jobs.run import RUN_NAME, read_config, read_result
from fieldwise.jobs.train.record import RECORD_NAME, read_record
from fieldwise.jobs.tune.trial import Tuning
from fieldwise.models.registry import model_label
from fieldwise.report.card import model_card
from fieldwise.report.content import DataLine, ModelLine, PartFigures, ProgressPoint, ReportContent
from fieldwise.report.training import training_page

__all__ = ["REPORT_NAME", "drawn_or_warned", "is_current", "report_or_warn", "write_report"]

REPORT_NAME = "report.html"
_JSON_NAME, _CARD_NAME = "report.json", "card.md"
_MOST_MOMENTS = 300


def write_report(what: str | Path | Comparison | Tuning, *, listen: Listener = ignore) -> Path:
    """Measure and draw the report of a finished training, and return the path of its HTML page.

    Parameters
    ----------
    what
        A run folder; or what `compare` or `tune` returned; or the folder of such, whose report is drawn again from the
        figures of its ``report.json``.
    listen
        Called with events.

    Raises
    ------
    ArtefactError
        The run is not finished, or the prepared log that it was trained on is gone.
    ModuleNotFoundError
        Matplotlib is not installed; ``report.json`` and ``card.md`` are written all the same.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.write_report("runs/first")  # doctest: +SKIP
    PosixPath('runs/first/report.html')
    """
    if isinstance(what, Comparison):
        folder, content = Path(what.folder), _of_comparison(what, listen)
    elif isinstance(what, Tuning):
        folder, content = Path(what.folder), _of_search(what, listen)
    else:
        folder = Path(what)
        content = _of_run(folder, listen) if (folder / RUN_NAME).exists() else _recorded(folder)
    write_bytes(folder / _JSON_NAME, msgspec.json.format(msgspec.json.encode(content), indent=1))
    write_bytes(folder / _CARD_NAME, model_card(content).encode())
    write_bytes(folder / REPORT_NAME, training_page(content).encode())
    return folder / REPORT_NAME


def report_or_warn(what: str | Path | Comparison | Tuning, listen: Listener = ignore) -> Path | None:
    """Do what `write_report` does; where that fails, say so in a warning and return None: the training is done."""
    return drawn_or_warned(lambda: write_report(what, listen=listen), "fieldwise report", listen)


def drawn_or_warned(draw: Callable[[], Path], verb: str, listen: Listener) -> Path | None:
    """Return what `draw` does; where that fails, warn, with the verb that tries again, and return None."""
    try:
        return draw()
    except Exception as error:  # of a library that draws, too: whatever it is, no training is lost by it
        missing = isinstance(error, ModuleNotFoundError)
        cure = f"pip install 'fieldwise[train]', then `{verb}`" if missing else f"`{verb}` tries again"
        text = (
            f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else " ".join(str(error).split())
        )
        listen(Warned(f"no report was drawn: {text or type(error).__name__}; {cure}"))
        return None


def is_current(run: Path) -> bool:
    """Whether a run's report was drawn after the run was finished."""
    page, record = run / REPORT_NAME, run / RUN_NAME
    return page.exists() and page.stat().st_mtime_ns >= record.stat().st_mtime_ns


def _recorded(folder: Path) -> ReportContent:
    path = folder / _JSON_NAME
    if not path.exists():
        raise ArtefactError(
            "there is nothing to report",
            where=folder,
            expected=f"a run folder ({RUN_NAME}), or a comparison or a search with {_JSON_NAME}",
            fix="of a comparison or a search, run the same command again: trained models are kept",
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReportContent)
    except msgspec.MsgspecError as error:
        raise ArtefactError("the figures of the report are damaged", where=path, got=error) from None


def _of_run(folder: Path, listen: Listener) -> ReportContent:
    result = read_result(folder, with_bundle=True)
    if result is None:
        raise ArtefactError("the run is not finished", where=folder, fix="run the same command again")
    config, prepared = _opened(folder)
    lines = [model_line(result, config.train.stop_on)]
    if (folder / "pretrain" / RUN_NAME).exists():
        initial = read_result(folder / "pretrain")
        lines += [] if initial is None else [model_line(initial, config.train.stop_on, " (pretraining)", curve=False)]
    lines += member_lines(result)
    title = f"{lines[0].label}: {folder.resolve().name}"
    return _content(title, lines, lines[0].label, result, folder, config, prepared, listen)


def _of_comparison(comparison: Comparison, listen: Listener) -> ReportContent:
    results = comparison.models
    best = comparison.best
    run = Path(comparison.folder) / comparison.spreads[best].model  # results name the folder where they were made
    config, prepared = _opened(run)
    lines = comparison_lines(comparison, config.train.stop_on)
    title = f"Comparison: {Path(comparison.folder).resolve().name}"
    content = _content(title, lines, lines[best].label, results[best], run, config, prepared, listen)
    differences, against = difference_lines(comparison)
    return msgspec.structs.replace(content, differences=differences, against=against, level=comparison.level)


def _of_search(tuning: Tuning, listen: Listener) -> ReportContent:
    folder = Path(tuning.folder) / "trials" / f"{tuning.best:04d}" / ("0" if tuning.folds else "")
    result = read_result(folder)
    if result is None:
        raise ArtefactError("the best trial is not finished", where=folder)
    if not tuning.folds:  # of folds, the model of the first is shown, as its own run knows it
        result = msgspec.structs.replace(result, valid=tuning.valid, test=tuning.test)
    config, prepared = _opened(folder)
    line = model_line(result, config.train.stop_on, ", first fold" if tuning.folds else "")
    title = f"Search: {Path(tuning.folder).resolve().name}"
    content = _content(title, [line], line.label, result, folder, config, prepared, listen)
    trials = trial_lines(tuning)
    return msgspec.structs.replace(content, trials=trials, best=tuning.best)


def _opened(run: Path) -> tuple[Config, Prepared]:
    """Return the configuration of a run, and its prepared log."""
    config, log = read_config(run)
    folder = cache_root(config) / log
    if not (folder / PREPARED_NAME).exists():
        raise ArtefactError(
            "the prepared log that the run was trained on is gone", where=folder, fix="prepare the same log again"
        )
    return config, open_prepared(folder)


def _content(
    title: str,
    lines: list[ModelLine],
    model: str,
    result: Result,
    run: Path,
    config: Config,
    prepared: Prepared,
    listen: Listener,
) -> ReportContent:
    """Return the content of a report, measured on the best part that there is; `run` holds the model."""
    bundle = open_bundle(run / "bundle")  # as it was trained, whatever a run was updated to since
    part = next((name for name in ("test", "valid") if name in prepared.parts), None)
    figures: PartFigures | None = None
    coverage: Coverage | None = None
    if part is not None:
        listen(StageStart("report", result.model))
        figures, coverage = measure(bundle, prepared.parts[part], part, config)
    summary = prepared.summary
    schema = prepared.encoder.schema
    return ReportContent(
        title=title,
        model=model,
        label=" and ".join(filter(None, schema.label_columns)),
        positive=schema.positive_class,
        classes=list(schema.classes),
        parts={name: (count["examples"], count["read"], count["rejected"]) for name, count in summary["parts"].items()},
        rows_read=summary["rows_read"],
        rows_rejected=summary["rows_rejected"],
        reading=describe(result.read or prepared.read),
        fields=_fields(prepared, coverage),
        num_features=summary["num_features"],
        models=lines,
        stop_on=config.train.stop_on,
        figures=figures,
        moments=_moments(run),
        warnings=[*result.warnings, *(coverage.warnings() if coverage is not None else [])],
        config=config_toml(config, Path(config.base)),
        facts=_facts(config, prepared, run, bundle.digest),
    )


def _fields(prepared: Prepared, coverage: Coverage | None) -> list[DataLine]:
    shares = {} if coverage is None else {each.name: each for each in coverage.shares()}
    return [
        DataLine(
            name=field["name"],
            type=field["type"],
            features=field["features"],
            **(
                {}
                if (share := shares.get(field["name"])) is None
                else {
                    "missing": share.missing,
                    "training_missing": share.training_missing,
                    "unseen": share.unseen,
                    "training_unseen": share.training_unseen,
                }
            ),
        )
        for field in prepared.summary["fields"]
    ]


def _moments(run: Path) -> list[ProgressPoint]:
    """Return what the record of a run says of speed and memory, thinned."""
    found, stage = [], ""
    for each in read_record(run / RECORD_NAME):
        if each.model is not None:
            stage = model_label(each.model)
        if each.memory is not None:
            found.append(
                ProgressPoint(
                    seconds=each.seconds,
                    stage=stage,
                    examples_per_second=each.examples_per_second if each.event in ("progress", "epoch") else None,
                    memory=each.memory,
                )
            )
    return found[:: -(-len(found) // _MOST_MOMENTS) or 1]


def _facts(config: Config, prepared: Prepared, run: Path, digest: str) -> dict[str, dict[str, str]]:
    machine = describe_machine()
    began = next((each.at for each in read_record(run / RECORD_NAME) if each.at is not None), None)
    return {
        "Training": {
            **({"begun": began} if began is not None else {}),
            "seed of training": str(config.train.seed),
            "seed of the split": str(config.data.seed),
        },
        "Checksums": {
            "log": prepared.folder.name,
            **{name: count["checksum"] for name, count in prepared.summary["parts"].items() if "checksum" in count},
            "model": digest,
        },
        "Machine of the report": {
            "processor": f"{machine.processor}, {counted(machine.cores, 'core')}",
            "system": machine.system,
            **machine.versions,
        },
    }
