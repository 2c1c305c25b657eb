import numpy as np
import pytest
from tests.reference.linear import activate

from fieldwise.kernels.relu import relu_backward
from fieldwise.kernels.storage import decode_weights


def as_bfloat16(numbers):
    return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (65, 40), (200, 17)])
@pytest.mark.parametrize("turns", [True, False])
def test_a_gradient_is_masked_summed_and_turned_as_the_twin_says(storage, shape, turns):
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(2, *shape))
    pack = as_bfloat16 if storage == "bfloat16" else lambda numbers: numbers.astype(storage)
    y, dz = pack(activate("relu", z)[0]), pack(dy)
    given = decode_weights(dz).astype(float)
    turned = np.full((shape[1], shape[0] + 2) if turns else (0, 0), 9, dz.dtype)
    sums = np.empty(shape[1], np.float64 if storage == "float64" else np.float32)
    relu_backward(dz, y, sums, turned[:, 1:-1] if turns else turned)
    wanted = given * activate("relu", z)[1]
    np.testing.assert_array_equal(decode_weights(dz), wanted)
    np.testing.assert_allclose(sums, wanted.sum(axis=0), rtol=1e-4, atol=1e-4)
    if turns:
        np.testing.assert_array_equal(turned[:, 1:-1], dz.T)
        assert (turned[:, [0, -1]] == 9).all()


def test_what_is_no_number_goes_on():
    dz = np.ones((1, 2), np.float32)
    relu_backward(dz, np.array([[np.nan, 0.0]], np.float32), np.empty(2, np.float32), np.empty((0, 0), np.float32))
    assert dz.tolist() == [[1.0, 0.0]]
