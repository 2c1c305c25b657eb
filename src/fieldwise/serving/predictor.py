"""A saved model in memory that answers raw rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.bundle import Bundle, copy_bundle, open_bundle, refuse_other
from fieldwise.errors import ArtefactError, ConfigError, UserError
from fieldwise.kernels.layout import Batch
from fieldwise.schema import Field
from fieldwise.serving.columns import Column, columns_of
from fieldwise.serving.encode import RowEncoder
from fieldwise.serving.explain import Explainer, Explanation
from fieldwise.serving.network import Network, refuse_no_number
from fieldwise.serving.ranking import by_column
from fieldwise.serving.spread import Spread

__all__ = ["Predictor", "network_of"]

_HELD = ("_network", "_encoder", "_explainer", "_spread", "bundle")
"""What a predictor holds of a bundle's files."""
_CANDIDATES = "`candidates` are a list of dicts, or a dict of lists"

Probabilities = npt.NDArray[np.floating[Any]]


class Predictor:
    """A saved model in memory that returns the probabilities of raw rows; thread-safe.

    Attributes
    ----------
    bundle
        The opened bundle.
    columns
        The raw columns that its fields read.

    Parameters
    ----------
    run
        A run folder written by ``train``, the folder of a model in a comparison, or a bundle.

    Raises
    ------
    ArtefactError
        There is no bundle, it is damaged, or its network is missing.

    Notes
    -----
    Nothing here needs torch. Rows are encoded by the encoder that prepared the training log, the rows of the table stay
    in the file, which processes share, and the network is run by ONNX Runtime on the thread that asks.

    A pickled Predictor contains the path and the checksum of the bundle, not the weights: to unpickle it, the same
    bundle must exist at the same path.

    The same rows give bitwise identical probabilities in every call and in every process. A row alone and the same row
    among others agree within float32 rounding (about 1e-7), because libraries use different kernels for matrices of
    different sizes.

    Examples
    --------
    >>> import fieldwise as fw
    >>> predictor = fw.Predictor("runs/first")  # doctest: +SKIP
    >>> predictor.predict({"user_id": "u7", "item_id": "i3"})  # doctest: +SKIP
    array([0.0421], dtype=float32)
    """

    def __init__(self, run: str | Path) -> None:
        self.bundle: Bundle = open_bundle(run)
        self.columns: tuple[Column, ...] = columns_of(self.bundle.encoder.schema)
        self._encoder = RowEncoder(self.bundle.encoder)
        self._network = Network(self.bundle, network_of(self.bundle))
        self._explainer: Explainer | None = None
        self._spread: Spread | None = None

    @property
    def version(self) -> str:
        """What identifies the saved model: the checksum of its manifest."""
        return self.bundle.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the label, in the order of the model."""
        return self.bundle.encoder.schema.classes

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the columns of `predict` are of: labels learned together, or more than two classes; empty where it
        returns one probability for each row.
        """
        return self.bundle.encoder.schema.outputs

    @property
    def positive(self) -> str | None:
        """The positive class, whose probability is predicted; None for more than two classes."""
        return self.bundle.encoder.schema.positive_class

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the model, crosses among them, in order."""
        return self.bundle.encoder.schema.fields

    def predict(self, rows: Any) -> Probabilities:
        """Return the probabilities of raw rows: (B,) of the positive class, or (B, O) for O > 2 classes or O labels.

        Parameters
        ----------
        rows
            A dict of columns or of the values of one row, a list of dicts, a pyarrow, pandas or polars table, or a
            numpy structured array (`data.tables`). Columns that no field reads are ignored.

        Raises
        ------
        DataError
            A column is missing, a value cannot be read, or a number is so large that the answer is none; the message
            names the row and the column.
        TypeError
            `rows` has an unsupported type.
        """
        return self.score(self._encoder.encode(rows))

    def predict_with_std(self, rows: Any) -> tuple[Probabilities, npt.NDArray[np.float32]]:
        """Return the probabilities of raw rows, as `predict` does, and the standard deviations of their logits (B,).

        A logit is log(p / (1 - p)) of a probability p. The standard deviation is that of the posterior of the model's
        Bayesian factorisation machine (`serving.spread`): large where a row's values were seen seldom.

        Raises
        ------
        ConfigError
            The model has no Bayesian factorisation machine, or its posterior was not kept.
        DataError, TypeError
            As `predict` does.
        """
        if self._spread is None:
            self._spread = Spread(self.bundle, self._network)
        batch = self._encoder.encode(rows)
        return self.score(batch), self._spread.logit_std(batch)

    def rank(
        self, context: Mapping[str, Any], candidates: Any, top: int | None = None
    ) -> tuple[npt.NDArray[np.int64], Probabilities]:
        """Return the candidates of one context with the highest probabilities, the highest first.

        Parameters
        ----------
        context
            The values that all candidates share, by column.
        candidates
            Their own values: a list of dicts, or a dict of lists, of B candidates. A column that is in both is theirs.
        top
            So many are returned, 1 or more; all unless given.

        Returns
        -------
        The places of the candidates among those given, and their probabilities, (top,) each; of equals the first given
        comes first.

        Raises
        ------
        ConfigError
            The model has more than two classes, or several labels.
        DataError, TypeError
            As `predict` does.
        """
        if self.outputs:
            raise ConfigError("candidates are ranked by one probability", got=f"those of {', '.join(self.outputs)}")
        if top is not None and (isinstance(top, bool) or not isinstance(top, Integral) or top < 1):
            raise ConfigError("`top` is a whole number, 1 or more", got=repr(top))
        encoded = self._encoder.encode_candidates(context, candidates) if isinstance(candidates, list) else None
        if encoded is None:
            num, columns, shared = self._candidates(context, candidates)
            batch = self.encode_columns(columns, shared) if num else self._encoder.encode([])
            encoded = batch, shared
        probabilities = self.score_candidates(*encoded)
        best = np.argsort(-probabilities, kind="stable")[:top]
        return best, probabilities[best]

    def _candidates(self, context: Mapping[str, Any], candidates: Any) -> tuple[int, dict[str, Any], frozenset[str]]:
        """Return how many candidates there are, the cells of all columns, and which columns are the context's."""
        own: dict[str, Any]
        if isinstance(candidates, Mapping):
            if not all(isinstance(values, (list, tuple, np.ndarray, pa.Array)) for values in candidates.values()):
                raise TypeError(_CANDIDATES)
            num, own = len(next(iter(candidates.values()), ())), {**candidates}
            shared = frozenset(context).difference(candidates)
        else:
            if not isinstance(candidates, Sequence) or not all(
                issubclass(kind, Mapping) for kind in set(map(type, candidates))
            ):
                raise TypeError(_CANDIDATES)
            num, names = len(candidates), [column.name for column in self.columns]
            own, shared = by_column(context, candidates, names)
        once = 1 if own else num
        return num, own | {name: [context[name]] * once for name in shared}, shared

    def encode_columns(self, columns: Mapping[str, Any], shared: frozenset[str] = frozenset()) -> Batch:
        """Return the features of B rows that are given by column: lists, numpy arrays or Arrow arrays, of length B.

        Parameters
        ----------
        shared
            Columns with the same cell in all rows, which is encoded once; beside others they may have one cell.

        Raises
        ------
        DataError
            As `predict` does.
        """
        return self._encoder.encode_columns(columns, shared)

    def score(self, batch: Batch) -> Probabilities:
        """Return the probabilities of encoded rows, as `predict` does."""
        probabilities = self._network.probabilities(batch)
        refuse_no_number(probabilities, batch, self.bundle.encoder)
        return probabilities

    def score_candidates(self, batch: Batch, shared: frozenset[str]) -> Probabilities:
        """Return the probabilities of encoded rows with the same cells in `shared` columns, as `predict` does."""
        probabilities = self._network.of_candidates(batch, self._encoder.fields_alike(shared))
        refuse_no_number(probabilities, batch, self.bundle.encoder)
        return probabilities

    def explain(self, rows: Any) -> Explanation:
        """Return what each field adds to the logits of raw rows; see `serving.explain`.

        Raises
        ------
        DataError, TypeError
            As `predict` does.
        ConfigError
            The model has more than two classes, several labels, or a part of somebody else's.
        """
        if self._explainer is None:
            self._explainer = Explainer(self.bundle, self._network)
        return self._explainer.explain(self._encoder.encode(rows))

    def warm(self) -> None:
        """Verify the table, and compile or load what an answer needs."""
        self.bundle.verify()
        missing = {column.name: [None, None] for column in self.columns}
        self.score(self.encode_columns(missing))

    def close(self) -> None:
        """Let go of the files; the predictor answers no more."""
        for name in _HELD:
            self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        """Say that what was let go of is gone."""
        if name in _HELD and "columns" in self.__dict__:
            raise UserError("the predictor is closed", fix="open it again: Predictor(path)")
        raise AttributeError(name)

    def save(self, folder: str | Path) -> None:
        """Copy the bundle, which is everything that a server needs, atomically to a new folder.

        Raises
        ------
        ConfigError
            The folder already exists.
        ArtefactError
            The bundle has been replaced since it was opened, or the copy cannot be written.
        """
        copy_bundle(self.bundle, folder)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the checksum."""
        return _reopen, (os.path.abspath(self.bundle.folder), self.bundle.digest)


def network_of(bundle: Bundle) -> bytes:
    """Return the network of a bundle; one of an earlier version has none, and gets it where torch is installed."""
    if bundle.network is not None:
        return bundle.network
    if bundle.no_network is not None:
        raise ArtefactError(
            "the model cannot answer without torch", where=bundle.folder, got=bundle.no_network,
            fix="`fieldwise predict` and `evaluate` answer with torch",
        )  # fmt: skip
    try:
        convert = import_module("fieldwise.models.network").network_of
    except ImportError:
        raise ArtefactError(
            "the model was saved by a version that wrote no network",
            where=bundle.folder,
            fix="train it again, or install what writes its network: pip install 'fieldwise[train]'",
        ) from None
    network: bytes = convert(bundle)
    return network


def _reopen(folder: str, digest: str) -> Predictor:
    """Return what was pickled."""
    if not Path(folder).is_dir():
        raise ArtefactError(
            "the model of a pickled Predictor was not found",
            where=folder,
            fix="copy the bundle to the same path on this machine, or open it with Predictor(path)",
        )
    predictor = Predictor(folder)
    refuse_other(digest, predictor.bundle.digest, Path(folder))
    return predictor
