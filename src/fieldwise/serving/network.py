"""A bundle's rows and network: from ids to logits, in numpy, numba and ONNX Runtime."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle
from fieldwise.calibration import Calibration, sigmoid
from fieldwise.errors import ArtefactError, UserError
from fieldwise.kernels.cooccurrence import Cooccurrence, Link, augment, join
from fieldwise.kernels.layout import BAG, Batch, Layout
from fieldwise.kernels.storage import decode_weights
from fieldwise.kernels.table import gather_part

__all__ = ["Network"]

Floats = npt.NDArray[np.floating[Any]]


class Network:
    """The rows of a table that a batch needs, and what the network makes of them.

    Attributes
    ----------
    layout
        Of the log's fields, and of co-occurrence bags after them.
    bags
        The co-occurrence bags.
    num_local
        K.

    Parameters
    ----------
    bundle
        With a network.

    Raises
    ------
    ArtefactError
        The bundle's network does not fit its table.
    UserError
        ONNX Runtime is not installed.
    """

    def __init__(self, bundle: Bundle, network: bytes) -> None:
        self._bundle, self._session = bundle, _session(network, bundle)
        layout = bundle.encoder.layout
        self.bags = _bags_of(bundle)
        try:
            self._calibration = msgspec.convert(bundle.calibration, Calibration)
        except msgspec.ValidationError as error:
            raise ArtefactError("the calibration is not understood", where=bundle.folder, got=error) from None
        self._log_layout = layout
        if self.bags:
            sizes = np.diff(layout.base).tolist()
            forms = [*layout.form.tolist(), *[BAG] * len(self.bags)]
            layout = Layout.of(forms, [*sizes, *(sizes[bag.value] for bag in self.bags)])
        self.layout = layout
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        self._inputs = tuple(shapes)
        self._num_full = int(shapes["full"][1]) if "full" in shapes else 0
        self.num_local = int(shapes["units"][2]) if "units" in shapes else 0
        num_fields = int(shapes["units"][1]) if "units" in shapes else layout.num_fields
        fits = bundle.table.shape == (layout.num_features, self.num_local + self._num_full)
        if not fits or num_fields != layout.num_fields:
            raise ArtefactError(
                "the network does not fit the table",
                where=bundle.folder,
                expected=f"{layout.num_features} rows of {self.num_local + self._num_full} numbers",
                got=bundle.table.shape,
            )
        self._dtype: Any = np.float64 if bundle.dtype == "float64" else np.float32
        self._table = bundle.table if bundle.table.dtype == np.uint16 else bundle.table.astype(self._dtype, copy=False)
        self._is_verified = False

    def gathered(self, batch: Batch) -> tuple[Floats, Floats]:
        """Return units (B, F, K) of all fields, bags last, and sums over the log's fields (B, W), of a batch."""
        return self._gathered(batch, self.num_local)

    def by_field(self, batch: Batch) -> Floats:
        """Return all K + W numbers of a row by field, (B, F, K + W): those that are summed over the fields, too."""
        return self._gathered(batch, self._table.shape[1])[0]

    def rows(self, begin: int, end: int) -> npt.NDArray[np.float64]:
        """Return rows of the table, (end - begin, K + W)."""
        self._bundle.verify()
        return decode_weights(self._table[begin:end]).astype(np.float64)

    def _gathered(self, batch: Batch, num_local: int) -> tuple[Floats, Floats]:
        num_rows = batch.num_examples
        links: tuple[Link, ...] = ()
        if self.bags:
            batch, num_rows, links = augment(batch, self._log_layout, self.bags)
        if not self._is_verified:
            self._bundle.admit(batch, self.layout)
            self._is_verified = self._bundle.is_verified
        num_fields = self.layout.num_fields
        local = np.empty((batch.num_examples, num_fields * num_local), dtype=self._dtype)
        num_full = self._table.shape[1] - num_local
        full = np.empty((batch.num_examples, num_full), dtype=self._dtype)
        gather_part(self._table, batch, self.layout, num_local, local, full, 0, batch.num_examples)
        units = local.reshape(batch.num_examples, num_fields, num_local)
        if not links:
            return units, full
        whole, own = (np.stack([getattr(link, name) for link in links]) for name in ("whole", "own"))
        known = np.stack([(link.others > 0) / np.sqrt(np.maximum(link.others, 1)) for link in links])
        leave = known * np.stack([link.has_own for link in links])
        joined = np.empty((num_rows, num_fields, num_local), dtype=self._dtype)
        join(units, whole, own, known.astype(self._dtype), leave.astype(self._dtype), 0, num_rows, joined)
        return joined, full[:num_rows]

    def probabilities(self, batch: Batch) -> Floats:
        """Return the calibrated probabilities of a batch: (B,) of the positive class, or (B, O) for O > 2 classes or O
        labels.
        """
        logits = self.logits(*self.gathered(batch))
        if self._bundle.encoder.schema.labels:
            return sigmoid(logits.astype(np.float64)).astype(logits.dtype)
        plain = logits[:, 0] if logits.shape[1] == 1 else logits
        return self._calibration.probabilities(plain).astype(logits.dtype)

    def logits(self, units: Floats, full: Floats) -> Floats:
        """Return the logits (B, O) of what `gathered` returns."""
        given = {"units": units, "full": full}
        found: Floats = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        return found


def _session(network: bytes, bundle: Bundle) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "ONNX Runtime is not installed", where="Predictor", fix="pip install 'fieldwise[serve]'"
        ) from None
    options = onnxruntime.SessionOptions()
    # A request is answered by one thread: those of a pool would spin while they wait for each other.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has exceptions of its own
        raise ArtefactError(
            "ONNX Runtime cannot take the network", where=bundle.folder, got=str(error).strip().splitlines()[0]
        ) from None


def _bags_of(bundle: Bundle) -> list[Cooccurrence]:
    bags = Cooccurrence.saved(bundle.dense, "cooccurrence.")
    if not all(bag.fits(bundle.encoder.layout) for bag in bags):
        raise ArtefactError("a co-occurrence bag names fields or values that do not exist", where=bundle.folder)
    return bags
