"""What every layer and every semantic model must do, checked in one place."""

import warnings

import keras
import numpy as np
import pytest


def reload(model, folder):
    """The model after a round trip through a `.keras` file."""
    path = folder / "model.keras"
    model.save(path)
    return keras.saving.load_model(path)


def pixels(*shape, seed=0):
    """Random images, uint8 0..255, of distinct values along every axis."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


def assert_reloads_equal(model, images, folder):
    """The reloaded model gives the same values, not just the same shapes."""
    expected = model.predict(images, verbose=0)
    received = reload(model, folder).predict(images, verbose=0)
    np.testing.assert_array_equal(received, expected)


def assert_one_size_is_any_size(free, fixed, images, num_classes):
    """A network built for one size is the network for any, with its weights."""
    fixed.set_weights(free.get_weights())
    expected = free.predict(images, verbose=0)
    assert expected.shape == (*images.shape[:3], num_classes) == (len(images), *fixed.output_shape[1:])
    received = fixed.predict(images, verbose=0)
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


def assert_every_weight_moves(model, images, masks, loss):
    """One step of plain gradient descent changes every trainable variable, and no number is lost."""
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    model.fit(images, masks, batch_size=len(images), epochs=1, verbose=0, shuffle=False)
    for old, weight in zip(before, model.trainable_weights, strict=True):
        new = np.array(weight)
        assert np.isfinite(new).all(), weight.path
        assert not np.array_equal(old, new), f"{weight.path} did not move"


def import_keras_cv():
    """The package, or skips. It is no longer developed, and warns of its own dependencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras_cv")


def small_keras_cv_resnet():
    """A ResNet of KerasCV with a few weights."""
    return import_keras_cv().models.ResNetBackbone(
        stackwise_filters=[8, 16, 32, 64],
        stackwise_blocks=[1, 1, 1, 1],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,
        input_shape=(None, None, 3),
    )
