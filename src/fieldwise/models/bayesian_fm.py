"""A factorisation machine whose weights have a posterior: sampled, or approximated, not fitted.

Letters: B examples, F fields, K factors of a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.member import Member
from fieldwise.nn.fm_interactions import FMInteractions

__all__ = ["BayesianFM"]


class BayesianFM(Member):
    """``bayesian-fm``: the mean of a factorisation machine's posterior, by many draws of it (`training.gibbs`) or,
    for large logs, by a few passes (`training.variational`).

    With (w_f, v_f) the weight and the (K,) factors of field f, the sums of its features' ::

        logit = b + sum over f of w_f + sum over f < g of v_f . v_g

    without the pairs of fields of which one determines the other. How strongly a feature is held back follows from how
    often it occurs and how much its field's features differ, and is set by nobody (Salakhutdinov and Mnih 2008; Rendle
    2012). For two classes. It takes `factors`, and as a model of a run ``train.sampler``.

    No step of training reads or moves its columns of the table: what was sampled knows its training rows, and whatever
    is trained on them learns to rely on it.

    Examples
    --------
    >>> from fieldwise.kernels.layout import SINGLE
    >>> member = BayesianFM(ModelConfig(factors=1), Layout.of([SINGLE] * 2, [3, 3]), 1)
    >>> member(torch.tensor([[[1.0, 3.0], [0.5, 2.0]]]), torch.empty(1, 0)).tolist()  # 1 + .5 + 3 2
    [[[7.5]]]
    """

    sampled = True
    reads_bags = False

    def __init__(self, config: ModelConfig, layout: Layout, num_outputs: int, num_bags: int = 0) -> None:
        super().__init__()
        if num_outputs > 1:
            raise ConfigError("a Bayesian factorisation machine has two classes", where="model.kind", got=config.kind)
        self.num_local = 1 + config.factors
        self.bias: Tensor
        self.register_buffer("bias", torch.zeros(1))
        self.interactions = FMInteractions(layout.num_fields - num_bags)

    def forward(self, units: Tensor, full: Tensor) -> Tensor:
        """See `Member.forward`."""
        interactions: Tensor = self.interactions(units[:, :, 1:])
        return (self.bias + units[:, :, 0].sum(dim=1, keepdim=True) + interactions).unsqueeze(1)
