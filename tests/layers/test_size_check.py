import keras
import numpy as np
import pytest

from keras_seg.layers import SizeCheck
from keras_seg.layers.size_check import nearest_sizes
from tests.harness import assert_reloads_equal, pixels


@pytest.mark.parametrize(
    ("multiple", "remainder", "minimum"), [(16, 124, 188), (32, 0, 32), (1, 0, 1), (4, 3, 7)]
)
def test_nearest_sizes_against_a_list(multiple, remainder, minimum):
    allowed = [n for n in range(minimum, 900) if (n - remainder) % multiple == 0]
    for size in range(1, 600):
        below = max((n for n in allowed if n <= size), default=None)
        above = min(n for n in allowed if n >= size)
        assert nearest_sizes(size, multiple, remainder, minimum) == (below, above)


def test_names_the_nearest_sizes():
    layer = SizeCheck(16, 12, 188, advice="Pad.")
    with pytest.raises(
        ValueError, match=r"height 512 .* 16m \+ 12 of at least 188. Nearest: 508 and 524. Pad."
    ):
        layer(np.zeros((1, 512, 188, 1)))
    with pytest.raises(ValueError, match=r"width 20 .* Nearest: 188."):
        layer(keras.Input((188, 20, 1)))


def test_passes_good_and_unknown_sizes_on(tmp_path):
    images = keras.Input((None, 8, 3))
    model = keras.Model(images, SizeCheck(4)(images))
    assert_reloads_equal(model, pixels(2, 12, 8, 3), tmp_path)
