"""One channel of a convolution: the whole convolution's numbers and gradients, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.ops import convert_to_numpy as numbers

from keras_seg.layers.channel_of_conv import ChannelOfConv2D
from tests.ops.box_cases import gradient

CHANNELS = np.array([3, 0, 4, 3, 1], "int32")


def convolution(policy="float32"):
    conv = layers.Conv2D(5, 1, dtype=policy, bias_initializer="random_normal")
    conv.build((None, 3, 4, 6))
    return conv


def maps(dtype="float32"):
    return ops.cast(np.random.default_rng(0).normal(size=(5, 3, 4, 6)).astype("float32"), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_is_the_channel_of_the_whole(dtype):
    """Also of 16-bit maps in a float32 layer, as in the mask head."""
    conv = convolution()
    received = ChannelOfConv2D(conv)(maps(dtype), CHANNELS)
    assert received.shape == (5, 3, 4) and keras.backend.standardize_dtype(received.dtype) == "float32"
    whole = numbers(conv(maps(dtype)))
    expected = np.stack([whole[row, ..., channel] for row, channel in enumerate(CHANNELS)])
    # Sums of six products in another order.
    np.testing.assert_allclose(numbers(received), expected, rtol=0, atol=1e-5)


def test_gradients_are_those_of_the_whole():
    conv, x = convolution(), numbers(maps())
    one, chosen = ChannelOfConv2D(conv), ops.one_hot(CHANNELS, 5)[:, None, None]
    weigh = ops.convert_to_tensor(np.random.default_rng(1).normal(size=(5, 3, 4)).astype("float32"))
    received = gradient(lambda x: ops.sum(one(x, CHANNELS) * weigh), x)
    expected = gradient(lambda x: ops.sum(ops.sum(conv(x) * chosen, axis=-1) * weigh), x)
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


def test_a_step_moves_the_weights_as_the_whole_would():
    x, truth = numbers(maps()), np.zeros((5, 3, 4), "float32")
    moved = []
    for whole in (True, False):
        keras.utils.set_random_seed(0)
        conv = convolution()
        images, channels = keras.Input((3, 4, 6)), keras.Input((), dtype="int32")
        if whole:
            chosen = layers.CategoryEncoding(5, output_mode="one_hot")(channels)
            output = ops.sum(conv(images) * chosen[:, None, None], axis=-1)
        else:
            output = ChannelOfConv2D(conv)(images, channels)
        model = keras.Model([images, channels], output)
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch([x, CHANNELS], truth)
        moved.append([numbers(weight) for weight in conv.weights])
    for expected, received in zip(*moved, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(moved[0][1]).max() > 1e-2


def test_any_number_of_maps_in_a_graph():
    conv = convolution()
    images, channels = keras.Input((3, 4, 6)), keras.Input((), dtype="int32")
    model = keras.Model([images, channels], ChannelOfConv2D(conv)(images, channels))
    x = numbers(maps())
    for count in (5, 2):
        received = model.predict([x[:count], CHANNELS[:count]], verbose=0)
        expected = numbers(ChannelOfConv2D(conv)(x[:count], CHANNELS[:count]))
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-6)


@pytest.mark.tf_only
@pytest.mark.parametrize(
    "options", [{"kernel_size": 3}, {"kernel_size": 1, "use_bias": False}, {"kernel_size": 1, "strides": 2}]
)
def test_other_convolutions_are_not_served(options):
    assert ChannelOfConv2D.serves(convolution())
    assert not ChannelOfConv2D.serves(layers.Conv2D(2, **options))
    assert not ChannelOfConv2D.serves(layers.Conv2D(2, 1, activation="relu"))
    assert not ChannelOfConv2D.serves(layers.Dense(2))
