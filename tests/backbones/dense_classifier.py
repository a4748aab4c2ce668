"""What a classifier that was made fully convolutional promises: a score per window, at the cost of one pass.

Two claims, each exact. On a feature map, the score at (i, j) is the classifier on the window that starts
there. In an image, a unit of the trunk depends on the pixels around it alone: a crop that holds the unit's
receptive field gives the same unit. The classifier on a crop of exactly the window differs from the score
map, as it pads with zeros where the image goes on.
"""

import keras
import numpy as np


def assert_trunk_sees_the_surroundings_only(trunk, side, unit):
    """Unit (unit, unit) of a crop of `side` pixels is the one at its place in a larger image.

    The crop starts 32 pixels down and 64 right, one and two units of the map.
    """
    images = np.random.default_rng(0).normal(size=(1, side + 32, side + 64, 3)).astype("float32")
    whole = trunk.predict(images, verbose=0)
    crop = trunk.predict(images[:, 32:, 64:], verbose=0)
    # Both add the same products; only the order of addition may differ.
    tolerance = 1e-5 * np.abs(whole).max()
    np.testing.assert_allclose(crop[0, unit, unit], whole[0, unit + 1, unit + 2], rtol=0, atol=tolerance)
    # At the crop's corner are zeros where the image goes on.
    assert np.abs(crop[0, 0, 0] - whole[0, 1, 2]).max() > 1000 * tolerance


def dense(model, name, inputs, relu=True):
    """A convolution of our model as a dense layer on flat inputs, in float64."""
    kernel, bias = (array.astype("float64") for array in model.get_layer(name).get_weights())
    outputs = inputs @ kernel.reshape(-1, kernel.shape[-1]) + bias
    return np.maximum(outputs, 0) if relu else outputs


def randomize(model):
    """Random biases and statistics too, so that a forgotten one shows."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))


def head(channels, build):
    """A model of a classifier's last layers alone: a feature map of `channels` to scores."""
    features = keras.Input((None, None, channels))
    model = keras.Model(features, build(features))
    randomize(model)
    return model
