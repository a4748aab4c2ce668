"""Ensembles: the mean of probabilities and the product of scores, saving, names, sizes, errors."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg import unet
from keras_seg.inference import ensemble, predict_probabilities


def network(seed, size=(None, None), channels=3, classes=4, name="net"):
    keras.utils.set_random_seed(seed)
    images = keras.Input((*size, channels))
    x = layers.Rescaling(1 / 64)(images)
    return keras.Model(images, layers.Conv2D(classes, 3, padding="same")(x), name=name)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def images():
    return np.random.default_rng(0).uniform(0, 255, (2, 9, 11, 3)).astype("float32")


def test_mean_of_probabilities():
    parts = [network(0), network(1), network(2, name="third")]
    together = ensemble(parts)
    expected = np.mean([softmax(part.predict(images(), verbose=0).astype("float64")) for part in parts], 0)
    received = softmax(together.predict(images(), verbose=0).astype("float64"))
    np.testing.assert_allclose(received, expected, rtol=0, atol=2e-6)
    # As every semantic network, so that all of inference takes it.
    for image, p in zip(predict_probabilities(together, images()), expected, strict=True):
        np.testing.assert_allclose(image, p, rtol=0, atol=2e-6)


def test_mean_does_not_overflow():
    """Scores of one network far apart: its probabilities are 0 and 1, and their mean is no NaN."""
    from keras_seg.layers import MeanOfProbabilities

    logits = np.array([[0.0, 1000.0]], "float32"), np.array([[1000.0, 0.0]], "float32")
    merged = keras.ops.convert_to_numpy(MeanOfProbabilities()(list(logits)))
    np.testing.assert_allclose(softmax(merged), [[0.5, 0.5]], rtol=1e-6)


def test_product_of_scores():
    parts = [network(0), network(1)]
    scores = [np.maximum(part.predict(images(), verbose=0), 0) for part in parts]
    received = ensemble(parts, merge="product").predict(images(), verbose=0)
    np.testing.assert_allclose(received, scores[0] * scores[1], rtol=1e-5, atol=1e-5)


def test_saves_and_reloads(tmp_path):
    together = ensemble([network(0), network(1)])
    together.save(tmp_path / "both.keras")
    again = keras.saving.load_model(tmp_path / "both.keras")
    np.testing.assert_array_equal(again.predict(images(), verbose=0), together.predict(images(), verbose=0))


def test_one_fixed_size_fixes_the_ensemble():
    together = ensemble([network(0, size=(32, 48)), unet(4, filters=4, depth=2)])
    assert together.input_shape == (None, 32, 48, 3)
    assert together.output_shape == (None, 32, 48, 4)


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        (lambda: [network(0)], ValueError, "`models` must be at least two networks"),
        (lambda: [network(0), "unet"], TypeError, "`models` must be keras.Models"),
        (lambda: [network(0), network(1, channels=1)], ValueError, "networks of the same channels.*3, 1"),
        (lambda: [network(0), network(1, classes=5)], ValueError, "networks of the same classes.*4, 5"),
        (
            lambda: [network(0, size=(32, 32)), network(1, size=(64, 32))],
            ValueError,
            "networks of the same height.*32, 64",
        ),
    ],
)
def test_errors(models, error, message):
    with pytest.raises(error, match=message):
        ensemble(models())
