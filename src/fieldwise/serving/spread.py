"""How unsure a model is of a row's answer, by the posterior of its Bayesian factorisation machine.

With a_f and s_f the means and variances of the numbers of field f in a row (of its features, times their inputs and the
squares of these), and A_f and S_f their sums over the fields that f meets, the variance of the machine's logit is, all
numbers taken as independent, ::

    var = s_bias + sum over f of s_f0 + sum over f, k of s_fk (A_fk^2 + S_fk / 2)

In a stack the other members have no posterior. They learned from the same rows, so the machine's spread is taken for
all of it: the standard deviation is multiplied by the sum of the members' weights.

Letters: B rows, F fields, K factors, d = K + 1 numbers of a feature.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle
from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import Batch, without_repeats
from fieldwise.kernels.table import gather_part
from fieldwise.serving.network import Network

__all__ = ["Spread"]

_KIND = "bayesian-fm"


class Spread:
    """The standard deviation of a model's logits.

    Parameters
    ----------
    bundle, network
        An opened bundle, and its rows.

    Raises
    ------
    ConfigError
        The model has no Bayesian factorisation machine, or its posterior was not kept.
    """

    def __init__(self, bundle: Bundle, network: Network) -> None:
        if _KIND not in bundle.model["kind"].split("+"):
            raise ConfigError(
                "this model has no posterior, so nothing says how unsure it is",
                where=bundle.folder,
                expected=f"a model with {_KIND}",
                got=bundle.model["kind"],
                fix=f'train one with it: model.kind = "lc-dnn+{_KIND}"',
            )
        posterior = bundle.posterior()
        if posterior is None:
            raise ConfigError(
                "the posterior of this model was not kept: it is of an earlier version, compacted or updated",
                where=bundle.folder,
                fix="ask the run that was trained, or train it again",
            )
        self._variance, bias = posterior["variance"], posterior["bias"]
        self._bias, self._network, self._layout = float(bias[0]), network, bundle.encoder.layout
        mask = bundle.dense[f"members.{_KIND}.interactions.mask"].astype(np.float64)
        self._meets = np.triu(mask, 1) + np.triu(mask, 1).T
        weights = bundle.dense["stacker.weight"][1:] if "stacker.weight" in bundle.dense else np.ones(1)
        self._factor = abs(float(weights.sum()) * network.calibration.slope)

    def logit_std(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Return the standard deviations of the logits (B,) of encoded rows."""
        num_rows, num_fields, d = batch.num_examples, self._layout.num_fields, self._variance.shape[1]
        means = self._network.by_field(batch)[:, :num_fields, :d].astype(np.float64)
        once = without_repeats(batch)
        squared = once._replace(values=once.values**2, bag_weights=once.bag_weights**2)
        local, full = np.empty((num_rows, num_fields * d), np.float32), np.empty((num_rows, 0), np.float32)
        gather_part(self._variance, squared, self._layout, d, local, full, 0, num_rows)
        variances = local.reshape(num_rows, num_fields, d).astype(np.float64)
        var = self._bias + variances[:, :, 0].sum(axis=1)
        met, unsure = (self._met(numbers[:, :, 1:]) for numbers in (means, variances))
        var += (variances[:, :, 1:] * (met**2 + 0.5 * unsure)).sum(axis=(1, 2))
        found: npt.NDArray[np.float32] = (self._factor * np.sqrt(var)).astype(np.float32)
        return found

    def _met(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the sums over the fields that a field meets, (B, F, K) of (B, F, K)."""
        met: npt.NDArray[np.float64] = np.einsum("fg,bgk->bfk", self._meets, numbers)
        return met
