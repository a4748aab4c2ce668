"""torchvision's weights put into our layers by a map of names, and its answers from them."""

import keras
import numpy as np
import pytest

from tests.weights.golden import require

# A sum of n float32 products is off by about sqrt(n) 2^-24 of its size: 4e-6 for the 4608 of a 3x3 kernel,
# 1e-5 for the 25088 of VGG16's fc6. The errors of up to 54 layers add as random numbers do: 4e-5 in all.
TOLERANCE = 5e-5


def slow_on_jax(test):
    """For the largest networks: JAX compiles the initializer of every shape of kernel."""
    return pytest.mark.slow(test) if keras.backend.backend() == "jax" else test


def assign_golden_weights(model, tensors, path_of):
    """Give every layer the weights of its torchvision name, `path_of(layer.name)`, in a dict of arrays."""
    for layer in model.layers:
        if not layer.weights:
            continue
        path = path_of(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{path}.{part}"] for part in parts])
        else:
            height, width, channels, filters = layer.kernel.shape
            # A dense layer's inputs are a map laid out flat, channels first.
            kernel = tensors[f"{path}.weight"].reshape(filters, channels, height, width).transpose(2, 3, 1, 0)
            layer.set_weights([kernel] + ([tensors[f"{path}.bias"]] if layer.use_bias else []))


def assert_golden(model, name, path_of, preprocessing):
    """The dense classifier with torchvision's weights gives torchvision's logits, in its only window."""
    tensors, answers = require(name)
    images, expected = answers["image"][None], answers["logits"]
    assign_golden_weights(model, tensors, path_of)
    matrix, offset = preprocessing(3)
    received = model.predict((images @ matrix.T + offset).astype("float32"), verbose=0)
    np.testing.assert_allclose(received[:, 0, 0], expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
