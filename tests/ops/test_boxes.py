"""Area, overlap and clipping of boxes against loops in float64, hand-made cases, every compiled form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.ops import convert_to_numpy as numbers
from keras.ops import convert_to_tensor as tensor

from keras_seg.ops import box_area, box_coverage, box_iou, clip_boxes
from tests.ops.box_cases import every_way, random_boxes

# Four rounded differences, two products, two sums and a quotient: below 10 units of 2^-24 each.
RTOL = 1e-6


def area(box):
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def intersection(a, b):
    return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])


def iou(a, b):
    union = area(a) + area(b) - intersection(a, b)
    return intersection(a, b) / union if union else 0.0


def coverage(a, b):
    return intersection(a, b) / area(a) if area(a) else 0.0


def pairs(rule, boxes1, boxes2):
    return np.array([[rule(a, b) for b in boxes2.astype("float64")] for a in boxes1.astype("float64")])


def odd_boxes(*shape, seed):
    """Random boxes with a point, a line, an inverted box, a copy of another, and touching neighbours."""
    boxes = random_boxes(*shape, seed=seed)
    boxes[..., 0, :] = [5, 5, 5, 5]
    boxes[..., 1, :] = [5, 5, 9, 5]
    boxes[..., 2, :] = [9, 30, 4, 20]
    boxes[..., 3, :] = boxes[..., 4, :]
    boxes[..., 5, :] = [0, 0, 30, 30]
    boxes[..., 6, :] = [30, 0, 60, 30]
    return boxes


@pytest.mark.parametrize("function, rule", [(box_iou, iou), (box_coverage, coverage)])
def test_pairs_equal_loops(function, rule):
    boxes1, boxes2 = odd_boxes(2, 19, seed=1), odd_boxes(2, 15, seed=2)
    boxes2[:, 7] = boxes1[:, 4]
    expected = np.stack([pairs(rule, a, b) for a, b in zip(boxes1, boxes2, strict=True)])
    assert (expected > 0).sum() > 40
    for way, (received,) in every_way(function, boxes1, boxes2):
        assert received.dtype == "float32", way
        np.testing.assert_allclose(received, expected, rtol=RTOL, atol=1e-6, err_msg=way)


def test_iou_equals_torchvision():
    # torchvision 0.29.2, ops.box_iou, float32 on a CPU.
    boxes1 = [[10, 20, 50, 80], [3.5, 7.25, 19.0, 100.125], [0, 0, 640, 480]]
    boxes2 = [[12, 18, 44, 82], [0, 0, 16, 16], [100, 50, 228, 306]]
    expected = [
        [0.7594936490058899, 0.0, 0.0],
        [0.14738963544368744, 0.06895464658737183, 0.0],
        [0.006666666828095913, 0.0008333333535119891, 0.1066666692495346],
    ]
    np.testing.assert_allclose(numbers(box_iou(boxes1, boxes2)), expected, rtol=1e-7)


def test_one_set_of_anchors_goes_with_a_batch():
    anchors, boxes = random_boxes(7, seed=3), random_boxes(2, 3, 5, seed=4)
    received = numbers(box_iou(anchors, boxes))
    assert received.shape == (2, 3, 7, 5)
    np.testing.assert_allclose(received[1, 2], pairs(iou, anchors, boxes[1, 2]), rtol=RTOL, atol=1e-6)
    assert numbers(box_iou(boxes, anchors)).shape == (2, 3, 5, 7)


def test_no_boxes():
    assert numbers(box_iou(np.zeros((2, 0, 4)), np.zeros((2, 3, 4)))).shape == (2, 0, 3)
    assert numbers(box_coverage(np.zeros((2, 3, 4)), np.zeros((2, 0, 4)))).shape == (2, 3, 0)
    assert numbers(clip_boxes(np.zeros((2, 0, 4)), (3, 3))).shape == (2, 0, 4)


sides = st.floats(0, 1000, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(sides, sides, sides, sides), min_size=2, max_size=2))
def test_iou_is_a_symmetric_fraction(corners):
    boxes = np.array(corners, "float32")
    received = numbers(box_iou(boxes, boxes))
    assert np.isfinite(received).all()
    assert (received >= 0).all()
    # The union is one rounding of a sum of two areas, less a number that is at most either.
    assert (received <= 1 + 1e-6).all()
    np.testing.assert_array_equal(received, received.T)
    for box, with_itself in zip(boxes, np.diag(received), strict=True):
        # Below it the area is not a normal number.
        if area(box.astype("float64")) > 1e-30:
            assert with_itself == pytest.approx(1, rel=1e-6)


def test_area():
    boxes = odd_boxes(8, seed=5)
    expected = [area(box) for box in boxes.astype("float64")]
    for way, (received,) in every_way(box_area, boxes, free_axes=1):
        np.testing.assert_allclose(received, expected, rtol=RTOL, err_msg=way)
    assert float(box_area([0, 0, 3, 7])) == 21.0


def test_clip_to_one_size_and_to_a_size_an_image():
    boxes = np.array(
        [[[-3, 2, 700, 40], [1, -9, 5, 481]], [[700, 500, 900, 600], [-5, -5, -1, -1]]], "float32"
    )
    one = [[[0, 2, 640, 40], [1, 0, 5, 480]], [[640, 480, 640, 480], [0, 0, 0, 0]]]
    for size in ((480, 640), [480, 640], np.array([480, 640]), (tensor(480), tensor(640.0))):
        np.testing.assert_array_equal(numbers(clip_boxes(boxes, size)), one)
    each = np.array([[30, 600], [550, 800]])
    expected = [[[0, 2, 600, 30], [1, 0, 5, 30]], [[700, 500, 800, 550], [0, 0, 0, 0]]]
    for way, (received,) in every_way(clip_boxes, boxes, each, free_axes=(2, 1)):
        np.testing.assert_array_equal(received, expected, err_msg=way)


def test_integers_and_half_precision_are_computed_in_float32():
    assert numbers(box_area(np.array([[0, 0, 1000, 1000]], "int32")))[0] == 1e6
    assert numbers(box_area(np.array([[0, 0, 1000, 1000]], "float16")))[0] == 1e6


def test_bad_arguments_are_named():
    good, bad = np.zeros((3, 4)), np.zeros((3, 5))
    with pytest.raises(ValueError, match=r"`boxes.shape` must be \(..., 4\). Received: boxes.shape=\(3, 5\)"):
        box_area(bad)
    with pytest.raises(ValueError, match=r"`boxes2.shape` must be \(..., K, 4\).*\(3, 5\)"):
        box_iou(good, bad)
    with pytest.raises(ValueError, match=r"`boxes1.shape` must be \(..., M, 4\).*\(4,\)"):
        box_coverage(np.zeros(4), good)
    with pytest.raises(ValueError, match=r"`boxes2` must have leading axes.*`boxes1`, \(2,\).*\(3,\)"):
        box_iou(np.zeros((2, 5, 4)), np.zeros((3, 5, 4)))
    with pytest.raises(ValueError, match="`image_size` must be .*at least 1"):
        clip_boxes(good, (0, 5))
    with pytest.raises(TypeError, match="`image_size` must be an integer"):
        clip_boxes(good, (4.5, 5))
    with pytest.raises(ValueError, match=r"`image_size` must be a pair \(height, width\)"):
        clip_boxes(good, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`image_size` must have leading axes"):
        clip_boxes(np.zeros((2, 5, 4)), np.ones((3, 2)))
