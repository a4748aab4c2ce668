"""PadToMultiple: the mirrored image, at every size, known or not."""

import keras
import numpy as np
import pytest

from keras_seg.layers import PadToMultiple


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("size", [(8, 16), (7, 16), (8, 9), (5, 3), (1, 2)])
def test_is_numpys_symmetric_padding(size, free, dtype):
    images = np.random.default_rng(0).integers(0, 255, (2, *size, 3)).astype(dtype)
    inputs = keras.Input((None, None, 3) if free else (*size, 3), dtype=dtype)
    model = keras.Model(inputs, PadToMultiple(8, dtype="float32")(inputs))
    expected = np.pad(images, ((0, 0), (0, -size[0] % 8), (0, -size[1] % 8), (0, 0)), "symmetric")
    received = model.predict(images, verbose=0)
    assert received.dtype == dtype
    np.testing.assert_array_equal(received, expected)
    assert PadToMultiple(8).compute_output_shape(images.shape) == expected.shape


def test_sizes_that_fit_are_not_touched():
    images = keras.ops.ones((1, 8, 16, 3))
    assert PadToMultiple(8)(images) is images


def test_reloads():
    layer = PadToMultiple(8, name="padded")
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).multiple == 8


@pytest.mark.tf_only
def test_errors():
    with pytest.raises(ValueError, match="`multiple` must be"):
        PadToMultiple(0)
