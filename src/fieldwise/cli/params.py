"""``fieldwise params``: the sizes of models, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from fieldwise.cli.options import Verb, config_options, load
from fieldwise.cli.output import print_json

if TYPE_CHECKING:
    from fieldwise.features.encoder import Encoder
    from fieldwise.models.config import ModelConfig
    from fieldwise.training.config import PretrainConfig, TrainConfig

_KINDS = ("lr", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet")
_SHOWN = ("model", "units", "parameters", "biases")


class _Sizes(NamedTuple):
    """What the counts follow from: D, F, what all models share, the number of classes; and what trains the table."""

    num_features: int
    num_fields: int
    model: ModelConfig
    num_classes: int
    train: TrainConfig
    pretrain: PretrainConfig
    bags: Sequence[int] = ()
    """Rows of the co-occurrence bags that models with interactions add to the fields of the log."""


def _widths(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read ``2048,1024``."""
    if value is None:
        return None
    words = value.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise click.BadParameter(f"{value!r} is not a comma-separated list of widths such as 2048,1024.", ctx, param)
    return tuple(int(word) for word in words)


@click.command(
    name="params",
    cls=Verb,
    short_help="Count the parameters of the models, without training.",
    examples=(
        "fieldwise params --fields 158 --features 8672633 --hidden 2048,1024",
        "fieldwise params fieldwise.toml --units 16",
        "fieldwise params --fields 39 --features 1000000000 --hidden 64 --storage bfloat16",
        "fieldwise params runs/first/lc-dnn-16",
    ),
)
@click.argument("source", metavar="[CONFIG|RUN]", type=click.Path(path_type=Path), required=False)
@click.option("--fields", type=click.IntRange(min=1), help="Number of fields.")
@click.option("--features", type=click.IntRange(min=1), help="Number of features.")
@click.option("--hidden", callback=_widths, metavar="WIDTHS", help="Widths of the hidden layers, e.g. 2048,1024.")
@click.option("--units", type=click.IntRange(1, 64), help="Units per field. Default: 1, as in the paper.")
@click.option("--classes", type=click.IntRange(min=2), help="Number of classes. Default: 2.")
@click.option(
    "--optimizer",
    type=click.Choice(["adagrad", "rowwise-adagrad", "adam", "ftrl"]),
    help="Optimizer of the table. Default: adam; ftrl for lr.",
)
@click.option("--storage", type=click.Choice(["float32", "bfloat16"]), help="Storage type of the table in training.")
@config_options
def command(
    source: Path | None,
    fields: int | None,
    features: int | None,
    hidden: tuple[int, ...] | None,
    units: int | None,
    classes: int | None,
    optimizer: str | None,
    storage: str | None,
    overrides: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Count the parameters of LR, DNN, LC-DNN, LC-W&D and LC-ResNet, and the memory needed to train them.

    The sizes come from the options (the first example has those of the AppData log of the paper), from the log of
    CONFIG, which is prepared if necessary, or from the log that RUN was trained on. The features of a log include two
    ids per field, for missing and for unseen values. Biases are counted separately.
    """
    import msgspec

    from fieldwise.models.config import ModelConfig
    from fieldwise.models.memory import training_memory
    from fieldwise.models.sizes import count_parameters, num_outputs
    from fieldwise.training.config import PretrainConfig, TrainConfig

    if source is None:
        if not (fields and features and hidden):
            raise click.UsageError("Pass a configuration, a run, or all of --fields, --features and --hidden.")
        if overrides:
            raise click.UsageError("--set requires a configuration.")
        sizes = _Sizes(features, fields, ModelConfig(units=1), classes or 2, TrainConfig(), PretrainConfig())
    else:
        if fields or features or classes:
            raise click.UsageError(f"--fields, --features and --classes are not allowed with {source}.")
        sizes = _of_run(source) if source.is_dir() else _of_config(source, units, overrides, threads, quiet)
    model = msgspec.structs.replace(sizes.model, units=units or sizes.model.units, hidden=hidden or sizes.model.hidden)
    asked = {name: value for name, value in (("name", optimizer), ("storage", storage)) if value is not None}
    outputs, counts, memories = num_outputs(sizes.num_classes), [], []
    for kind in dict.fromkeys((*_KINDS, model.kind)):
        if kind == "auto" or (not model.hidden and kind in ("dnn", "lc-resnet")):
            continue
        own = msgspec.structs.replace(model, kind=kind)
        moved_by = msgspec.structs.replace((sizes.pretrain if kind == "lr" else sizes.train).table, **asked)
        size = count_parameters(own, sizes.num_features, sizes.num_fields, outputs, sizes.bags)
        counts.append(size)
        memories.append(
            training_memory(
                own,
                size,
                sizes.num_fields + len(sizes.bags),
                moved_by,
                batch_size=sizes.train.largest_batch,
                averaged=sizes.train.average_epochs > 0,
            )
        )
    if as_json:
        print_json(
            [
                {
                    **{name: getattr(count, name) for name in _SHOWN},
                    "table_bytes": memory.table,
                    "training_bytes": memory.total,
                }
                for count, memory in zip(counts, memories, strict=True)
            ]
        )
    else:
        from fieldwise.cli.tables import print_sizes

        print_sizes(counts, memories, sizes.num_fields, sizes.num_features, model.hidden)


def _of_config(path: Path, units: int | None, overrides: Sequence[str], threads: int | None, quiet: bool) -> _Sizes:
    config = load(path, overrides, threads)

    import msgspec

    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.prepare.prepare import prepare
    from fieldwise.jobs.train.begin import with_kind
    from fieldwise.jobs.train.plan import cooccurrence_rows

    with show_progress(quiet) as listen:
        prepared = prepare(config, listen=listen)
    # What the log adds to a locally connected model, whatever the model of the configuration is.
    model = config.model if config.model.locally_connected else msgspec.structs.replace(config.model, kind="auto")
    model = msgspec.structs.replace(model, units=units or model.units)
    config = with_kind(msgspec.structs.replace(config, model=model), prepared)
    bags = cooccurrence_rows(config.model, prepared)
    return _of_encoder(prepared.encoder, config.model, config.train, config.pretrain, bags)


def _of_run(folder: Path) -> _Sizes:
    import numpy as np

    from fieldwise.bundle import open_bundle
    from fieldwise.models.load import load_model
    from fieldwise.training.config import PretrainConfig, TrainConfig

    bundle = open_bundle(folder)
    model = load_model(bundle)
    bags = np.diff(model.table.layout.base)[bundle.encoder.layout.num_fields :].tolist()
    return _of_encoder(bundle.encoder, model.config, TrainConfig(), PretrainConfig(), bags)


def _of_encoder(
    encoder: Encoder, model: ModelConfig, train: TrainConfig, pretrain: PretrainConfig, bags: Sequence[int]
) -> _Sizes:
    layout, schema = encoder.layout, encoder.schema
    num_classes = len(schema.classes)
    return _Sizes(layout.num_features, layout.num_fields, model.for_schema(schema), num_classes, train, pretrain, bags)
