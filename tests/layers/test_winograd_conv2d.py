"""WinogradConv2D gives what Keras's Conv2D gives, for every setting, and trains and reloads as it does."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.layers import WinogradConv2D
from keras_seg.layers.conv2d import Conv2D
from keras_seg.layers.winograd_conv2d import conv2d
from tests.harness import assert_every_weight_moves, assert_reloads_equal, pixels

SETTINGS = [
    {},
    {"padding": "same", "activation": "relu"},
    {"padding": "same", "dilation_rate": 2, "use_bias": False},
    {"padding": "same", "strides": 2},
    {"dilation_rate": (1, 2)},
    {"groups": 2},
]


@pytest.fixture(params=["as it is", "narrow ones too"])
def _threshold(request, monkeypatch):
    """With the products used for few channels too, on TensorFlow, which alone has them."""
    if request.param == "narrow ones too":
        if keras.backend.backend() != "tensorflow":
            pytest.skip("TensorFlow alone has the products")
        from keras_seg.ops.fast import tensorflow

        monkeypatch.setattr(tensorflow, "_LEAST_PRODUCTS", 1)
        monkeypatch.setattr(tensorflow, "_LEAST_POSITIONS", 1)


@pytest.mark.usefixtures("_threshold")
@pytest.mark.parametrize("settings", SETTINGS)
def test_it_gives_what_keras_gives(settings):
    x = np.random.default_rng(0).standard_normal((2, 14, 15, 4)).astype("float32")
    models = [
        keras.Sequential([keras.Input(x.shape[1:]), kind(6, 3, bias_initializer="normal", **settings)])
        for kind in (WinogradConv2D, layers.Conv2D)
    ]
    ours, theirs = models
    theirs.set_weights(ours.get_weights())
    found, expected = (model.predict(x, verbose=0) for model in models)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("_threshold")
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_model_of_them_reloads_and_trains(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    x = images = keras.Input((16, 15, 3))
    for dilation in (1, 2):
        x = WinogradConv2D(4, 3, padding="same", dilation_rate=dilation, activation="relu")(x)
    model = keras.Model(images, WinogradConv2D(2, 3, padding="same", dtype="float32")(x))
    x = pixels(3, 16, 15, 3)
    assert_reloads_equal(model, x, tmp_path)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert_every_weight_moves(model, x / 255, x[..., 0] % 2, loss)


def test_a_convolution_gets_the_class_that_suits_it():
    assert type(conv2d(4, 3)) is WinogradConv2D
    assert type(conv2d(4, 1)) is type(conv2d(4, 3, 2)) is Conv2D
