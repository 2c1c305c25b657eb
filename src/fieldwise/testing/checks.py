"""The checks, each a function of a `Subject` that returns nothing or raises `CheckFailed`.

Where numbers must agree to rounding, all is computed in float64 and compared to 1e-9; where nothing is computed in
another order, every bit must agree.
"""

from __future__ import annotations

import inspect
import pickle
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from fieldwise.bundle import BundleWriter, open_bundle
from fieldwise.data.cache import Examples
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.models.click import ClickModel
from fieldwise.models.config import ModelConfig
from fieldwise.models.load import dense_arrays, load_model
from fieldwise.nn.blocks import set_torch_threads
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.host import HostTable
from fieldwise.testing.subject import NUM_ROWS, Builder, CheckFailed, DeepPart, Subject, make_log
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.guard import NotFinite
from fieldwise.training.initial import LrWeights, warm_start
from fieldwise.training.loss import logloss
from fieldwise.training.step import Stepper

__all__ = ["CHECKS", "check_model"]

_TOLERANCE = 1e-9
_MANY = 40
"""How often the log is repeated where work must be large enough to be shared among threads."""


def check_model(
    model: ModelConfig | Builder,
    *,
    deep: DeepPart | None = None,
    num_classes: int = 2,
    device: str = "cpu",
    skip: Collection[str] = (),
) -> None:
    """Let a model go through all checks, and say of each that it fails what it found.

    Parameters
    ----------
    model
        A `ModelConfig`, or ``build(layout, num_classes, seed, dtype)`` that returns a `models.click.ClickModel`: a
        subclass, or one whose parts were replaced.
    deep
        ``deep(num_inputs, num_outputs)``: a torch module that takes the place of the deep part of the configuration.
    num_classes
        2 or more.
    device
        Where it is trained: ``cpu``, ``cuda`` or ``torch`` (`training.config.TrainConfig`).
    skip
        Names of checks that do not hold, and need not.

    Raises
    ------
    CheckFailed
        With every check that failed.

    Examples
    --------
    >>> check_model(ModelConfig(kind="lr"))
    >>> class Constant(torch.nn.Module):  # what looks at one example only sees one example
    ...     def __init__(self, num_inputs, num_outputs):
    ...         super().__init__()
    ...     def forward(self, x):
    ...         return x.mean().expand(len(x), 1)
    >>> check_model(ModelConfig(), deep=Constant)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    fieldwise.testing.subject.CheckFailed: ...check_one_example_alone_is_what_it_is_in_a_batch: ...
    """
    known = [check.__name__ for check in CHECKS]
    if unknown := set(skip) - set(known):
        raise ValueError(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    subject = Subject(model, deep=deep, num_classes=num_classes, device=device)
    failures: list[tuple[str, Exception]] = []
    for check in CHECKS:
        if check.__name__ not in skip:
            try:
                check(subject)
            except Exception as error:
                failures.append((check.__name__, error))
    if failures:
        texts = [
            f"{name}: {error}" if isinstance(error, CheckFailed) else f"{name}: {type(error).__name__}: {error}"
            for name, error in failures
        ]
        raise CheckFailed(f"{len(failures)} of {len(CHECKS)} checks failed\n" + "\n".join(texts)) from failures[0][1]


# --- its function ---


def check_one_example_alone_is_what_it_is_in_a_batch(subject: Subject) -> None:
    """In evaluation an example's logits depend on nothing but the example; no example gives no logits."""
    model = subject.woken().model.eval()
    together = _logits(model, subject.examples.batch)
    if together.shape != (NUM_ROWS, model.num_outputs):
        raise CheckFailed("logits of a wrong shape", expected=(NUM_ROWS, model.num_outputs), got=together.shape)
    for number in (0, 9, 57, NUM_ROWS - 1):
        alone = _logits(model, subject.encode(log=make_log(subject.num_classes).slice(number, 1)).batch)
        _close(alone, together[number : number + 1], f"the logits of example {number} depend on what else is asked")
    none = _logits(model, subject.encode(log=make_log(subject.num_classes).slice(0, 0)).batch)
    if none.shape != (0, model.num_outputs):
        raise CheckFailed("a batch of no examples", expected=f"logits (0, {model.num_outputs})", got=none.shape)


def check_the_order_of_fields_is_irrelevant(subject: Subject) -> None:
    """With its fields in another order, and its weights with them, a model is the same function."""
    encoder, there = subject.encoder, subject.reordered()
    names, others = ([field.name for field in e.schema.fields] for e in (encoder, there))
    order = [names.index(name) for name in others]
    model, other = subject.woken().model.eval(), subject.woken(layout=there.layout).model.eval()
    base = encoder.layout.base
    weights = model.table.weights
    other.table.write(0, np.concatenate([weights[base[f] : base[f + 1]] for f in order]))
    other.load_state_dict(_reordered(subject, model, order))
    before, after = _logits(model, subject.examples.batch), _logits(other, subject.encode(there).batch)
    _close(after, before, "the same fields in another order, with their weights, have other logits")


def _reordered(subject: Subject, model: ClickModel, order: list[int]) -> dict[str, Tensor]:
    """Return the dense weights with every axis that belongs to the fields put into another order.

    An axis belongs to the fields where it is twice as long in a model of twice as many fields.
    """
    layout, num_fields = subject.encoder.layout, len(order)
    twice = Layout.of([*layout.form, *layout.form], [*np.diff(layout.base), *np.diff(layout.base)])
    of_twice = subject.build(twice, subject.num_classes, 0, torch.float64).state_dict()
    state = {}
    for name, tensor in model.state_dict().items():
        for axis, length in enumerate(tensor.shape):
            other = of_twice[name].shape[axis] if name in of_twice else None
            if other == length:
                continue
            if other != 2 * length or length % num_fields:
                raise CheckFailed(
                    f"axis {axis} of {name} follows the fields in a way that this check cannot put into another order",
                    expected=f"{2 * length} for twice as many fields",
                    got=other,
                    fix="check it in a test of your own, and skip this one",
                )
            places = torch.arange(length).view(num_fields, -1)[order].flatten()
            tensor = tensor.index_select(axis, places)
        state[name] = tensor
    return state


def check_gradients_are_finite_differences(subject: Subject) -> None:
    """The gradient of the loss in every part of the weights, along random directions, is what the loss does."""
    stepper, examples = subject.woken(), subject.examples
    model, rng = stepper.model.train(), np.random.default_rng(1)
    model.table.records.clear()
    table = torch.from_numpy(np.array(model.table.weights))

    def loss() -> Tensor:
        torch.manual_seed(0)  # dropout silences the same units each time
        return _loss(model, examples)

    with torch.random.fork_rng(devices=[]):
        loss().backward()  # type: ignore[no-untyped-call]
        [record] = model.table.records
        batch, of_outputs = record.batch, [part.cpu().numpy() for part in record.gradients()]
        for name, weight in {"table": table, **dict(model.named_parameters())}.items():
            direction = torch.from_numpy(rng.normal(size=tuple(weight.shape)))
            with torch.no_grad():
                before = weight.clone()
                direction = direction.to(weight.device)
                if weight is table:  # its outputs are linear in its weights: what they do is what the direction gathers
                    model.table.write(0, direction.numpy())
                    outputs = zip(model.table(batch), of_outputs, strict=True)
                    stated = sum(float((out.cpu().numpy() * of).sum()) for out, of in outputs)
                else:
                    stated = 0.0 if weight.grad is None else float((weight.grad * direction).sum())
                found = []
                for moved in (before + 1e-6 * direction, before - 1e-6 * direction, before):
                    if weight is table:
                        model.table.write(0, moved.numpy())
                    else:
                        weight.copy_(moved)
                    found.append(float(loss()))
            difference = (found[0] - found[1]) / 2e-6
            if abs(stated - difference) > 1e-4 * abs(difference) + 1e-6:
                raise CheckFailed(
                    f"the gradient of {name} is not that of the loss",
                    expected=f"{difference:.9g}, by finite differences",
                    got=f"{stated:.9g}",
                )


def check_logits_stay_finite_where_fields_say_nothing(subject: Subject) -> None:
    """Rows whose bags are all empty, whose values are all missing or were never seen, are predicted and learnt from."""
    log = make_log(subject.num_classes)
    texts = ("user", "place", "tags", "words")
    nothing = {
        "empty bags": {name: pa.array([""] * NUM_ROWS) for name in ("tags", "words")},
        "missing values": {name: pa.nulls(NUM_ROWS, log[name].type) for name in log.column_names if name != "label"},
        "values never seen": {name: pa.array(["never:1" if name == "words" else "never"] * NUM_ROWS) for name in texts},
    }
    for what, columns in nothing.items():
        examples = subject.encode(log=pa.table({name: columns.get(name, log[name]) for name in log.column_names}))
        stepper = subject.stepper()
        _learn(stepper, examples, 5, f"a log of {what}")
        if not np.isfinite(_logits(stepper.model.eval(), examples.batch)).all():
            raise CheckFailed(f"the logits of a log of {what} are not finite")


# --- learning ---


def check_it_learns_a_hundred_rows_by_heart(subject: Subject) -> None:
    """With a value of its own in every row, a model comes to say every row's label."""
    stepper, examples = subject.stepper(), subject.examples
    for _ in range(12):
        _learn(stepper, examples, 25, "the log")
        with torch.no_grad():
            loss = float(_loss(stepper.model.eval(), examples))
        stepper.model.train()
        if loss < 0.1:
            return
    start = np.log(subject.num_classes)
    raise CheckFailed(
        f"{NUM_ROWS} rows are not learnt by heart in 300 steps",
        expected=f"a loss below 0.1; {start:.2f} is that of saying the same of every row",
        got=f"{loss:.3g}",
        fix="see whether gradients reach the table, and whether evaluation does what training did",
    )


def check_a_single_class_is_learnt(subject: Subject) -> None:
    """Where all labels are alike, nothing overflows and the model comes to say so."""
    labels = np.zeros(NUM_ROWS, dtype=np.int32)
    examples = subject.examples._replace(labels=labels)
    stepper = subject.stepper()
    first, last = _learn(stepper, examples, 100, "a log of one class")
    if not last < first / 2:
        raise CheckFailed("a log of one class is not learnt", expected=f"a loss below {first / 2:.3g}", got=last)


def check_the_start_is_logistic_regression_where_it_should(subject: Subject) -> None:
    """A member that says so starts with LR's weights in its linear columns, and where it is linear with LR's logits.

    The second holds because the last matrix of a deep part starts at zero.
    """
    outputs = 1 if subject.num_classes == 2 else subject.num_classes
    rng = np.random.default_rng(3)
    lr = Subject(ModelConfig(kind="lr"), num_classes=subject.num_classes).woken().model.eval()
    lr.table.write(0, weights := rng.normal(size=lr.table.weights.shape))
    with torch.no_grad():
        for parameter in lr.parameters():
            parameter.copy_(torch.from_numpy(bias := rng.normal(size=outputs)))
    expected = _logits(lr, subject.examples.batch)
    for name in ("adagrad", "ftrl"):
        stepper = subject.stepper(table=TableOptimizerConfig(name=name))
        model = stepper.model
        warm_start(model, LrWeights(weights, bias))
        for member_name, member in model.trained.items():
            local, _ = model.columns(member_name)
            for unit in range(member.linear_local):
                started = model.table.weights[:, local.start + unit]
                _close(started, weights[:, unit], f"unit {unit} does not start as LR's weights")
        if model.stacker is None and all(member.is_linear for member in model.trained.values()):
            with torch.no_grad():
                model(subject.examples.batch)  # statistics of the log, where it keeps some
            logits = _logits(model.eval(), subject.examples.batch)
            _close(logits, expected, "the logits do not start as LR's", fix="start the deep part's last matrix at zero")


# --- the same again ---


def check_a_seed_says_everything(subject: Subject) -> None:
    """The same seed gives the same weights before and after training; another gives others, where any are drawn."""
    first, again, other = (_trained(subject, seed)[1] for seed in (1, 1, 2))
    _same(again, first, "the same seed gives other weights", fix="draw from torch's global generator alone")
    model = subject.stepper().model
    drawn = model.table.weights.any() or any(parameter.dim() > 1 for parameter in model.parameters())
    if drawn and all(np.array_equal(other[name], first[name]) for name in first if name != "random.torch"):
        raise CheckFailed("another seed gives the same weights", fix="draw from torch's global generator")


def check_the_number_of_threads_changes_no_bit(subject: Subject) -> None:
    """Weights after some steps are the same for 1, 2 and 3 threads, in float32 and float64."""
    log = pa.concat_tables([make_log(subject.num_classes)] * _MANY)
    examples = subject.encode(log=log)
    before = num_threads(), torch.get_num_threads()
    try:
        for dtype in (torch.float32, torch.float64):
            found = []
            for count in (1, 2, 3):
                set_num_threads(count)
                set_torch_threads(count)
                found.append(_trained(subject, 0, dtype, examples=examples)[1])
                _same(found[-1], found[0], f"{count} threads give other weights than one, in {dtype}")
    finally:
        set_num_threads(before[0])
        set_torch_threads(before[1])


def check_what_was_saved_is_what_was_trained(subject: Subject) -> None:
    """A bundle, read again, gives every logit bit for bit; nothing in it is pickled."""
    model = _trained(subject, 0)[0].model.eval()
    expected = _logits(model, subject.examples.batch)
    config = {} if subject.config is None else msgspec.to_builtins(subject.config)
    with tempfile.TemporaryDirectory() as folder, _without_pickle():
        BundleWriter(folder, subject.encoder, config, "float32", {}).save(1, model.table.weights, dense_arrays(model))
        bundle = open_bundle(folder)
        loaded = subject.build(bundle.encoder.layout, subject.num_classes, 99, torch.float32)
        assert isinstance(loaded.table, HostTable)
        loaded.table.serve(bundle.table)
        loaded.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in bundle.dense.items()})
        ways = {"its weights, in a model that was built anew,": loaded}
        if subject.config is not None:
            ways["the bundle"] = load_model(bundle)
        batch = bundle.encoder.transform(make_log(subject.num_classes), labelled=False).batch
        for what, again in ways.items():
            got = _logits(again.eval(), batch)
            if subject.device is not None:  # what was trained there is served by the processor
                _close(got, expected, f"what was saved, {what} gives other logits", tolerance=1e-5)
            elif got.tobytes() != expected.tobytes():
                fix = "keep all that matters in parameters and buffers"
                raise CheckFailed(f"what was saved, {what} gives other logits", fix=fix)


def check_training_goes_on_from_a_checkpoint(subject: Subject) -> None:
    """Six steps give the same bits as three, a checkpoint, and three more in a model that was built anew."""
    _, whole = _trained(subject, 0, num_steps=6)
    _, half = _trained(subject, 0, num_steps=3)
    with tempfile.TemporaryDirectory() as folder, _without_pickle(), torch.random.fork_rng(devices=[]):
        checkpoints = Checkpoints(folder)
        checkpoints.save(3, half.pop("rows"), half, {})
        checkpoint = checkpoints.newest()
        assert checkpoint is not None
        again = subject.stepper(99, torch.float32)
        again.restore(checkpoint.table, checkpoint.dense)
        with again.at_work():
            for _ in range(3):
                again.step(subject.examples, 1.0)
        _same(_arrays(again), whole, "training that went on from a checkpoint ends with other weights")


# --- how it is made ---


def check_two_models_share_nothing(subject: Subject) -> None:
    """Two models have no memory in common, and none of their classes has a default that could be changed."""
    first, second = (subject.build(subject.encoder.layout, subject.num_classes, 0, torch.float32) for _ in range(2))
    for name, tensor in first.state_dict().items():
        if tensor.numel() and tensor.data_ptr() == second.state_dict()[name].data_ptr():
            raise CheckFailed(f"two models share the memory of {name}", fix="make it anew in __init__")
    for module in first.modules():
        for parameter in inspect.signature(type(module)).parameters.values():
            if isinstance(parameter.default, list | dict | set | bytearray | np.ndarray | Tensor | torch.nn.Module):
                raise CheckFailed(
                    f"a default of {type(module).__name__} can be changed by whoever gets it",
                    expected="a number, a text, a tuple, None",
                    got=f"{parameter.name}={parameter.default!r}",
                )


def check_its_state_is_arrays(subject: Subject) -> None:
    """All that a model keeps is in arrays of plain numbers: what a bundle holds, and nothing that is to be pickled."""
    state: dict[str, Any] = subject.build(subject.encoder.layout, subject.num_classes, 0, torch.float32).state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.is_sparse or value.dtype in (torch.bfloat16, torch.complex64):
            raise CheckFailed(
                f"{name} is no array of plain numbers", expected="a dense tensor", got=repr(value)[:80],
                fix="register a buffer in place of extra state",
            )  # fmt: skip


# --- helpers ---


def _logits(model: ClickModel, batch: Batch) -> npt.NDArray[np.floating]:
    with torch.no_grad():
        logits: npt.NDArray[np.floating] = model(batch).cpu().numpy()
    return logits


def _loss(model: ClickModel, examples: Examples) -> Tensor:
    assert examples.labels is not None
    logits = model(examples.batch)
    return logloss(logits, torch.from_numpy(examples.labels).to(logits.device))


def _learn(stepper: Stepper, examples: Examples, num_steps: int, what: str) -> tuple[float, float]:
    """Take some steps on the same examples, and return the first and the last loss."""
    try:
        with stepper.at_work():
            losses = [stepper.step(examples, 1.0) for _ in range(num_steps)]
    except NotFinite as error:
        raise CheckFailed(f"in learning {what}, {error.what} is not finite") from error
    return losses[0], losses[-1]


def _trained(
    subject: Subject,
    seed: int,
    dtype: torch.dtype = torch.float32,
    *,
    num_steps: int = 4,
    examples: Examples | None = None,
) -> tuple[Stepper, dict[str, npt.NDArray[Any]]]:
    """Train as `fieldwise train` does, and return what moved the model, and all that a checkpoint would hold."""
    with torch.random.fork_rng(devices=[]):
        stepper = subject.stepper(seed, dtype)
        torch.manual_seed(seed)
        with stepper.at_work():
            for _ in range(num_steps):
                stepper.step(examples or subject.examples, 1.0)
        return stepper, _arrays(stepper)


def _arrays(stepper: Stepper) -> dict[str, npt.NDArray[Any]]:
    return {**stepper.arrays(), "rows": stepper.table.rows}


def _close(
    got: npt.NDArray[np.floating],
    expected: npt.NDArray[np.floating],
    what: str,
    fix: str | None = None,
    tolerance: float = _TOLERANCE,
) -> None:
    difference = np.abs(got - expected)
    if not (difference <= tolerance * (1 + np.abs(expected))).all():
        place = tuple(int(i) for i in np.unravel_index(np.nanargmax(difference), difference.shape))
        raise CheckFailed(f"{what}, most at {place}", expected=expected[place], got=got[place], fix=fix)


def _same(
    got: dict[str, npt.NDArray[Any]], expected: dict[str, npt.NDArray[Any]], what: str, fix: str | None = None
) -> None:
    differ = [name for name in expected if got[name].tobytes() != expected[name].tobytes()]
    if differ:
        raise CheckFailed(what, expected="the same bits", got=f"others in {', '.join(differ)}", fix=fix)


@contextmanager
def _without_pickle() -> Iterator[None]:
    """Let every attempt to pickle something fail, but for compiled kernels, which are kept so."""

    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if sys._getframe(1).f_globals["__name__"].startswith(("numba.", "fieldwise.kernels.")):
                return function(*arguments, **options)
            raise CheckFailed("something was pickled", fix="keep state in parameters and buffers")

        return call

    with ExitStack() as stack:
        for module, names in ((pickle, ("dump", "dumps", "load", "loads")), (torch, ("save", "load"))):
            for name in names:
                stack.enter_context(patch.object(module, name, refusing(getattr(module, name))))
        yield


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_one_example_alone_is_what_it_is_in_a_batch,
    check_the_order_of_fields_is_irrelevant,
    check_gradients_are_finite_differences,
    check_logits_stay_finite_where_fields_say_nothing,
    check_it_learns_a_hundred_rows_by_heart,
    check_a_single_class_is_learnt,
    check_the_start_is_logistic_regression_where_it_should,
    check_a_seed_says_everything,
    check_the_number_of_threads_changes_no_bit,
    check_what_was_saved_is_what_was_trained,
    check_training_goes_on_from_a_checkpoint,
    check_two_models_share_nothing,
    check_its_state_is_arrays,
)
"""All checks, in the order in which `check_model` runs them."""
