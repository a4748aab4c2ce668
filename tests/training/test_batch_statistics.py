"""Batch statistics measured anew: the values' own mean and variance, frozen layers, errors."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.training import reestimate_batch_norm


def network():
    images = keras.Input((None, None, 3))
    inner = keras.Input((None, None, 4))
    x = layers.Conv2D(4, 3, name="conv")(images)
    nested = keras.Model(inner, layers.BatchNormalization(name="inner_bn")(inner))
    x = layers.ReLU()(nested(x))
    return keras.Model(images, layers.BatchNormalization(name="outer_bn")(x))


def batches(count=5):
    rng = np.random.default_rng(0)
    return [rng.normal(2 + i, 1, (4, 8, 8, 3)).astype("float32") for i in range(count)]


def test_is_the_mean_and_variance_of_all_values():
    model, data = network(), batches()
    assert reestimate_batch_norm(model, data, steps=100) == 5
    kernel, bias = (w.astype("float64") for w in model.get_layer("conv").get_weights())
    values = np.stack(
        [
            sum(
                image[:, y : y + 6, x : x + 6].astype("float64") @ kernel[y, x]
                for y in range(3)
                for x in range(3)
            )
            + bias
            for image in data
        ]
    )
    inner = model.layers[2].get_layer("inner_bn")
    _, _, mean, variance = inner.get_weights()
    np.testing.assert_allclose(mean, values.mean((0, 1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(variance, values.var((0, 1, 2, 3)), rtol=1e-4)
    # The later layer's input is what training sees: each batch normalized by itself.
    own = values.mean((1, 2, 3), keepdims=True), values.var((1, 2, 3), keepdims=True)
    later = np.maximum((values - own[0]) / np.sqrt(own[1] + inner.epsilon), 0)
    _, _, mean, variance = model.get_layer("outer_bn").get_weights()
    np.testing.assert_allclose(mean, later.mean((0, 1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(variance, later.var((0, 1, 2, 3)), rtol=1e-4)


def test_stops_after_the_steps_and_leaves_the_momentum():
    model = network()
    endless = ((image, None) for image in batches(100))
    assert reestimate_batch_norm(model, endless, steps=2) == 2
    assert model.get_layer("outer_bn").momentum == 0.99


def test_frozen_layers_keep_theirs():
    model = network()
    model.get_layer("outer_bn").trainable = False
    reestimate_batch_norm(model, batches())
    np.testing.assert_array_equal(model.get_layer("outer_bn").get_weights()[2], np.zeros(4))


def test_a_failure_changes_nothing():
    model = network()
    bad = [batches()[0], np.zeros((1, 8, 8, 5), "float32")]
    with pytest.raises(ValueError):  # noqa: PT011, Keras's own message
        reestimate_batch_norm(model, bad)
    np.testing.assert_array_equal(model.get_layer("outer_bn").get_weights()[2], np.zeros(4))
    with pytest.raises(ValueError, match="`batches` must be at least one batch"):
        reestimate_batch_norm(model, [])
