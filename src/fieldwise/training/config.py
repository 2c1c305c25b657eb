"""How a model is trained, as data: the ``[train]`` and ``[pretrain]`` tables of a configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fieldwise.calibration import Method
from fieldwise.tables.config import TableOptimizerConfig

__all__ = ["DenseOptimizerConfig", "PretrainConfig", "SamplerConfig", "Seed", "TrainConfig"]

Seed = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""The generators of the libraries that we draw from take no larger one, or not all of them."""
_STEPS_PER_EPOCH, _LEAST_STEPS = 128, 64
_SMALLEST_BATCH, _SMALL_BATCH, _LARGEST_BATCH = 32, 256, 4096


class SamplerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the posterior of a Bayesian factorisation machine is found.

    Attributes
    ----------
    method
        ``gibbs``: sampled (`training.gibbs`). ``variational``: approximated in passes over shuffled batches
        (`training.variational`), in the time of some epochs; it takes weights and `negative_rate`, and the examples
        need not fit in memory. ``auto``: sampled where that is possible and takes some minutes at most, or the preset
        is ``best``; else variational.
    passes
        ``variational``: over the training examples.
    sweeps
        How often everything is drawn, at most.
    burn_in
        How many of the first draws are left out of the mean, 0 <= burn_in < sweeps.
    tolerance
        Sampling ends where forty more sweeps bring the validation logloss of the mean down by less than this share of
        it (`training.chain`); 0: after `sweeps`. Without validation rows all sweeps are done.
    """

    method: Literal["auto", "gibbs", "variational"] = "auto"
    passes: Annotated[int, Meta(ge=1)] = 12
    sweeps: Annotated[int, Meta(ge=1)] = 300
    burn_in: Annotated[int, Meta(ge=0)] = 40
    tolerance: Annotated[float, Meta(ge=0, lt=1)] = 0.002

    def __post_init__(self) -> None:
        if self.burn_in >= self.sweeps:
            raise ValueError(f"burn_in (={self.burn_in}) must be smaller than sweeps (={self.sweeps})")


class DenseOptimizerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of torch's optimizers moves the dense weights, and how fast.

    Attributes
    ----------
    name
        ``adam``, ``adamw``, ``adagrad`` or ``sgd``.
    learning_rate
        > 0. With Adam and AdamW, a matrix with n > 256 inputs moves by 256 / n of it: every weight moves by about the
        rate, so what its output moves by grows with the number of inputs (Yang et al. 2021, "Tensor Programs V").
    weight_decay
        >= 0; for ``adamw`` decoupled from the gradient. Matrices only, not biases.
    """

    name: Literal["adam", "adamw", "adagrad", "sgd"] = "adamw"
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passes over the data, what moves the weights, and when to stop.

    Attributes
    ----------
    epochs
        Passes at most.
    batch_size
        Examples a step; 0: chosen by the number of training examples (`TrainConfig.for_examples`).
    seed
        Of initial weights, dropout and the order of the examples; 0 to 2,147,483,647.
    precision
        ``float32``, ``bfloat16`` (matrix products; weights stay float32), ``float64`` (for checking), or ``auto``:
        bfloat16 where the processor multiplies in it and the deep part has 262,144 weights or more. Where it does not,
        ``bfloat16`` still works, in about the time of float32.
    negative_rate
        Train on this share of the examples of label 0, the same ones in every epoch, and on all of label 1 (two
        classes). Probabilities are corrected for it exactly (`calibration`); 0 < negative_rate <= 1.
    half_life
        Days, > 0, after which an example counts half as much: training examples have the weight ``w 2^(-age /
        half_life)``, with w that of ``data.weight`` or 1, and their age in days at the moment that ends the training
        part (``data.time``). Not, unless given.
    calibration
        What follows training, on the validation rows: ``none``, ``temperature`` or ``isotonic`` (`calibration`).
    stop_on
        The validation metric that decides which epoch's weights are kept, and when to stop: ``auc``, ``gauc``,
        ``logloss``, ``pr_auc``, ``normalized_entropy``; where there is a group, ``ndcg``, ``mrr``, ``hit_rate`` or
        ``recall``, of the first 10 ranks; or one of your own (`metrics.own`). Of several labels it is that of the
        first, or ``METRIC:LABEL``, as in ``auc:conversion``.
    patience
        Epochs without a better value before training stops.
    schedule
        ``constant``, ``linear`` or ``cosine`` decay of all learning rates to zero over the epochs.
    warmup
        Share of all steps over which the learning rates rise from zero, 0 <= warmup < 1.
    average_epochs
        What is validated and kept is the average of the weights over so many epochs (`training.averaging`); 0: the
        weights as they are.
    checkpoint_minutes, checkpoint_steps
        A checkpoint is saved when so many minutes have passed since the last, and after every so many steps (not,
        unless given).
    table
        The optimizer of the table; `tables.config.TableOptimizerConfig`.
    dense
        The optimizer of all other weights; `DenseOptimizerConfig`.
    sampler
        Of a Bayesian factorisation machine; `SamplerConfig`.
    device
        Where a model is trained: ``cpu``; ``cuda``, an NVIDIA GPU with the whole table in its memory; ``auto``, the GPU
        where there is one; or ``torch``, for checking: what ``cuda`` does, on the processor, in torch's operations.
        A run may go on elsewhere than where it began.
    threads
        Threads to use; all cores unless given.
    preset
        What time is worth: ``fast``, ``default`` or ``best`` (`jobs.presets`).
    minutes
        A budget: members of the model that would take longer, by rates measured before training, are left out, the
        costliest first, and that is said. Where what is left takes longer than expected, sampling ends early, and no
        epoch begins that would not fit, but for the first. Preparing and logistic regression are not counted.
    trees
        ``lightgbm`` or ``catboost``, on out-of-fold target means (`training.target_means`), stacked with what was
        trained, for comparison: the result says what they would add, and what was trained is saved as it is without
        them. Needs the extra ``trees``.
    comm_dtype
        The type in which several workers send each other rows and their gradients: that of the table (``full``), or
        ``bfloat16``, which halves the bytes.
    """

    epochs: Annotated[int, Meta(ge=1)] = 12
    batch_size: Annotated[int, Meta(ge=0)] = 0
    seed: Seed = 0
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    negative_rate: Annotated[float, Meta(gt=0, le=1)] = 1.0
    half_life: Annotated[float, Meta(gt=0)] | None = None
    calibration: Method = "none"
    stop_on: str = "auc"
    patience: Annotated[int, Meta(ge=1)] = 2
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    average_epochs: Annotated[float, Meta(ge=0)] = 1.0
    checkpoint_minutes: Annotated[float, Meta(gt=0)] = 10.0
    checkpoint_steps: Annotated[int, Meta(ge=1)] | None = None
    table: TableOptimizerConfig = TableOptimizerConfig()
    dense: DenseOptimizerConfig = DenseOptimizerConfig()
    sampler: SamplerConfig = SamplerConfig()
    device: Literal["cpu", "cuda", "auto", "torch"] = "cpu"
    threads: Annotated[int, Meta(ge=1)] | None = None
    preset: Literal["fast", "default", "best"] = "default"
    minutes: Annotated[float, Meta(gt=0)] | None = None
    trees: Literal["none", "lightgbm", "catboost"] = "none"
    comm_dtype: Literal["full", "bfloat16"] = "full"

    @property
    def largest_batch(self) -> int:
        """The batch size, or the largest that would be chosen."""
        return self.batch_size or _LARGEST_BATCH

    def for_examples(self, num_examples: int) -> TrainConfig:
        """Return these settings with a batch size for a log of so many training examples, where none is given.

        The largest power of two that makes 128 steps of an epoch, 256 to 4,096, or, where 256 leaves fewer than 64
        steps, one that makes these, 32 at least: in fewer steps a small log's models overfit before they have learnt
        much (docs/log/2026-11/accuracy.md#which-changes-make-a-better-model).

        Examples
        --------
        >>> [TrainConfig().for_examples(count).batch_size for count in (1_000, 3_500, 20_000, 200_000, 600_000, 10**9)]
        [32, 32, 256, 1024, 4096, 4096]
        """
        if self.batch_size:
            return self
        size = min(_power_of_two(num_examples // _STEPS_PER_EPOCH), _LARGEST_BATCH)
        if size < _SMALL_BATCH:
            size = min(max(_power_of_two(num_examples // _LEAST_STEPS), _SMALLEST_BATCH), _SMALL_BATCH)
        return msgspec.structs.replace(self, batch_size=size)


def _power_of_two(number: int) -> int:
    """Return the largest that is not above a number, or 1."""
    return 1 << (max(number, 1).bit_length() - 1)


class LrTableOptimizerConfig(TableOptimizerConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The optimizer of logistic regression's weights: FTRL-proximal, the usual one for it."""

    name: Literal["adagrad", "rowwise-adagrad", "adam", "ftrl"] = "ftrl"


class LrDenseOptimizerConfig(DenseOptimizerConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The optimizer of logistic regression's bias."""

    learning_rate: Annotated[float, Meta(gt=0)] = 1e-2


class PretrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How logistic regression is trained, as a model of its own and as the initial model of others.

    Attributes
    ----------
    solver
        ``newton`` solves it to its optimum, with examples in memory, ``ftrl`` trains it by steps. ``auto``: the former
        for two classes and logs that take half a GiB or less (8 bytes a feature of an example, 64 an example, 64 a
        feature; `training.solvable`), unless one of the keys below but ``table.l2`` is set.
    epochs, patience
        As in ``[train]``, for ``ftrl``: passes go on until one brings nothing.
    table, dense
        The optimizers of its weights and of its bias, for ``ftrl``. ``newton`` takes ``table.l2`` for the penalty of
        all fields; unless it is given, it chooses one on valid, then one of each field's own (`training.penalty`).
    """

    solver: Literal["auto", "ftrl", "newton"] = "auto"
    epochs: Annotated[int, Meta(ge=1)] = 100
    patience: Annotated[int, Meta(ge=1)] = 1
    table: LrTableOptimizerConfig = LrTableOptimizerConfig()
    dense: LrDenseOptimizerConfig = LrDenseOptimizerConfig()
