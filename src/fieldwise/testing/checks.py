"""The checks, each a function of a `Subject` that returns nothing or raises `CheckFailed`.

Where numbers must agree to rounding, all is computed in float64 and compared to 1e-9; where nothing is computed in
another order, every bit must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from fieldwise.models.config import ModelConfig
from fieldwise.testing.function import (
    check_gradients_are_finite_differences,
    check_its_state_is_arrays,
    check_logits_stay_finite_where_fields_say_nothing,
    check_one_example_alone_is_what_it_is_in_a_batch,
    check_the_order_of_fields_is_irrelevant,
    check_two_models_share_nothing,
)
from fieldwise.testing.learning import (
    check_a_seed_says_everything,
    check_a_single_class_is_learnt,
    check_it_overfits_a_hundred_rows,
    check_the_number_of_threads_changes_no_bit,
    check_the_start_is_logistic_regression_where_it_should,
    check_training_goes_on_from_a_checkpoint,
    check_what_was_saved_is_what_was_trained,
)
from fieldwise.testing.subject import Builder, CheckFailed, DeepPart, Subject

__all__ = ["CHECKS", "check_model"]


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
    >>> import torch
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


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_one_example_alone_is_what_it_is_in_a_batch,
    check_the_order_of_fields_is_irrelevant,
    check_gradients_are_finite_differences,
    check_logits_stay_finite_where_fields_say_nothing,
    check_it_overfits_a_hundred_rows,
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
