"""Where training begins: biases at the base rate, logistic regression's weights, the posterior means of a Bayesian FM;
and which models a log allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.cache import Cache, Examples
from fieldwise.errors import ConfigError
from fieldwise.kernels.joint_labels import label_states
from fieldwise.kernels.layout import Layout
from fieldwise.models.bayesian_fm import BayesianFM
from fieldwise.models.click import ClickModel
from fieldwise.models.config import LabelHead, ModelConfig
from fieldwise.models.lc import LocallyConnected
from fieldwise.training.config import TrainConfig
from fieldwise.training.dependence import Determined
from fieldwise.training.gibbs import FactorMeans

__all__ = [
    "LrWeights",
    "base_rate",
    "leave_out_determined",
    "posterior_method",
    "set_base_rate",
    "set_sampled",
    "settled",
    "take_member",
    "warm_start",
]

_SAMPLE_EXAMPLES = 100_000
_BEST = ("lc-dnn", "lc-dnn", "lc-resnet")
_MOST_WORK = 1e12
"""Products of two numbers in all sweeps, beyond which nothing is sampled unasked: some minutes of two cores."""
_MOST_FEATURES = 2_000_000
"""Beyond which no posterior is approximated unasked: a gigabyte beside everything else."""


class LrWeights(NamedTuple):
    """A trained logistic regression: (D, O) weights and (O,) bias."""

    weights: npt.NDArray[np.floating]
    bias: npt.NDArray[np.floating]


def set_base_rate(model: ClickModel, train: Cache) -> None:
    """Set biases, and a stack's level, to the log-odds of the click rate (of more classes: biases to the logarithms of
    their shares).

    Of several labels, each among the examples that it is counted among.

    Taken from at most 100,000 examples, evenly spread. Without it the first steps move all weights the same way, to
    say the same thing many times: with 158 fields logistic regression never recovers from that
    (docs/log/2026-11/initial-model.md#where-should-the-bias-start). Where ``model.calibration`` corrects for negatives
    that are left out, the bias is that of what is left.
    """
    if model.labels:
        examples = _some(train)
        start = np.array([_log_odds(model.labels, number, examples) for number in range(len(model.labels))])
    else:
        start = base_rate(train, max(model.num_outputs, 2))
    for member in model.trained.values():
        if isinstance(bias := getattr(member, "bias", None), torch.Tensor):
            with torch.no_grad():
                bias.copy_(torch.from_numpy(start))
                bias.sub_(model.calibration.offset)
    if model.stacker is not None and len(start) == 1:
        model.stacker.level = float(start[0]) - model.calibration.offset


def base_rate(train: Cache, num_classes: int = 2) -> npt.NDArray[np.float64]:
    """Return the log-odds (1,) of the click rate, by weight; for more classes the logarithms (O,) of their shares."""
    examples = _some(train)
    assert examples.labels is not None, "training needs labels"
    counts = np.bincount(examples.labels, weights=examples.weights, minlength=num_classes)
    logs: npt.NDArray[np.float64] = np.log((counts + 1.0) / (counts.sum() + num_classes))
    return logs if num_classes > 2 else logs[1:] - logs[:1]


def _some(train: Cache) -> Examples:
    return train.gather(np.arange(0, train.num_examples, max(train.num_examples // _SAMPLE_EXAMPLES, 1)))


def _log_odds(labels: Sequence[LabelHead], number: int, examples: Examples) -> float:
    """Return the log-odds of one of several labels, among the examples that it is counted among."""
    assert examples.labels is not None, "training needs labels"
    states, among = label_states(examples.labels, number), labels[number].among
    counted = np.ones(len(states), dtype=np.bool_) if among is None else label_states(examples.labels, among) == 1
    weights = None if examples.weights is None else examples.weights[counted]
    negative, positive, *_ = np.bincount(states[counted], weights=weights, minlength=2)
    return float(np.log((positive + 1.0) / (negative + 1.0)))


def leave_out_determined(model: ClickModel, determined: Sequence[Determined]) -> None:
    """Leave out interactions of fields of which one determines the other.

    Those with fields that linear parts alone read are left out, too. A co-occurrence bag says what its key says, so it
    is left out with whatever determines the key or is determined by it.
    """
    num_fields = model.table.layout.num_fields
    bags = () if model.cooccurrence is None else model.cooccurrence.bags
    stands_for = [*range(model.num_log_fields), *(bag.key for bag in bags)]
    told = {frozenset(pair) for pair in determined}
    linear = model.config.linear_fields
    told |= {frozenset((f, g)) for f in linear for g in range(model.num_log_fields) if f != g}
    for member in model.members.values():
        if isinstance(member, BayesianFM):
            member.interactions.leave_out(sorted((min(pair), max(pair)) for pair in told))
        elif isinstance(member, LocallyConnected) and member.interactions is not None:
            member.interactions.leave_out(
                (f, g)
                for f in range(num_fields)
                for g in range(f + 1, num_fields)
                if stands_for[f] == stands_for[g] or frozenset((stands_for[f], stands_for[g])) in told
            )


def warm_start(model: ClickModel, lr: LrWeights) -> None:
    """Let training begin with logistic regression's weights.

    They go into the columns that a member says are linear (`models.member`): for ``lc-*`` unit 0 of every field (unit o
    for class o where there are more classes), and the wide part.
    """
    # Co-occurrence bags have no weights in logistic regression; their rows come last.
    missing = model.table.layout.num_features - len(lr.weights)
    weights = np.pad(lr.weights, ((0, missing), (0, 0)))
    for name, member in model.trained.items():
        local, full = model.columns(name)
        for unit in range(member.linear_local):
            model.table.start(local.start + unit, weights[:, unit])
        for output in range(member.linear_full):
            model.table.start(model.table.num_local + full.start + output, weights[:, output])
        if member.is_linear and isinstance(member.bias, torch.Tensor):
            with torch.no_grad():
                member.bias.copy_(torch.from_numpy(np.array(lr.bias)))


def set_sampled(model: ClickModel, name: str, means: FactorMeans) -> None:
    """Give a sampled member its means; co-occurrence bags have no part in it."""
    member, (local, _) = model.sampled[name], model.columns(name)
    missing = model.table.layout.num_features - len(means.sampled)
    for number in range(member.num_local):
        model.table.start(local.start + number, np.pad(means.numbers(number), (0, missing)))
    assert isinstance(member.bias, torch.Tensor)
    member.bias.fill_(means.bias)


def take_member(
    model: ClickModel, name: str, weights: npt.NDArray[np.floating], dense: Mapping[str, npt.NDArray[Any]]
) -> bool:
    """Give a trained member of a stack the weights (D, n) and the dense ones that it has learned alone.

    False, and nothing is done, where it is another model alone: beside a sampled factorisation machine a locally
    connected model without co-occurrence bags has no interactions of its own (`models.lc`).
    """
    member, (local, full), table = model.trained[name], model.columns(name), model.table
    others = ("stacker.", *(f"members.{other}." for other in model.members if other != name))
    own = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if not key.startswith(others)}
    found = {key: array.shape for key, array in dense.items()}
    if own != found or weights.shape != (table.layout.num_features, member.num_local + member.num_full):
        return False
    model.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in dense.items()}, strict=False)
    columns = [local.start + unit for unit in range(member.num_local)]
    columns += [table.num_local + full.start + output for output in range(member.num_full)]
    for number, column in enumerate(columns):
        table.start(column, weights[:, number])
    return True


def posterior_method(
    model: ModelConfig, train: TrainConfig, layout: Layout, num_examples: int, weighted: bool
) -> Literal["gibbs", "variational"]:
    """Return how the posterior of a Bayesian factorisation machine is found: as ``train.sampler.method`` says, and for
    ``auto`` sampled where that can be and takes no more than some minutes, or the preset is ``best``.
    """
    if train.sampler.method != "auto":
        return train.sampler.method
    # A field of an example adds a square of its feature's P numbers; a feature solves P equations.
    num_numbers = model.factors + 1
    squares = num_examples * layout.num_fields + layout.num_features * num_numbers
    work = float(squares) * num_numbers**2 * train.sampler.sweeps
    sampled = not weighted and train.negative_rate == 1.0 and (work <= _MOST_WORK or train.preset == "best")
    return "gibbs" if sampled else "variational"


def settled(
    model: ModelConfig,
    train: TrainConfig,
    layout: Layout,
    num_examples: int,
    *,
    num_classes: int = 2,
    weighted: bool = False,
    has_inputs: bool = False,
) -> ModelConfig:
    """Return a model with its kind, where that is ``auto``: a stack with a Bayesian factorisation machine where there
    can be one, sampled or, of at most two million features, approximated (`posterior_method`). The preset ``best`` has
    two LC-DNNs and LC-ResNet.

    Parameters
    ----------
    model, train
        The configuration.
    layout, num_examples, num_classes, weighted
        Of the training part; `weighted` where examples have weights, `has_inputs` where those of a field
        are inputs. All workers know them, and decide alike.

    Raises
    ------
    ConfigError
        The model has a Bayesian factorisation machine, and there can be none.

    Examples
    --------
    >>> from fieldwise.kernels.layout import SINGLE
    >>> layout = Layout.of([SINGLE] * 7, [1400] * 7)
    >>> settled(ModelConfig(), TrainConfig(), layout, 600_000).kind
    'lc-dnn+bayesian-fm'
    >>> [posterior_method(ModelConfig(), TrainConfig(), layout, count, weighted=False) for count in (600_000, 10**8)]
    ['gibbs', 'variational']
    >>> settled(ModelConfig(), TrainConfig(), Layout.of([SINGLE] * 2, [1400, 10**9]), 1000).kind
    'lc-dnn'
    >>> settled(ModelConfig(), TrainConfig(preset="best"), layout, 10**8).kind
    'lc-dnn+lc-dnn+lc-resnet+bayesian-fm'
    """
    obstacles = {
        "there are no two fields": layout.num_fields < 2,
        "there are more than two classes": num_classes > 2,
        "there are several labels": bool(model.labels),
    }
    for reason, is_so in obstacles.items():
        if is_so and model.is_sampled:
            raise ConfigError(
                f"this log has no Bayesian factorisation machine: {reason}",
                where="model.kind",
                got=model.kind,
                fix="leave bayesian-fm out of it",
            )
    not_sampled = {
        "examples have weights": weighted,
        "train.negative_rate leaves examples out": train.negative_rate < 1.0,
    }
    for reason, is_so in not_sampled.items():
        if is_so and model.is_sampled and train.sampler.method == "gibbs":
            raise ConfigError(
                f"this log is not sampled: {reason}",
                where="train.sampler.method",
                got=train.sampler.method,
                fix='use "variational", or leave it out',
            )
    if model.labels and "+" in model.kind:
        raise ConfigError(
            "a stack is weighed for one label", where="model.kind", got=model.kind, fix="train one member alone"
        )
    if model.kind != "auto":
        return model
    # A number's heavy tail, as it is, makes a poor factor.
    can = not any(obstacles.values()) and not has_inputs and model.has_interactions(layout.num_fields)
    method = posterior_method(model, train, layout, num_examples, weighted)
    if method == "gibbs":
        can = can and not any(not_sampled.values())
    stack = can and (method == "gibbs" or layout.num_features <= _MOST_FEATURES)
    best = train.preset == "best" and not model.labels
    kinds = (*(_BEST if best else ("lc-dnn",)), *(("bayesian-fm",) if stack else ()))
    return msgspec.structs.replace(model, kind="+".join(kinds))
