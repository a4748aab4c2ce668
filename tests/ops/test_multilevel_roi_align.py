"""RoIAlign on a pyramid: torchvision's answers, the paper's rule for levels, and one level for each box."""

import contextlib

import keras
import numpy as np
import pytest

from keras_seg.ops import multilevel_roi_align, portable, roi_align
from keras_seg.ops.pyramid_levels import assign_pyramid_levels
from tests.ops.roi_cases import channels_last, golden, random_boxes, random_map, value_and_gradient

BACKEND = keras.backend.backend()
FORMS = {"default": contextlib.nullcontext, "portable": portable}


def pyramid_map(levels=(2, 3, 4), images=2, channels=3, side=64):
    return {f"P{k}": random_map(images, side >> k, side >> k, channels, seed=k) for k in levels}


@pytest.mark.parametrize("form", FORMS)
def test_torchvision(form):
    answers, _, _ = golden()
    features = {f"P{k + 2}": channels_last(answers[f"ms_feature_{k}"]) for k in range(4)}
    boxes = answers["ms_boxes"][None]
    with FORMS[form]():
        value = multilevel_roi_align(features, boxes, 7, aligned=False)
    expected = channels_last(answers["ms_out"])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_each_box_is_read_from_its_level(form):
    """The same, by RoIAlign on every level, each box taking the level that the rule names; gradients too."""
    features, boxes = pyramid_map(), random_boxes(30, 64, 64, images=2)
    boxes *= 8  # all levels occur
    upstream = random_map(2, 30, 2, 2, 3, seed=9)
    levels = keras.ops.convert_to_numpy(assign_pyramid_levels(boxes, 2, 4))
    assert set(np.unique(levels)) == {2, 3, 4}
    for name, level_map in features.items():
        others = {other: features[other] for other in features if other != name}

        def read(level_map, name=name, others=others):
            return multilevel_roi_align({**others, name: level_map}, boxes, 2)

        with FORMS[form]():
            value, gradient = value_and_gradient(read, level_map, upstream, BACKEND == "jax")
        k = int(name[1:])
        here = (levels == k)[..., None, None, None]
        expected, expected_gradient = value_and_gradient(
            lambda level_map, k=k: roi_align(level_map, boxes, 2, 2.0**-k),
            level_map,
            upstream * here,
            BACKEND == "jax",
        )
        # The same sums, in another order for the gradients of some tens of boxes.
        np.testing.assert_allclose(value * here, expected * here, rtol=0, atol=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-5)


def test_level_rule():
    """Lin et al. 2017, equation 1, in float64, but for the sides at which a level begins."""
    sides = np.array([1, 20, 111, 112, 113, 223, 224, 225, 447, 448, 449, 2000], "float64")
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=-1).astype("float32")
    received = keras.ops.convert_to_numpy(assign_pyramid_levels(boxes))
    expected = np.clip(np.floor(4 + np.log2(sides / 224)), 2, 5)
    np.testing.assert_array_equal(received, expected)
    flat = np.array([[0, 0, 448, 112], [5, 5, 5, 9], [9, 9, 5, 5], [np.nan, 0, 1, 1]], "float32")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(assign_pyramid_levels(flat))[:2], [4, 2])
    assert set(keras.ops.convert_to_numpy(assign_pyramid_levels(flat))[2:]) <= {2}


def test_levels_in_any_order():
    features, boxes = pyramid_map(), 4 * random_boxes(10, 64, 64, images=2)
    turned = dict(reversed(features.items()))
    received, expected = (multilevel_roi_align(maps, boxes, 2) for maps in (turned, features))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(received), keras.ops.convert_to_numpy(expected))


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no XLA here")
def test_compiled_by_xla():
    features, boxes = pyramid_map(), 4 * random_boxes(10, 64, 64, images=2)
    upstream = random_map(2, 10, 2, 2, 3, seed=9)
    others = {name: features[name] for name in ("P3", "P4")}

    def read(level_map):
        return multilevel_roi_align({"P2": level_map, **others}, boxes, 2)

    compiled, plain = (value_and_gradient(read, features["P2"], upstream, jit) for jit in (True, False))
    for received, expected in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (np.zeros((1, 8, 8, 3), "float32"), TypeError, "`features` must be a dict of consecutive levels"),
        ({}, ValueError, "`features` must be a dict of consecutive levels"),
        ({"fine": np.zeros((1, 8, 8, 3), "float32")}, ValueError, 'pixels of "P3" are'),
        ({f"P{k}": np.zeros((1, 8, 8, 3), "float32") for k in (2, 4)}, ValueError, "consecutive levels"),
        (
            {"P2": np.zeros((1, 8, 8, 3), "float32"), "P3": np.zeros((1, 8, 8, 4), "float32")},
            ValueError,
            r"`P3.shape` must be \(N, H, W, 3\)",
        ),
        (
            {"P2": np.zeros((2, 8, 8, 3), "float32"), "P3": np.zeros((2, 4, 4, 3), "float32")},
            ValueError,
            r"`boxes.shape` must be \(2, K, 4\)",
        ),
    ],
)
def test_errors(features, error, message):
    with pytest.raises(error, match=message):
        multilevel_roi_align(features, np.zeros((1, 5, 4), "float32"), 2)
