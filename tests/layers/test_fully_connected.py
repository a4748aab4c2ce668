"""Fully connected layers as convolutions give what Keras's convolutions give, for every setting."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.layers import FullyConnectedConv2D, FullyConnectedConv2DTranspose
from tests.harness import assert_every_weight_moves, assert_reloads_equal, pixels

SETTINGS = [
    {"kernel_size": 5},
    {"kernel_size": (4, 3), "padding": "same", "activation": "relu"},
    {"kernel_size": 1, "use_bias": False},
    {"kernel_size": 3, "strides": 2},
]
PAIRS = {
    "conv": (FullyConnectedConv2D, layers.Conv2D),
    "transpose": (FullyConnectedConv2DTranspose, layers.Conv2DTranspose),
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("size", [(5, 5), (8, 6), (20, 18)])
@pytest.mark.parametrize("name", PAIRS)
def test_it_gives_what_keras_gives(name, size, settings):
    ours, theirs = (
        kind(4, data_format="channels_last", bias_initializer="normal", **settings) for kind in PAIRS[name]
    )
    x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    found, expected = (keras.ops.convert_to_numpy(layer(x)) for layer in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert tuple(ours.compute_output_shape(x.shape)) == found.shape
    assert ours(keras.KerasTensor((None, None, None, 3))).shape[-1] == 4


@pytest.mark.parametrize("size", [(5, 5), (None, None)])
def test_a_model_of_them_reloads_and_trains(size, tmp_path):
    images = keras.Input((*size, 3))
    x = FullyConnectedConv2D(8, 5, name="in")(images)
    outputs = FullyConnectedConv2DTranspose(2, 5, name="out")(x)
    model = keras.Model(images, outputs)
    x = pixels(2, 5, 5, 3)
    assert_reloads_equal(model, x, tmp_path)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert_every_weight_moves(model, x / 255, x[..., 0] % 2, loss)


def test_sizes_below_the_kernel_are_refused():
    with pytest.raises(ValueError, match="size"):
        FullyConnectedConv2D(8, 5)(keras.Input((4, 4, 3)))


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    x = np.ones((1, 5, 5, 3), "float32")
    for kind, _ in PAIRS.values():
        assert keras.backend.standardize_dtype(kind(4, 5)(x).dtype) == "bfloat16"
