"""Checks of training: that a model learns, and that the same gives the same again."""

from __future__ import annotations

import tempfile

import msgspec
import numpy as np
import pyarrow as pa
import torch

from fieldwise.bundle import BundleWriter, open_bundle
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.models.config import ModelConfig
from fieldwise.models.load import dense_arrays, load_model
from fieldwise.nn.blocks import set_torch_threads
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.host import HostTable
from fieldwise.testing.comparing import arrays_of, close, learn, logits_of, loss_of, same, trained, without_pickle
from fieldwise.testing.subject import NUM_ROWS, CheckFailed, Subject, make_log
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.initial import LrWeights, warm_start

__all__ = [
    "check_a_seed_says_everything",
    "check_a_single_class_is_learnt",
    "check_it_overfits_a_hundred_rows",
    "check_the_number_of_threads_changes_no_bit",
    "check_the_start_is_logistic_regression_where_it_should",
    "check_training_goes_on_from_a_checkpoint",
    "check_what_was_saved_is_what_was_trained",
]


def check_it_overfits_a_hundred_rows(subject: Subject) -> None:
    """With a value of its own in every row, a model comes to say every row's label."""
    stepper, examples = subject.stepper(), subject.examples
    for _ in range(12):
        learn(stepper, examples, 25, "the log")
        with torch.no_grad():
            loss = float(loss_of(stepper.model.eval(), examples))
        stepper.model.train()
        if loss < 0.1:
            return
    start = np.log(subject.num_classes)
    raise CheckFailed(
        f"{NUM_ROWS} rows are not fitted in 300 steps",
        expected=f"a loss below 0.1; {start:.2f} is that of the same prediction for every row",
        got=f"{loss:.3g}",
        fix="see whether gradients reach the table, and whether evaluation does what training did",
    )


def check_a_single_class_is_learnt(subject: Subject) -> None:
    """Where all labels are alike, nothing overflows and the model comes to say so."""
    labels = np.zeros(NUM_ROWS, dtype=np.int32)
    examples = subject.examples._replace(labels=labels)
    stepper = subject.stepper()
    first, last = learn(stepper, examples, 100, "a log of one class")
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
    expected = logits_of(lr, subject.examples.batch)
    for name in ("adagrad", "ftrl"):
        stepper = subject.stepper(table=TableOptimizerConfig(name=name))
        model = stepper.model
        warm_start(model, LrWeights(weights, bias))
        for member_name, member in model.trained.items():
            local, _ = model.columns(member_name)
            for unit in range(member.linear_local):
                started = model.table.weights[:, local.start + unit]
                close(started, weights[:, unit], f"unit {unit} does not start as LR's weights")
        if model.stacker is None and all(member.is_linear for member in model.trained.values()):
            with torch.no_grad():
                model(subject.examples.batch)  # statistics of the log, where it keeps some
            logits = logits_of(model.eval(), subject.examples.batch)
            close(logits, expected, "the logits do not start as LR's", fix="start the deep part's last matrix at zero")


def check_a_seed_says_everything(subject: Subject) -> None:
    """The same seed gives the same weights before and after training; another gives others, where any are drawn."""
    first, again, other = (trained(subject, seed)[1] for seed in (1, 1, 2))
    same(again, first, "the same seed gives other weights", fix="draw from torch's global generator alone")
    model = subject.stepper().model
    drawn = model.table.weights.any() or any(parameter.dim() > 1 for parameter in model.parameters())
    if drawn and all(np.array_equal(other[name], first[name]) for name in first if name != "random.torch"):
        raise CheckFailed("another seed gives the same weights", fix="draw from torch's global generator")


_MANY = 40
"""How often the log is repeated where work must be large enough to be shared among threads."""


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
                found.append(trained(subject, 0, dtype, examples=examples)[1])
                same(found[-1], found[0], f"{count} threads give other weights than one, in {dtype}")
    finally:
        set_num_threads(before[0])
        set_torch_threads(before[1])


def check_what_was_saved_is_what_was_trained(subject: Subject) -> None:
    """A bundle, read again, gives every logit bit for bit; nothing in it is pickled."""
    model = trained(subject, 0)[0].model.eval()
    expected = logits_of(model, subject.examples.batch)
    config = {} if subject.config is None else msgspec.to_builtins(subject.config)
    with tempfile.TemporaryDirectory() as folder, without_pickle():
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
            got = logits_of(again.eval(), batch)
            if subject.device is not None:  # what was trained there is served by the processor
                close(got, expected, f"what was saved, {what} gives other logits", tolerance=1e-5)
            elif got.tobytes() != expected.tobytes():
                fix = "keep all that matters in parameters and buffers"
                raise CheckFailed(f"what was saved, {what} gives other logits", fix=fix)


def check_training_goes_on_from_a_checkpoint(subject: Subject) -> None:
    """Six steps give the same bits as three, a checkpoint, and three more in a model that was built anew."""
    _, whole = trained(subject, 0, num_steps=6)
    _, half = trained(subject, 0, num_steps=3)
    with tempfile.TemporaryDirectory() as folder, without_pickle(), torch.random.fork_rng(devices=[]):
        checkpoints = Checkpoints(folder)
        checkpoints.save(3, half.pop("rows"), half, {})
        checkpoint = checkpoints.newest()
        assert checkpoint is not None
        again = subject.stepper(99, torch.float32)
        again.restore(checkpoint.table, checkpoint.dense)
        with again.at_work():
            for _ in range(3):
                again.step(subject.examples, 1.0)
        same(arrays_of(again), whole, "training that went on from a checkpoint ends with other weights")
