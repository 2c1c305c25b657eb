import numpy as np
import pytest
from tests.reference.dropout import is_kept

from fieldwise.kernels.random import draw_mask


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
@pytest.mark.parametrize(("first", "key", "below"), [(0, 0, 1 << 31), (7, 1 << 61, 1 << 29), (2**32 - 5, 12345, 0)])
def test_a_mask_is_that_of_the_twin(dtype, first, key, below):
    out = np.full(50, 7, dtype)
    draw_mask(out, first, key, below, dtype(3))
    assert out.tolist() == [3 if is_kept(first + i, key, below) else 0 for i in range(50)]


def test_places_and_keys_are_independent_and_the_share_is_what_was_asked():
    masks = np.empty((4, 100_000), np.uint16)
    for key, mask in enumerate(masks):
        draw_mask(mask, 0, key, round(0.3 * 2**32), 1)
    assert np.abs(1 - masks.mean(axis=1) - 0.3).max() < 0.01
    shifted = np.corrcoef(np.concatenate((masks[:, 64:], masks[:, 1:-63], masks[:, :-64])))
    # Neighbours, whole lines and other keys: a correlation of 100,000 pairs is .003 off by chance.
    assert np.abs(shifted - np.eye(12)).max() < 0.02
