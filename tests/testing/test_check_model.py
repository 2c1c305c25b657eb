"""Every kind and option of model goes through the suite; and the suite sees what it is there to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fieldwise.kernels.cooccurrence import Cooccurrence, collect
from fieldwise.models.click import ClickModel, build_model
from fieldwise.models.config import KINDS as ALL_KINDS
from fieldwise.models.config import ModelConfig
from fieldwise.testing import CHECKS, CheckFailed, Subject, check_model

KINDS = [kind for kind in ALL_KINDS if kind != "bayesian-fm"]  # those that steps train

OPTIONS = {
    "plain": {},
    "one unit": {"units": 1},
    "dropout": {"dropout": 0.3},
    "not standardised": {"standardise": False},
    "no skip": {"skip": False},
    "one hidden layer": {"hidden": (8,)},
    **{name: {"activation": name} for name in ("gelu", "silu", "tanh", "sigmoid")},
}


def alone(kind: str, **options):
    """Return a small model without interactions, which have cases of their own."""
    return ModelConfig(kind=kind, **{"units": 3, "hidden": (12, 8), "fm_interactions": False, **options})


SUBJECTS = {kind: (alone(kind), 2) for kind in KINDS}
SUBJECTS |= {f"{kind}, three classes": (alone(kind), 3) for kind in KINDS}
SUBJECTS |= {kind: (alone(kind), 2) for kind in ("lr+lc-dnn", "lc-wide-deep+bayesian-fm")}
OPTION_CASES = {
    f"{kind}, {name}": (alone(kind, **{"units": 2, **options}), 2)
    for name, options in OPTIONS.items()
    for kind in KINDS
    if name != "plain" and kind.startswith("lc-")
}
SUBJECTS |= OPTION_CASES

# Pairs begin as products of what was drawn, so logits are not LR's; and where the deep part reads units that it does
# not move, or a penalty holds them back, what is trained is more than one loss.
PAIRS = {
    "pairs": (
        {},
        (
            "check_the_start_is_logistic_regression_where_it_should",
            "check_gradients_are_finite_differences",
            "check_it_overfits_a_hundred_rows",
        ),
    ),
    "pairs, no deep part": (
        {"fm_interactions": True, "deep": "none", "unit_l2": 0.0},
        ("check_the_start_is_logistic_regression_where_it_should",),
    ),
}


# torch's own matrix products depend on the number of threads in their last bits; those of `nn.linear.Linear` do not.
THREADS = ("check_the_number_of_threads_changes_no_bit",)


def marked(name: str, kind: str):
    """Return a case; what an option does to one kind it nearly always does to the others, which are long."""
    return pytest.param(name, marks=[] if kind == "lc-dnn" or name not in OPTION_CASES else pytest.mark.long)


@pytest.mark.parametrize("name", [marked(name, config.kind) for name, (config, _) in SUBJECTS.items()])
def test_every_kind_and_option_of_model_does_what_every_model_must(name):
    config, num_classes = SUBJECTS[name]
    check_model(config, num_classes=num_classes)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in ("lc-dnn", "lc-wide-deep", "lc-resnet") for name in PAIRS
     if (kind, name) != ("lc-resnet", "pairs, no deep part")],
)  # fmt: skip
def test_pairs_of_fields_do_what_every_model_must(kind, name):
    options, skip = PAIRS[name]
    check_model(ModelConfig(kind=kind, units=3, hidden=(12, 8), **options), skip=skip)


def with_bags(layout, num_classes, seed, dtype):
    rng = np.random.default_rng(0)
    sizes = np.diff(layout.base)[:2].tolist()
    met = [rng.integers(0, size, 150).astype(np.uint32) for size in sizes]
    bags = [Cooccurrence(a, b, *collect([(met[a], met[b])], sizes[a], 50)) for a, b in ((0, 1), (1, 0))]
    config = ModelConfig(units=3, hidden=(12, 8), fm_interactions=True, deep="none", unit_l2=0.0)
    return build_model(config, layout, num_classes, seed, dtype, bags)


def test_co_occurrence_bags_do_what_every_model_must():
    # They have no weights in logistic regression, and fields by number, which are others in another order.
    skip = ("check_the_start_is_logistic_regression_where_it_should", "check_the_order_of_fields_is_irrelevant")
    check_model(with_bags, skip=skip)


class Attention(nn.Module):
    """A deep part of somebody's own: no order of units is built into it but through its weights."""

    def __init__(self, num_inputs, num_outputs):
        super().__init__()
        self.gate = nn.Linear(num_inputs, num_inputs)
        self.output = nn.Linear(num_inputs, num_outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x):
        return self.output(x * torch.sigmoid(self.gate(x)))


@pytest.mark.parametrize("kind", ["dnn", "lc-dnn", "lc-wide-deep", "lc-resnet"])
def test_a_deep_part_of_one_s_own_passes(kind):
    check_model(ModelConfig(kind=kind, units=2, hidden=(9,)), deep=Attention, skip=THREADS)


class Doubled(ClickModel):
    def forward(self, batch):
        return 2 * super().forward(batch) - self.members["lc-dnn"].bias


def build_doubled(layout, num_classes, seed, dtype):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Doubled(
            ModelConfig(kind="lc-dnn", units=2, hidden=(8,), skip=False, fm_interactions=False), layout, 1, dtype
        )


def test_a_model_of_one_s_own_passes():
    check_model(build_doubled)


# --- what the suite is there to see ---

_SHARED = nn.Parameter(torch.zeros(1))


class LooksAtTheBatch(Attention):
    def forward(self, x):
        return super().forward(x - x.mean(dim=0))


class FirstIsSpecial(Attention):
    def forward(self, x):
        return super().forward(x) + x[:, :1]


class WrongGradient(Attention):
    def forward(self, x):
        return super().forward(x) + x[:, :1].detach()


class Logarithm(Attention):
    def forward(self, x):
        return super().forward(x) + torch.log(x.std(dim=0)).sum()


class StartsAnywhere(Attention):
    def __init__(self, num_inputs, num_outputs):
        super().__init__(num_inputs, num_outputs)
        nn.init.ones_(self.output.weight)


class OwnRandomness(Attention):
    generator = torch.Generator()

    def __init__(self, num_inputs, num_outputs):
        super().__init__(num_inputs, num_outputs)
        with torch.no_grad():
            self.gate.bias.uniform_(generator=self.generator)


class KeepsAList(Attention):
    def __init__(self, num_inputs, num_outputs):
        super().__init__(num_inputs, num_outputs)
        self.seen = 0.0

    def forward(self, x):
        if self.training:
            self.seen = 0.9 * self.seen + 0.1
        return super().forward(x) * (1 + self.seen)


class MutableDefault(Attention):
    def __init__(self, num_inputs, num_outputs, widths=[1]):  # noqa: B006
        super().__init__(num_inputs, num_outputs)


class SharedWeights(Attention):
    def __init__(self, num_inputs, num_outputs):
        super().__init__(num_inputs, num_outputs)
        self.output.bias = _SHARED


class Pickled(Attention):
    def get_extra_state(self):
        return {"anything": object}

    def set_extra_state(self, state):
        pass


WRONG = [
    ("check_one_example_alone_is_what_it_is_in_a_batch", LooksAtTheBatch),
    ("check_the_order_of_fields_is_irrelevant", FirstIsSpecial),
    ("check_gradients_are_finite_differences", WrongGradient),
    ("check_logits_stay_finite_where_fields_say_nothing", Logarithm),
    ("check_the_start_is_logistic_regression_where_it_should", StartsAnywhere),
    ("check_a_seed_says_everything", OwnRandomness),
    ("check_what_was_saved_is_what_was_trained", KeepsAList),
    ("check_training_goes_on_from_a_checkpoint", KeepsAList),
    ("check_two_models_share_nothing", MutableDefault),
    ("check_two_models_share_nothing", SharedWeights),
    ("check_its_state_is_arrays", Pickled),
]


@pytest.mark.parametrize(("name", "deep"), WRONG)
def test_a_deep_part_that_is_wrong_fails_the_check_that_is_there_for_it(name, deep):
    [check] = [check for check in CHECKS if check.__name__ == name]
    with pytest.raises(CheckFailed):
        check(Subject(ModelConfig(kind="lc-dnn", units=2, standardise=False), deep=deep))


@pytest.mark.parametrize("name", ["check_it_overfits_a_hundred_rows", "check_a_single_class_is_learnt"])
def test_a_model_that_does_not_learn_fails(name, monkeypatch):
    monkeypatch.setattr("fieldwise.training.step.Stepper.step", lambda *_: 0.7)
    [check] = [check for check in CHECKS if check.__name__ == name]
    with pytest.raises(CheckFailed, match=r"learnt|fitted"):
        check(Subject(ModelConfig()))


def test_weights_that_depend_on_the_threads_fail(monkeypatch):
    def build(layout, num_classes, seed, dtype):
        return build_model(ModelConfig(), layout, num_classes, seed + torch.get_num_threads(), dtype)

    [check] = [check for check in CHECKS if "threads" in check.__name__]
    with pytest.raises(CheckFailed, match=r"2 threads give other weights than one, in torch\.float32"):
        check(Subject(build))


def test_all_failures_are_said_each_with_its_check_and_a_check_can_be_left_out():
    config = ModelConfig(units=2)
    with pytest.raises(CheckFailed, match=r"^[2-9] of \d+ checks failed\ncheck_") as caught:
        check_model(config, deep=KeepsAList, skip=THREADS)
    failed = [line.split(":")[0] for line in str(caught.value).splitlines() if line.startswith("check_")]
    assert {"check_what_was_saved_is_what_was_trained", "check_training_goes_on_from_a_checkpoint"} <= set(failed)
    check_model(config, deep=KeepsAList, skip=[*failed, *THREADS])
    with pytest.raises(ValueError, match="no such check: check_nothing"):
        check_model(config, skip=["check_nothing"])


def test_a_model_without_a_deep_part_has_none_to_replace():
    with pytest.raises(ValueError, match="lr has no deep part"):
        Subject(ModelConfig(kind="lr"), deep=Attention).stepper()
