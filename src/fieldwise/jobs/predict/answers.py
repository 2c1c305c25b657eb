"""What is written of each row: probabilities, contributions of the fields, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.bundle import Bundle
from fieldwise.errors import EXTRAS, ConfigError
from fieldwise.kernels.layout import Batch
from fieldwise.serving.explain import Explainer
from fieldwise.serving.network import Network
from fieldwise.serving.predictor import network_of
from fieldwise.serving.spread import Spread

__all__ = ["Answers", "What", "probabilities_of"]

_STD = "logit_std"
What = Literal["probabilities", "contributions", "both"]
Probabilities = npt.NDArray[np.floating[Any]]
Columns = dict[str, Probabilities]


class Answers:
    """The columns of a model's answers.

    Parameters
    ----------
    bundle
        The model.
    what
        Contributions are named as their fields, and ``base``; beside probabilities with ``contribution_`` before that.
    std
        Whether there is ``logit_std``, too (`serving.spread`).

    Attributes
    ----------
    largest_residual
        Of all rows so far (`serving.explain.Explanation.residuals`); None where nothing is explained.

    Raises
    ------
    ArtefactError, ConfigError
        The model cannot be loaded, or not be explained.
    """

    def __init__(self, bundle: Bundle, what: What, std: bool = False) -> None:
        if what not in get_args(What):
            raise ConfigError("unknown kind of answers", where="what", expected=", ".join(get_args(What)), got=what)
        self._schema, self._dtype = bundle.encoder.schema, bundle.dtype
        self._probabilities = None if what == "contributions" else probabilities_of(bundle)
        self._explainer = None
        self.largest_residual: float | None = None
        if what != "probabilities":
            self._explainer = Explainer(bundle, Network(bundle, network_of(bundle)))
            self.largest_residual = 0.0
        self._before = "contribution_" if what == "both" else ""
        self._spread = Spread(bundle, Network(bundle, network_of(bundle))) if std else None

    def no_rows(self, name: str, kind: pa.DataType) -> pa.Table:
        """Return a table without rows, with identifiers of the given name and type."""
        outputs = self._schema.outputs
        probabilities = np.zeros((0, len(outputs)) if outputs else (0,), dtype=self._dtype)
        columns = {} if self._probabilities is None else self._of_probabilities(probabilities)
        if self._spread is not None:
            columns[_STD] = np.zeros(0, np.float32)
        if self._explainer is not None:
            twice = {name, "base", *columns}.intersection(self._explainer.fields) if not self._before else set()
            if twice:
                raise ConfigError(
                    "a field has the name of another column of the output",
                    got=", ".join(sorted(twice)),
                    fix="ask for probabilities as well, and contributions are called contribution_FIELD",
                )
            columns |= self._of_contributions(np.zeros((0, len(self._explainer.fields) + 1)))
        return self._table({name: pa.array([], kind), **columns})

    def table(self, name: str, key: Any, batch: Batch) -> pa.Table:
        """Return identifiers and the answers to encoded rows."""
        columns: Columns = {}
        if self._probabilities is not None:
            columns = self._of_probabilities(self._probabilities(batch))
        if self._spread is not None:
            columns[_STD] = self._spread.logit_std(batch)
        if self._explainer is not None:
            found = self._explainer.explain(batch)
            self.largest_residual = max(self.largest_residual or 0.0, float(np.abs(found.residuals).max(initial=0)))
            columns |= self._of_contributions(found.contributions)
        return self._table({name: key, **columns})

    def _of_probabilities(self, probabilities: npt.NDArray[np.floating[Any]]) -> Columns:
        if probabilities.ndim == 1:
            return {"probability": probabilities}
        return {f"probability_{text}": probabilities[:, number] for number, text in enumerate(self._schema.outputs)}

    def _of_contributions(self, contributions: npt.NDArray[np.float64]) -> Columns:
        assert self._explainer is not None
        names = (*self._explainer.fields, "base")
        return {f"{self._before}{name}": contributions[:, number] for number, name in enumerate(names)}

    def _table(self, columns: dict[str, Any]) -> pa.Table:
        schema = self._schema
        metadata = {"fieldwise.label": schema.label, "fieldwise.classes": msgspec.json.encode(schema.classes)}
        if schema.labels:
            metadata["fieldwise.labels"] = msgspec.json.encode(schema.label_columns)
        if schema.positive_class is not None:
            metadata["fieldwise.positive_class"] = schema.positive_class
        return pa.table(columns).replace_schema_metadata(metadata)


def probabilities_of(bundle: Bundle) -> Callable[[Batch], Probabilities]:
    """Return what gives the probabilities of a batch: torch, on all cores; where it is not installed, the network.

    Raises
    ------
    ArtefactError
        The model cannot be loaded, or has no network.
    """
    try:
        from fieldwise.models.load import load_model
        from fieldwise.training.score import predict_batches
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return Network(bundle, network_of(bundle)).probabilities
    model = load_model(bundle)

    def answer(batch: Batch) -> Probabilities:
        [probabilities] = predict_batches(model, [batch])
        return probabilities

    return answer
