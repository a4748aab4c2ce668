"""Colour changes against their definitions."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from keras_seg.data.color import change_color

pytestmark = pytest.mark.tf_only

IMAGE = np.random.default_rng(0).uniform(60, 180, (6, 7, 3)).astype("float32")
NONE = {"brightness": None, "contrast": None, "gamma": None, "saturation": None, "hue": None}


def changed(image=IMAGE, **amounts):
    return change_color(tf.constant(image), **(NONE | amounts)).numpy()


def test_by_definition():
    np.testing.assert_array_equal(changed(), IMAGE)
    np.testing.assert_allclose(changed(brightness=0.1), IMAGE + 25.5, rtol=1e-5)
    mean = IMAGE.mean()
    np.testing.assert_allclose(changed(contrast=1.3), mean + 1.3 * (IMAGE - mean), rtol=1e-5)
    np.testing.assert_allclose(changed(gamma=0.7), 255 * (IMAGE / 255) ** 0.7, rtol=1e-5)
    luma = (IMAGE @ np.array([0.299, 0.587, 0.114], "float32"))[..., None]
    # The YIQ axes are rounded to four decimals.
    np.testing.assert_allclose(changed(saturation=1.2), luma + 1.2 * (IMAGE - luma), atol=0.05)
    np.testing.assert_allclose(changed(saturation=0.0), np.repeat(luma, 3, -1), atol=0.05)


def test_values_stay_in_range():
    for amounts in ({"brightness": 0.9}, {"brightness": -0.9}, {"contrast": 9.0}, {"saturation": 9.0}):
        image = changed(**amounts)
        assert image.min() >= 0 and image.max() <= 255


def test_hue_keeps_luma_and_turns():
    image = changed(hue=40.0)
    weights = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(image @ weights, IMAGE @ weights, atol=0.05)
    np.testing.assert_allclose(changed(image, hue=-40.0), IMAGE, atol=0.05)
    red = np.full((1, 1, 3), 100, "float32") + np.array([60, 0, 0], "float32")
    turn = [colorsys.rgb_to_hsv(*changed(red, hue=degrees)[0, 0] / 255)[0] for degrees in (-20.0, 20.0)]
    assert min(turn) < 0.1 and max(turn) > 0.9


def test_grey_has_neither_hue_nor_saturation():
    np.testing.assert_array_equal(changed(IMAGE[..., :1], saturation=2.0, hue=30.0), IMAGE[..., :1])
