"""A model into a bundle's arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from fieldwise.bundle import Bundle
from fieldwise.calibration import Calibration
from fieldwise.errors import ArtefactError
from fieldwise.models.click import ClickModel, build_model
from fieldwise.models.config import ModelConfig
from fieldwise.nn.histories import Histories

__all__ = ["DTYPES", "dense_arrays", "load_dense", "load_model"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}


_BEFORE_PAIRS = {"pairs": "none"}
"""What the models of bundles are that were saved when there were no pairs of fields to speak of."""


def dense_arrays(model: ClickModel) -> dict[str, npt.NDArray[Any]]:
    """Return every dense weight and every statistic of the model, by torch's name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def load_dense(model: ClickModel, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give a model what `dense_arrays` returned; RuntimeError where that was another model."""
    # A copy: a bundle's arrays are a read-only map of the file, torch wants memory of its own.
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


def load_model(bundle: Bundle) -> ClickModel:
    """Return the bundle's model, ready to predict; its table stays memory-mapped.

    Raises
    ------
    ArtefactError
        The weights do not fit the model that the manifest names.
    """
    try:
        config = msgspec.convert(_BEFORE_PAIRS | bundle.model, ModelConfig)
        dtype = DTYPES[bundle.dtype]
        calibration = msgspec.convert(bundle.calibration, Calibration)
    except (msgspec.ValidationError, KeyError) as error:
        raise ArtefactError("the bundle's model is not understood", where=bundle.folder, got=error) from None
    histories = Histories.saved(bundle.dense, "histories.")
    layout, num_classes = bundle.encoder.layout, len(bundle.encoder.schema.classes)
    model = build_model(config, layout, num_classes, dtype=dtype, histories=histories)
    model.calibration = calibration
    try:
        model.table.load(bundle.table, lambda batch: bundle.admit(batch, model.table.layout))
    except ValueError as error:
        raise ArtefactError("the table does not fit the model", where=bundle.folder, got=error) from None
    try:
        load_dense(model, bundle.dense)
    except RuntimeError as error:
        raise ArtefactError("the dense weights do not fit the model", where=bundle.folder, got=error) from None
    return model.eval()
