"""RoIPool against torchvision's answers and a loop over windows: values, gradients, types, errors."""

import keras
import numpy as np
import pytest

from keras_seg.ops import roi_pool
from tests.ops.box_cases import boxes_about
from tests.ops.roi_cases import (
    channels_last,
    golden,
    hard_boxes,
    pool_reference,
    random_map,
    value_and_gradient,
)

BACKEND = keras.backend.backend()


def run(features, boxes, bins, upstream, scale):
    """Value and gradient, as models get them: in a graph on TensorFlow, compiled on JAX."""
    return value_and_gradient(
        lambda features: roi_pool(features, boxes, bins, scale), features, upstream, BACKEND == "jax"
    )


def scattered(where, upstream, shape):
    """The gradient: each upstream number added where its maximum lies."""
    gradient = np.zeros(shape)
    for place in np.argwhere(where >= 0):
        image, *_, channel = place
        y, x = divmod(where[tuple(place)], shape[2])
        gradient[image, y, x, channel] += upstream[tuple(place)]
    return gradient


def test_torchvision(form):
    answers, boxes, place = golden()
    value = roi_pool(channels_last(answers["roi_features"]), boxes, (7, 5), float(answers["roi_scale"]))
    # Maxima are values of the map: equal exactly.
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(value)[place], channels_last(answers["roi_pool"])
    )


def test_loop_over_windows(form):
    features = random_map(2, 13, 17, 3)
    boxes = np.concatenate([hard_boxes(), boxes_about(20, 52, 68, images=2)], axis=1)
    upstream = random_map(*boxes.shape[:2], 3, 2, 3, seed=1)
    value, gradient = run(features, boxes, (3, 2), upstream, 0.25)
    expected, where = pool_reference(features, boxes, (3, 2), 0.25)
    np.testing.assert_array_equal(value, expected.astype("float32"))
    alone = keras.ops.convert_to_numpy(roi_pool(features, boxes, (3, 2), 0.25))  # nobody asks for the places
    np.testing.assert_array_equal(alone, expected.astype("float32"))
    # A pixel adds up some tens of numbers of about 1.
    np.testing.assert_allclose(gradient, scattered(where, upstream, features.shape), rtol=0, atol=1e-4)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no XLA here")
def test_compiled_by_xla():
    features, boxes = random_map(1, 13, 17, 3), boxes_about(12, 52, 68)
    upstream = random_map(1, 12, 2, 2, 3, seed=1)
    value, gradient = value_and_gradient(
        lambda features: roi_pool(features, boxes, 2, 0.25), features, upstream, compiled=True
    )
    expected, where = pool_reference(features, boxes, (2, 2), 0.25)
    np.testing.assert_array_equal(value, expected.astype("float32"))
    np.testing.assert_allclose(gradient, scattered(where, upstream, features.shape), rtol=0, atol=1e-5)


def test_the_first_of_equal_values_gets_the_gradient():
    features, boxes = np.ones((1, 4, 4, 1), "float32"), np.array([[[0.0, 0.0, 3.0, 3.0]]], "float32")
    _, gradient = run(features, boxes, (1, 1), np.full((1, 1, 1, 1, 1), 5, "float32"), 1.0)
    expected = np.zeros((1, 4, 4, 1))
    expected[0, 0, 0] = 5
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("images", [1, 40])  # with many boxes, in several chunks
def test_bins_of_infinities_and_nan(form, images):
    """A bin with pixels has one of them as its result. A NaN is it where it comes first, as in the kernel."""
    nan, low = np.nan, -np.inf
    rows = [
        ([low, low, low, low], low, 0),
        ([nan, 1, 2, 3], nan, 0),
        ([1, nan, 2, nan], 2, 2),
        ([nan, nan, nan, nan], nan, 0),
        ([low, nan, low, nan], low, 0),
        ([low, -5, nan, -5], -5, 1),
    ]
    features = np.array([row for row, *_ in rows], "float32").T.reshape(1, 2, 2, len(rows))
    boxes = np.tile(np.array([[[0.0, 0.0, 1.0, 1.0]]], "float32"), (images, 1, 1))
    features = np.tile(features, (images, 1, 1, 1))
    upstream = np.ones((images, 1, 1, 1, len(rows)), "float32")
    value, gradient = run(features, boxes, (1, 1), upstream, 1.0)
    expected = np.array([best for _, best, _ in rows], "float32")
    alone = keras.ops.convert_to_numpy(roi_pool(features, boxes, (1, 1)))
    for found in (value, alone):
        np.testing.assert_array_equal(found, np.broadcast_to(expected, value.shape))
    winners = np.zeros((4, len(rows)))
    winners[[place for *_, place in rows], np.arange(len(rows))] = 1
    np.testing.assert_array_equal(gradient, np.broadcast_to(winners.reshape(1, 2, 2, -1), gradient.shape))


@pytest.mark.skipif(BACKEND != "torch", reason="a form of PyTorch")
@pytest.mark.parametrize("numbers_per_turn", [0, 2**40])  # every bin entry by entry, and none
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_largest_values_alone(monkeypatch, numbers_per_turn, dtype):
    from keras_seg.ops.fast import roi_torch

    monkeypatch.setattr(roi_torch, "NUMBERS_PER_TURN", numbers_per_turn)
    called, kernel = [], roi_torch.bag_maxima
    monkeypatch.setattr(roi_torch, "bag_maxima", lambda *bags: called.append(1) or kernel(*bags))
    features = keras.ops.cast(random_map(2, 13, 17, 3), dtype)
    boxes = np.concatenate([hard_boxes(), boxes_about(20, 52, 68, images=2)], axis=1)
    value = roi_pool(features, boxes, (3, 2), 0.25)
    exact = keras.ops.convert_to_numpy(keras.ops.cast(features, "float32"))
    expected, _ = pool_reference(exact, boxes, (3, 2), 0.25)
    value = keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))
    np.testing.assert_array_equal(value, expected.astype("float32"))
    assert bool(called) == (numbers_per_turn > 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gradient(form, dtype):
    """Sums of a few upstream numbers in float32, rounded once."""
    ops = keras.ops
    features, boxes = ops.cast(random_map(1, 9, 9, 4), dtype), boxes_about(8, 9, 9)
    upstream = ops.cast(random_map(1, 8, 2, 2, 4, seed=1), dtype)
    _, gradient = run(features, boxes, (2, 2), upstream, 1.0)
    exact, exact_upstream = (ops.convert_to_numpy(ops.cast(x, "float32")) for x in (features, upstream))
    _, where = pool_reference(exact, boxes, (2, 2))
    expected = scattered(where, exact_upstream, exact.shape)
    half_unit = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
    assert np.all(np.abs(gradient - expected) <= half_unit * np.abs(expected) + 1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype):
    """A maximum needs no arithmetic, so it is exact."""
    ops = keras.ops
    features, boxes = ops.cast(random_map(1, 9, 9, 4), dtype), boxes_about(8, 9, 9)
    received = roi_pool(features, boxes, 2)
    assert keras.backend.standardize_dtype(received.dtype) == dtype
    exact = ops.convert_to_numpy(ops.cast(features, "float32"))
    expected, _ = pool_reference(exact, boxes, (2, 2))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(received, "float32")), expected.astype("float32")
    )


def test_no_boxes():
    features, boxes = random_map(2, 5, 6, 3), np.zeros((2, 0, 4), "float32")
    value, gradient = run(features, boxes, (3, 2), np.zeros((2, 0, 3, 2, 3), "float32"), 1.0)
    assert value.shape == (2, 0, 3, 2, 3)
    assert not gradient.any()


@pytest.mark.parametrize(
    ("boxes", "settings", "message"),
    [
        (np.zeros((2, 5, 5)), {}, r"`boxes.shape`.*Received: .*\(2, 5, 5\)"),
        (np.zeros((1, 5, 4)), {}, r"`boxes.shape` must be \(2, K, 4\)"),
        (np.zeros((2, 5, 4)), {"output_size": -1}, "`output_size` must be an integer of at least 1"),
        (np.zeros((2, 5, 4)), {"spatial_scale": -1.0}, "`spatial_scale` must be a positive number"),
        (np.zeros((2, 5, 4)), {"spatial_scale": np.nan}, "`spatial_scale` must be a positive number"),
    ],
)
def test_errors(boxes, settings, message):
    with pytest.raises(ValueError, match=message):
        roi_pool(np.zeros((2, 8, 8, 3), "float32"), boxes.astype("float32"), **{"output_size": 2, **settings})
