"""Several workers train the model that one process trains, from the same global batches."""

from __future__ import annotations

import numpy as np
import pytest
from tests.distributed import runs
from tests.distributed.worker import train_all

TOLERANCE = {"float64": 1e-11, "float32": 2e-4}
ROUNDED = 2e-2  # of all else, where a weight was rounded to its other neighbour


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    return runs.run_workers(train_all, None)[0]


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("num_workers", "device"),
    [(2, []), pytest.param(3, [], marks=LONG), (2, ["cpu"]), *(pytest.param(n, ["cpu"], marks=LONG) for n in (1, 3))],
    ids=lambda value: "of torch" if value == ["cpu"] else str(value),
)
def test_losses_classes_table_and_dense_weights_are_those_of_one_process(alone, num_workers, device):
    """`device`: with rows where a GPU's would be, and the same code."""
    found = runs.run_workers(train_all, num_workers, *device)[0]
    assert found.keys() == alone.keys()
    for name, expected in alone.items():
        assert np.isfinite(expected).all()
        if "bfloat16" in name:
            np.testing.assert_allclose(found[name], expected, rtol=ROUNDED, atol=1e-3, err_msg=name)
            if name.endswith("/table"):
                # A last bit of a sum that differs may tip the rounding of a weight now and then.
                assert (found[name] == expected).mean() > 0.98, name
        else:
            tolerance = TOLERANCE["float64" if "float64" in name else "float32"]
            np.testing.assert_allclose(found[name], expected, rtol=tolerance, atol=tolerance, err_msg=name)
