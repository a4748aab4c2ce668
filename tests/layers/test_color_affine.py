import keras
import numpy as np
import pytest

from keras_seg.layers import ColorAffine
from tests.harness import assert_reloads_equal, pixels

MATRIX = [[0.0, 0.0, 1.0], [0.0, 2.0, 0.0], [0.5, 0.25, 0.0]]
OFFSET = [-103.9, 0.0, 7.0]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_is_the_matrix_product_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    images = pixels(2, 5, 7, 3)
    received = keras.ops.convert_to_numpy(ColorAffine(MATRIX, OFFSET)(images))
    expected = images.astype("float64") @ np.array(MATRIX).T + OFFSET
    assert received.dtype == np.float32
    # Three products and three sums of numbers below 512: 6 roundings of 2^-24 each.
    np.testing.assert_allclose(received, expected, atol=6 * 512 * 2**-24)


def test_reloads(tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, ColorAffine(MATRIX, OFFSET)(images))
    assert_reloads_equal(model, pixels(2, 5, 7, 3), tmp_path)


def test_a_file_of_weights_brings_its_own_numbers(tmp_path):
    """What a network was trained on is known from its weights alone, however the next one was built."""
    images = keras.Input((None, None, 3))
    trained = keras.Model(images, ColorAffine(MATRIX, OFFSET)(images))
    trained.save_weights(tmp_path / "model.weights.h5")
    other = keras.Model(images, ColorAffine(np.eye(3).tolist(), [0.0] * 3)(images))
    other.load_weights(tmp_path / "model.weights.h5")
    image = pixels(1, 4, 4, 3)
    np.testing.assert_array_equal(other.predict(image, verbose=0), trained.predict(image, verbose=0))
    assert other.trainable_weights == []


def test_errors():
    with pytest.raises(ValueError, match=r"`matrix` must be square"):
        ColorAffine([[1.0, 2.0]], [0.0])
    with pytest.raises(ValueError, match=r"`offset` must be of length 1"):
        ColorAffine([[1.0]], [0.0, 1.0])
    for channels in (2, 4):
        with pytest.raises(ValueError, match=r"`inputs.shape` must be \(N, H, W, 3\)"):
            ColorAffine(MATRIX, OFFSET)(pixels(1, 4, 4, channels))
