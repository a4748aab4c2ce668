"""The leading rows that are worked on, and the padding that is put back behind them."""

import keras
import numpy as np
import pytest

from keras_seg.ops import portable
from keras_seg.ops.rows_in_use import rows_in_use, with_padding


@pytest.mark.parametrize(
    ("counts", "most", "expected"),
    [
        ((0, 0), 20, 1),
        ((3, 1), 20, 8),
        ((8, 2), 20, 8),
        ((1, 9), 20, 16),
        ((17, 0), 20, 20),
        ((20, 20), 20, 20),
    ],
)
def test_the_largest_count_rounded_up(counts, most, expected):
    rows = rows_in_use(keras.ops.convert_to_tensor(counts, "int32"), most)
    if keras.backend.backend() == "jax":
        expected = most
    assert int(rows) == expected
    with portable():
        assert rows_in_use(counts, most) == most


def test_padding_comes_back():
    values = np.arange(12, dtype="float32").reshape(2, 3, 2)
    padded = keras.ops.convert_to_numpy(with_padding(keras.ops.convert_to_tensor(values), 5))
    np.testing.assert_array_equal(padded, np.pad(values, [(0, 0), (0, 2), (0, 0)]))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(with_padding(values, 3)), values)


@pytest.mark.tf_only
def test_shapes_are_known_but_for_the_batch():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 9, 4)), tf.TensorSpec((None,), tf.int32)])
    def halved(values, counts):
        padded = with_padding(values[:, : rows_in_use(counts, 9)] / 2, 9)
        assert padded.shape.as_list() == [None, 9, 4]
        return padded

    values = np.ones((2, 9, 4), "float32")
    np.testing.assert_array_equal(halved(values, [3, 0])[:, :, 0], [[0.5] * 8 + [0]] * 2)
