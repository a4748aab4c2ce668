"""torchvision's answers in shared/golden, and its weights put into our layers by a map of names."""

import importlib.util
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

GOLDEN = Path(os.environ.get("KERAS_SEG_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
# A sum of n float32 products is off by about sqrt(n) 2^-24 of its size: 4e-6 for the 4608 of a 3x3 kernel,
# 1e-5 for the 25088 of VGG16's fc6. The errors of up to 54 layers add as random numbers do: 4e-5 in all.
TOLERANCE = 5e-5


def slow_on_jax(test):
    """For the largest networks: JAX compiles the initializer of every shape of kernel."""
    return pytest.mark.slow(test) if keras.backend.backend() == "jax" else test


def golden_logits(name):
    """(images (1, 224, 224, 3) uint8, logits (1, 1000)) of torchvision's network; skips where absent."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden answers at {GOLDEN}; set KERAS_SEG_GOLDEN to the folder that holds them")
    arrays = np.load(GOLDEN / f"{name}.npz")
    return arrays["image"][None], arrays["logits"]


def assign_golden_weights(model, name, path_of):
    """Give every layer the weights that the recipe makes for its torchvision name, `path_of(layer.name)`."""
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    shapes = json.loads((GOLDEN / f"{name}.shapes.json").read_text())

    def tensor(key):
        return recipe.array(key, tuple(shapes[key]))

    for layer in model.layers:
        if not layer.weights:
            continue
        path = path_of(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensor(f"{path}.{part}") for part in parts])
        else:
            height, width, channels, filters = layer.kernel.shape
            # A dense layer's inputs are a map laid out flat, channels first.
            kernel = tensor(f"{path}.weight").reshape(filters, channels, height, width).transpose(2, 3, 1, 0)
            layer.set_weights([kernel] + ([tensor(f"{path}.bias")] if layer.use_bias else []))


def assert_golden(model, name, path_of, preprocessing):
    """The dense classifier with torchvision's weights gives torchvision's logits, in its only window."""
    images, expected = golden_logits(name)
    assign_golden_weights(model, name, path_of)
    matrix, offset = preprocessing(3)
    received = model.predict((images @ matrix.T + offset).astype("float32"), verbose=0)
    np.testing.assert_allclose(received[:, 0, 0], expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
