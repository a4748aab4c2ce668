"""Batch normalization's fused kernels beside Keras's layer: values, gradients, moving statistics, options."""

import keras
import numpy as np
import pytest

from keras_seg.layers import BatchNormalization
from keras_seg.ops import portable
from tests.harness import assert_reloads_equal
from tests.ops.box_cases import gradient

SHAPE = (2, 5, 7, 3)


def maps(shape=SHAPE):
    return (3 * np.random.default_rng(0).normal(size=shape) + 2).astype("float32")


def by_loops(x, gamma, beta, epsilon):
    """In float64, channel by channel."""
    x, out = x.astype("float64"), np.empty(x.shape)
    for channel in range(x.shape[-1]):
        values = x[..., channel]
        mean = sum(values.ravel()) / values.size
        variance = sum((values.ravel() - mean) ** 2) / values.size
        out[..., channel] = gamma[channel] * (values - mean) / np.sqrt(variance + epsilon) + beta[channel]
    return out


def pair(**options):
    """Our layer and Keras's, with the same weights."""
    rng, found = np.random.default_rng(1), []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.8, epsilon=1e-3, **options)
        layer.build(SHAPE)
        found.append(layer)
    values = [rng.uniform(0.5, 2, weight.shape).astype("float32") for weight in found[0].weights]
    for layer in found:
        layer.set_weights(values)
    return found


def numpy(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"trainable": False}])
@pytest.mark.parametrize("training", [True, False])
def test_as_keras(options, training):
    """1e-5: a thousand values of about 10 are summed in float32, 24 bits."""
    ours, theirs = pair(**options)
    received, expected = (numpy(layer(maps(), training=training)) for layer in (ours, theirs))
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(numpy(mine), numpy(other), rtol=1e-5, atol=1e-6)


def test_as_the_loops():
    ours, _ = pair()
    gamma, beta = (numpy(weight) for weight in ours.weights[:2])
    received = numpy(ours(maps(), training=True))
    np.testing.assert_allclose(received, by_loops(maps(), gamma, beta, 1e-3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
def test_gradients_as_by_differences(training, trainable):
    ours, _ = pair(trainable=trainable)
    training = training and trainable
    pull = np.random.default_rng(2).normal(size=SHAPE).astype("float32")
    gamma, beta, mean, variance = (numpy(weight).astype("float64") for weight in ours.weights)

    def loss(x):
        if training:
            return (pull * by_loops(x, gamma, beta, 1e-3)).sum()
        return (pull * (gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta)).sum()

    weights = keras.ops.convert_to_tensor(pull)
    received = gradient(lambda x: keras.ops.sum(ours(x, training=training) * weights), maps())
    for place in [(0, 0, 0, 0), (1, 3, 2, 1), (1, 4, 6, 2)]:
        step = np.zeros(SHAPE)
        step[place] = 1e-4
        x = maps().astype("float64")
        np.testing.assert_allclose(received[place], (loss(x + step) - loss(x - step)) / 2e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_sixteen_bits(dtype):
    """Both round the map once, at the end; the statistics are of the same 16-bit map, in float32."""
    ours, theirs = pair(dtype=dtype)
    for layer in (ours, theirs):
        assert keras.backend.standardize_dtype(layer(maps(), training=True).dtype) == dtype[6:]
    bits = 8 if dtype == "mixed_bfloat16" else 11
    received, expected = (numpy(layer(maps(), training=True)) for layer in (ours, theirs))
    np.testing.assert_allclose(received, expected, rtol=2.0**-bits, atol=1e-3)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(numpy(mine), numpy(other), rtol=1e-4, atol=1e-5)


def test_one_value_has_no_variance():
    """2e-5: up to 10 over sqrt(1e-3), 316, is added and taken away in 24 bits."""
    ours, theirs = pair()
    one = maps((1, 1, 1, 3))
    for layer in (ours, theirs):
        np.testing.assert_allclose(numpy(layer(one, training=True))[0, 0, 0], numpy(layer.beta), atol=2e-5)
    np.testing.assert_allclose(numpy(ours.moving_variance), numpy(theirs.moving_variance), rtol=1e-6)


def test_the_switch_and_other_shapes_are_keras_own():
    ours, theirs = pair()
    with portable():
        received, expected = (numpy(layer(maps(), training=True)) for layer in (ours, theirs))
    np.testing.assert_array_equal(received, expected)
    rows = maps((9, 3))
    dense, keras_dense = BatchNormalization(), keras.layers.BatchNormalization()
    np.testing.assert_array_equal(numpy(dense(rows, training=True)), numpy(keras_dense(rows, training=True)))


def test_trains_and_reloads(tmp_path):
    images = keras.Input((8, 8, 2))
    model = keras.Model(images, BatchNormalization()(keras.layers.Conv2D(4, 3)(images)))
    model.compile("sgd", "mse")
    x = maps((4, 8, 8, 2))
    model.fit(x, np.zeros((4, 6, 6, 4), "float32"), verbose=0)
    assert (numpy(model.layers[-1].moving_mean) != 0).any()
    assert_reloads_equal(model, x, tmp_path)
