"""RoIAlign on a pyramid: torchvision's answers, the paper's rule for levels, and one level for each box."""

import keras
import numpy as np
import pytest

from keras_seg.ops import multilevel_roi_align, multilevel_roi_pool, roi_align
from keras_seg.ops.pyramid_levels import assign_pyramid_levels
from tests.ops.box_cases import boxes_about
from tests.ops.roi_cases import (
    channels_last,
    golden,
    many_channels,
    pool_reference,
    random_map,
    value_and_gradient,
)

BACKEND = keras.backend.backend()


def pyramid_map(levels=(2, 3, 4), images=2, channels=3, side=64):
    return {f"P{k}": random_map(images, side >> k, side >> k, channels, seed=k) for k in levels}


def test_torchvision(form):
    answers, _, _ = golden()
    features = {f"P{k + 2}": many_channels(channels_last(answers[f"ms_feature_{k}"])) for k in range(4)}
    boxes = answers["ms_boxes"][None]
    value = multilevel_roi_align(features, boxes, 7, aligned=False)
    expected = many_channels(channels_last(answers["ms_out"]))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value)[0], expected, rtol=0, atol=1e-5)


def test_each_box_is_read_from_its_level(form):
    """The same, by RoIAlign on every level, each box taking the level that the rule names; gradients too."""
    features, boxes = pyramid_map(), boxes_about(30, 64, 64, images=2)
    boxes *= 8  # all levels occur
    upstream = random_map(2, 30, 2, 2, 3, seed=9)
    levels = keras.ops.convert_to_numpy(assign_pyramid_levels(boxes, 2, 4))
    assert set(np.unique(levels)) == {2, 3, 4}
    for name, level_map in features.items():
        others = {other: features[other] for other in features if other != name}

        def read(level_map, name=name, others=others):
            return multilevel_roi_align({**others, name: level_map}, boxes, 2)

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
    turned = [900, 900, 100, 100]  # its sides are -800, their product is that of a large box
    flat = np.array([[0, 0, 448, 112], [5, 5, 5, 9], turned, [np.nan, 0, 1, 1]], "float32")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(assign_pyramid_levels(flat))[:2], [4, 2])
    assert set(keras.ops.convert_to_numpy(assign_pyramid_levels(flat))[2:]) <= {2}


@pytest.mark.parametrize("size", [0, -224, np.nan, np.inf])
def test_the_canonical_size_is_positive(size):
    with pytest.raises(ValueError, match="`canonical_size` must be a positive number"):
        assign_pyramid_levels(np.zeros((1, 4)), canonical_size=size)


def test_roi_pool_reads_the_level_of_each_box(form):
    """Box by box in NumPy: the level by the paper's equation, then the loop over windows of that level."""
    features, boxes = pyramid_map(), 8 * boxes_about(30, 64, 64, images=2)
    value = keras.ops.convert_to_numpy(multilevel_roi_pool(features, boxes, (3, 2)))
    levels = set()
    for image, k in np.ndindex(*boxes.shape[:2]):
        x1, y1, x2, y2 = boxes[image, k].astype("float64")
        level = int(np.clip(np.floor(4 + np.log2(np.sqrt((x2 - x1) * (y2 - y1)) / 224)), 2, 4))
        here = features[f"P{level}"][image : image + 1], boxes[image : image + 1, k : k + 1]
        expected, _ = pool_reference(*here, (3, 2), 2.0**-level)
        np.testing.assert_array_equal(value[image, k], expected[0, 0].astype("float32"))
        levels.add(level)
    assert levels == {2, 3, 4}


def test_levels_in_any_order():
    features, boxes = pyramid_map(), 4 * boxes_about(10, 64, 64, images=2)
    turned = dict(reversed(features.items()))
    received, expected = (multilevel_roi_align(maps, boxes, 2) for maps in (turned, features))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(received), keras.ops.convert_to_numpy(expected))


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no XLA here")
def test_compiled_by_xla():
    features, boxes = pyramid_map(), 4 * boxes_about(10, 64, 64, images=2)
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
            r'`features\["P3"\].shape` must be \(N, H, W, 3\), .*Received: .*=\(1, 8, 8, 4\)',
        ),
        (
            {"P2": np.zeros((1, 8, 8, 3), "float32"), "P3": np.zeros((2, 4, 4, 3), "float32")},
            ValueError,
            r'`features\["P3"\].shape` must be \(1, H, W, C\), as many images as `features\["P2"\]`',
        ),
        (
            {"P2": np.zeros((1, 8, 8, 3), "float32"), "P3": np.zeros((1, 4, 4, 3), "float16")},
            ValueError,
            r'`features\["P3"\].dtype` must be float32 like that of `features\["P2"\]`',
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
