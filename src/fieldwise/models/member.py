"""What a model is to the step that trains it, alone or in a stack: a module over its own columns of the table's rows.

A model of your own derives from `Member`. It says how many columns it needs, and makes logits of what the table has
gathered from them; table, optimizers, devices, workers, checkpoints and bundles are not its business::

    class Sum(Member):                                # logistic regression, with one unit per field
        def __init__(self, config, layout, num_outputs, num_bags=0):
            super().__init__()
            self.num_local = 1
            self.bias = nn.Parameter(torch.zeros(num_outputs))

        def forward(self, units, full):
            return (self.bias + units[:, :, 0].sum(dim=1, keepdim=True)).unsqueeze(1)

Letters: B examples, F fields, K units per field, W fully connected units, O outputs (1 for two classes, else one per
class), H heads.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Member"]


class Member(nn.Module):
    """One model; several side by side are a stack (`models.stack`).

    Built as ``member(config, layout, num_outputs, num_bags)``: the ``[model]`` table; the fields, co-occurrence bags
    last, `num_bags` of them; O.

    A parameter or buffer ``bias`` (O,), where there is one, begins at the base rate.

    Attributes
    ----------
    num_local, num_full
        K and W: the columns that it needs of the table's rows, those of single fields and those summed over all.
    num_heads
        H: logits that are trained on a loss each; that of the model is their mean.
    sampled
        Whether its columns are sampled once (`training.gibbs`), and no step reads or moves them.
    reads_bags
        Whether its units are those of co-occurrence bags, too, or of the log's fields alone.
    linear_local, linear_full
        How many of its first columns of each kind begin with logistic regression's weights, one for each output.
    is_linear
        Whether it then begins with logistic regression's logits.
    is_logistic
        Whether it is a bias (1,) and its W = 1 fully connected unit alone, which a table may take in one pass.
    penalty
        (B,), what the last pass in training adds to the loss of each example; None where that is nothing.
    """

    num_local = 0
    num_full = 0
    num_heads = 1
    sampled = False
    reads_bags = True
    linear_local = 0
    linear_full = 0
    is_linear = False
    is_logistic = False
    penalty: Tensor | None = None

    def forward(self, units: Tensor, full: Tensor) -> Tensor:
        """Return logits (B, H, O).

        Parameters
        ----------
        units
            (B, F, K): for each field the sum of its features' rows, times their inputs.
        full
            (B, W): sums over all fields.
        """
        raise NotImplementedError
