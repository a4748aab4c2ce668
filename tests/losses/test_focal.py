"""Focal loss: values against the paper's equation, its limits, and finite gradients."""

import keras
import numpy as np
import pytest

from keras_seg.losses import CrossEntropy, Focal

IGNORED = 255


def make_case(num_classes=3):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, num_classes, (2, 3, 5))
    ids[:, 1] = IGNORED
    return ids, (2 * rng.normal(size=(2, 3, 5, num_classes))).astype("float32")


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_equals_equation_5(gamma):
    ids, logits = make_case()
    alpha = [0.2, 1.0, 3.0]
    total, counted = 0.0, 0
    for pixel in np.ndindex(ids.shape):
        if ids[pixel] != IGNORED:
            exponentials = np.exp(logits[pixel].astype("float64"))
            p = exponentials[ids[pixel]] / exponentials.sum()
            total -= alpha[ids[pixel]] * (1 - p) ** gamma * np.log(p)
            counted += 1
    # 1 - p carries a rounding of 6e-8 from exp, raised to the power 5, in a sum of 20 terms.
    assert float(Focal(gamma, alpha, IGNORED)(ids, logits)) == pytest.approx(total / counted, rel=1e-5)
    assert float(Focal(gamma, alpha, IGNORED, "sum")(ids, logits)) == pytest.approx(total, rel=1e-5)


def test_two_classes_are_the_papers_sigmoid():
    ids, logits = make_case(num_classes=2)
    counted = ids != IGNORED
    p = 1 / (1 + np.exp(-(logits[..., 1] - logits[..., 0]).astype("float64")))
    p_t = np.where(ids == 1, p, 1 - p)
    alpha_t = np.where(ids == 1, 0.25, 0.75)
    expected = -(alpha_t * (1 - p_t) ** 2 * np.log(p_t))[counted].mean()
    assert float(Focal(2.0, (0.75, 0.25), IGNORED)(ids, logits)) == pytest.approx(expected, rel=1e-5)


def test_gamma_zero_is_cross_entropy():
    ids, logits = make_case()
    assert float(Focal(0.0, None, IGNORED)(ids, logits)) == pytest.approx(
        float(CrossEntropy(IGNORED)(ids, logits)), rel=1e-6
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_are_finite_where_the_model_is_sure(gamma):
    inputs = keras.Input((2, 2, 2))
    layer = keras.layers.Conv2D(
        2, 1, use_bias=False, kernel_initializer=lambda shape, dtype: _diagonal(shape)
    )
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.1), Focal(gamma, ignore_class=IGNORED))
    # Right beyond float32, wrong beyond float32, undecided, ignored.
    images = np.array([[[[200, 0], [200, 0]], [[0, 0], [200, 0]]]], "float32")
    model.fit(images, np.array([[[0, 1], [0, IGNORED]]]), verbose=0)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    assert np.isfinite(kernel).all()
    assert not np.array_equal(kernel[0, 0], np.eye(2))


def _diagonal(shape):
    return keras.ops.reshape(keras.ops.eye(2), shape)


def test_config_round_trip():
    loss = Focal(1.5, (0.75, 0.25), 11, "sum", name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is Focal
    assert again.get_config() == loss.get_config()
    assert again.get_config()["alpha"] == [0.75, 0.25]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`gamma` must be a number"):
        Focal(gamma=-1)
    ids, logits = make_case()
    with pytest.raises(ValueError, match="`alpha` must be 3 numbers"):
        Focal(alpha=(0.75, 0.25), ignore_class=IGNORED)(ids, logits)
