import numpy as np
import pytest

from fieldwise.kernels.transpose import transpose


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (31, 65), (64, 32), (100, 7), (300, 40)])
def test_a_transposed_copy_is_numpys_whatever_the_strides(shape, dtype):
    source = np.random.default_rng(0).uniform(0, 1000, (shape[0], shape[1] + 5)).astype(dtype)[:, 2:-3]
    out = np.full((shape[1], 2 * shape[0]), 7, dtype=dtype)
    transpose(source, out[:, : shape[0]])
    np.testing.assert_array_equal(out[:, : shape[0]], source.T)
    assert (out[:, shape[0] :] == 7).all()
