"""ReLU with zeros around it: the same numbers and gradients in training and out of it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_seg.layers.padded_relu import PaddedReLU
from tests.ops.box_cases import gradient


@pytest.mark.parametrize("training", [False, True])
def test_numbers_and_gradient(training):
    rng = np.random.default_rng(0)
    x, weigh = (
        rng.normal(size=(2, 3, 4, 5)).astype("float32"),
        rng.normal(size=(2, 7, 8, 5)).astype("float32"),
    )
    layer = PaddedReLU(2)
    received = ops.convert_to_numpy(layer(x, training=training))
    np.testing.assert_array_equal(received, np.pad(np.maximum(x, 0), [(0, 0), (2, 2), (2, 2), (0, 0)]))
    slope = gradient(lambda x: ops.sum(layer(x, training=training) * ops.convert_to_tensor(weigh)), x)
    np.testing.assert_array_equal(slope, np.where(x > 0, weigh[:, 2:-2, 2:-2], 0))


def test_shape_dtype_and_config():
    layer = PaddedReLU(1, dtype="mixed_bfloat16")
    assert layer(keras.Input((None, 6, 3))).shape == (None, None, 8, 3)
    assert layer.compute_output_shape((None, None, 6, 3)) == (None, None, 8, 3)
    outputs = PaddedReLU.from_config(layer.get_config())(np.ones((1, 2, 2, 3), "float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16" and outputs.shape == (1, 4, 4, 3)


@pytest.mark.tf_only
def test_errors():
    with pytest.raises(ValueError, match="`pad` must be"):
        PaddedReLU(0)
