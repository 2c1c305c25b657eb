"""Checks of a model as a function of an example, and of how it is made."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from fieldwise.kernels.layout import Layout
from fieldwise.models.click import ClickModel
from fieldwise.testing.comparing import close, learn, logits_of, loss_of
from fieldwise.testing.subject import NUM_ROWS, CheckFailed, Subject, make_log

__all__ = [
    "check_gradients_are_finite_differences",
    "check_its_state_is_arrays",
    "check_logits_stay_finite_where_fields_say_nothing",
    "check_one_example_alone_is_what_it_is_in_a_batch",
    "check_the_order_of_fields_is_irrelevant",
    "check_two_models_share_nothing",
]


def check_one_example_alone_is_what_it_is_in_a_batch(subject: Subject) -> None:
    """In evaluation an example's logits depend on nothing but the example; no example gives no logits."""
    model = subject.woken().model.eval()
    together = logits_of(model, subject.examples.batch)
    if together.shape != (NUM_ROWS, model.num_outputs):
        raise CheckFailed("logits of a wrong shape", expected=(NUM_ROWS, model.num_outputs), got=together.shape)
    for number in (0, 9, 57, NUM_ROWS - 1):
        alone = logits_of(model, subject.encode(log=make_log(subject.num_classes).slice(number, 1)).batch)
        close(alone, together[number : number + 1], f"the logits of example {number} depend on the other examples")
    none = logits_of(model, subject.encode(log=make_log(subject.num_classes).slice(0, 0)).batch)
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
    before, after = logits_of(model, subject.examples.batch), logits_of(other, subject.encode(there).batch)
    close(after, before, "the same fields in another order, with their weights, have other logits")


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
        return loss_of(model, examples)

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
        learn(stepper, examples, 5, f"a log of {what}")
        if not np.isfinite(logits_of(stepper.model.eval(), examples.batch)).all():
            raise CheckFailed(f"the logits of a log of {what} are not finite")


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
