"""The classes of `y`, and the texts that they have in a model."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from fieldwise.features.labels import MISSING_LABELS, fold
from fieldwise.features.spelling import spelled

__all__ = ["LabelClasses", "check_labels"]


class LabelClasses(NamedTuple):
    """The different values of `y`, and what they are called in the model.

    Attributes
    ----------
    values
        (C,) sorted; of two, the second is the one that a saved model's probability is of.
    names
        Their texts, or, where two of these would mean one class, their numbers from 0.
    """

    values: npt.NDArray[Any]
    names: tuple[str, ...]

    @classmethod
    def of(cls, y: npt.NDArray[Any], *, multi_class: bool = True) -> LabelClasses:
        """Return the classes of labels.

        Raises
        ------
        ValueError
            There are fewer than two, or more where the model is for two.
        """
        values = np.unique(y)
        if len(values) < 2:
            raise ValueError(f"y has one class only, {values.tolist()[0]!r}: two or more classes are needed")
        if len(values) > 2 and not multi_class:
            raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        names = tuple(spelled(pa.array([str(value) for value in values.tolist()], pa.string())).to_pylist())
        are_known = all(name and name == name.strip() and name not in MISSING_LABELS for name in names)
        if not are_known or len(set(map(fold, names))) < len(names):
            names = tuple(map(str, range(len(values))))
        return cls(values, names)

    def column(self, y: npt.NDArray[Any]) -> pa.Array:
        """Return the names of labels.

        Raises
        ------
        ValueError
            One is none of the classes.
        """
        places = np.minimum(np.searchsorted(self.values, y), len(self.values) - 1)
        strange = np.flatnonzero(self.values[places] != y)
        if len(strange):
            raise ValueError(
                f"y has a class that the model does not know: {y[strange].tolist()[0]!r}, in row {strange[0]}"
            )
        return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array(self.names))


def check_labels(estimator: object, y: Any, num_rows: int) -> npt.NDArray[Any]:
    """Return y as an array (B,) of labels.

    Raises
    ------
    ValueError
        It is no column of B labels, or has missing or continuous ones.
    """
    if y is None:
        name = type(estimator).__name__
        raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
    if isinstance(y, str):
        raise ValueError(
            f"y is the labels of the rows, (B,); the name of a column only where X is the path of files: {y!r}"
        )
    labels: npt.NDArray[Any] = column_or_1d(y if hasattr(y, "shape") else np.asarray(y), warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    if len(labels) != num_rows:
        raise ValueError(f"X and y have inconsistent numbers of rows: {num_rows} and {len(labels)}")
    return labels
