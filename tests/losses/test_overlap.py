"""Dice loss: values against V-Net's equation, ignored pixels, weights, the ends of the scale."""

import keras
import numpy as np
import pytest

from keras_seg.losses import Dice

K = 3
IGNORED = 255


def make_case(seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, K, (2, 4, 5))
    ids[rng.random(ids.shape) < 0.3] = IGNORED
    return ids, (2 * rng.normal(size=(*ids.shape, K))).astype("float32"), rng.uniform(0, 3, ids.shape)


def by_loops(ids, logits, smooth, weights=None):
    """One value an image, in float64."""
    losses = []
    for image in range(len(ids)):
        overlaps = []
        for label in range(K):
            shared = squares = 0.0
            if not (ids[image] == label).any():
                continue
            for pixel in np.ndindex(ids.shape[1:]):
                if ids[image][pixel] == IGNORED:
                    continue
                exponentials = np.exp(logits[image][pixel].astype("float64"))
                p, g = exponentials[label] / exponentials.sum(), float(ids[image][pixel] == label)
                w = 1.0 if weights is None else weights[image][pixel]
                shared += w * p * g
                squares += w * (p * p + g * g)
            overlaps.append((2 * shared + smooth) / (squares + smooth))
        losses.append(1 - np.mean(overlaps))
    return np.array(losses)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("with_weights", [False, True])
def test_equals_the_equation(smooth, with_weights):
    ids, logits, weights = make_case()
    weights = weights if with_weights else None
    expected = by_loops(ids, logits, smooth, weights)
    for reduction, value in (("none", expected), ("sum", expected.sum()), ("mean", expected.mean())):
        loss = keras.ops.convert_to_numpy(Dice(IGNORED, smooth, reduction)(ids, logits, weights))
        np.testing.assert_allclose(loss, value, rtol=1e-5)


def test_a_class_that_an_image_lacks_is_left_out_for_that_image():
    ids, logits, _ = make_case(5)
    ids[0][ids[0] == 1] = 2
    expected = by_loops(ids, logits, 1.0)
    loss = keras.ops.convert_to_numpy(Dice(IGNORED, reduction="none")(ids, logits))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_weights_per_image_scale_images():
    ids, logits, _ = make_case(1)
    expected = (by_loops(ids, logits, 1.0) * [0.5, 3.0]).mean()
    assert float(Dice(IGNORED)(ids[..., None], logits, [0.5, 3.0])) == pytest.approx(expected, rel=1e-5)


def test_ends_of_the_scale():
    ids, _, _ = make_case(2)
    truth = np.eye(K)[np.where(ids == IGNORED, 0, ids)]
    sure = (200 * truth).astype("float32")
    assert float(Dice(IGNORED, smooth=0.0)(ids, sure)) == 0.0
    wrong = np.roll(sure, 1, axis=-1)
    assert float(Dice(IGNORED, smooth=0.0)(ids, wrong)) == 1.0


def test_an_image_of_ignored_pixels_counts_nowhere_and_moves_nothing():
    ids, logits, _ = make_case(3)
    ids[0] = IGNORED
    expected = by_loops(ids[1:], logits[1:], 1.0)[0]
    assert float(Dice(IGNORED)(ids, logits)) == pytest.approx(expected, rel=1e-5)

    for smooth in (0.0, 1.0):
        inputs = keras.Input((4, 5, 2))
        layer = keras.layers.Conv2D(K, 1)
        model = keras.Model(inputs, layer(inputs))
        model.compile(keras.optimizers.SGD(1.0), Dice(IGNORED, smooth))
        before = keras.ops.convert_to_numpy(layer.kernel).copy()
        history = model.fit(np.ones((2, 4, 5, 2)), np.full((2, 4, 5), IGNORED), verbose=0)
        assert history.history["loss"] == [0.0]
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.kernel), before)


def test_fit_brings_the_loss_down():
    rng = np.random.default_rng(4)
    images = rng.normal(size=(4, 6, 5, 2)).astype("float32")
    ids = np.argmax(images, axis=-1)
    ids[:, 0] = IGNORED
    inputs = keras.Input((6, 5, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    model.compile(keras.optimizers.Adam(0.1), Dice(IGNORED))
    losses = model.fit(images, ids, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


def test_config_round_trip():
    loss = Dice(11, 0.5, "sum", name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is Dice
    assert again.get_config() == loss.get_config()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`smooth` must be a number"):
        Dice(smooth=-1.0)
    with pytest.raises(ValueError, match="`y_true.shape` must be"):
        Dice()(np.zeros((2, 4, 5, K)), np.zeros((2, 4, 5, K), "float32"))
