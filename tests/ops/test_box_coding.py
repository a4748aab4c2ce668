"""Box deltas against Faster R-CNN's equations in float64, torchvision's numbers, and their own inverse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from keras.ops import convert_to_numpy as numbers

from keras_seg.ops import decode_boxes, encode_boxes
from tests.ops.box_cases import every_way, gradient, random_boxes

BOX_HEAD = (10.0, 10.0, 5.0, 5.0)
DETECTRON_LIMIT = math.log(1000 / 16)
# torchvision 0.29.2, models.detection._utils.BoxCoder, float32 on a CPU.
BOXES = [[10, 20, 50, 80], [3.5, 7.25, 19.0, 100.125], [0, 0, 640, 480]]
ANCHORS = [[12, 18, 44, 82], [0, 0, 16, 16], [100, 50, 228, 306]]
ENCODED = {
    (1.0, 1.0, 1.0, 1.0): [
        [0.0625, 0.0, 0.2231435477733612, -0.06453852355480194],
        [0.203125, 2.85546875, -0.0317486971616745, 1.7586658000946045],
        [1.21875, 0.2421875, 1.6094379425048828, 0.6286086440086365],
    ],
    BOX_HEAD: [
        [0.625, 0.0, 1.1157177686691284, -0.3226926326751709],
        [2.03125, 28.5546875, -0.1587434858083725, 8.793329238891602],
        [12.1875, 2.421875, 8.047189712524414, 3.143043279647827],
    ],
}
DELTAS = [[0.5, -0.25, 1.0, -2.0], [10, 10, 5.0, 30.0], [0, 0, 0, 0]]
DECODED = {
    (1.0, 1.0, 1.0, 1.0): [
        [0.5074920654296875, 29.66927146911621, 87.49250793457031, 38.33073043823242],
        [-332.0000305175781, -332.0000305175781, 668.0, 668.0],
        [100.0, 50.0, 228.0, 306.0],
    ],
    BOX_HEAD: [
        [10.05755615234375, 26.94976043701172, 49.1424446105957, 69.8502426147461],
        [2.2537460327148438, -476.0000305175781, 45.746253967285156, 524.0],
        [100.0, 50.0, 228.0, 306.0],
    ],
}


def encode(box, anchor, weights):
    (w, h), (wa, ha) = box[2:] - box[:2], anchor[2:] - anchor[:2]
    x, y, xa, ya = *(box[2:] + box[:2]) / 2, *(anchor[2:] + anchor[:2]) / 2
    return np.array(weights) * [(x - xa) / wa, (y - ya) / ha, math.log(w / wa), math.log(h / ha)]


def decode(deltas, anchor, weights, limit=DETECTRON_LIMIT):
    dx, dy, dw, dh = deltas / np.array(weights)
    (wa, ha), (xa, ya) = anchor[2:] - anchor[:2], (anchor[2:] + anchor[:2]) / 2
    w, h = wa * math.exp(min(dw, limit)), ha * math.exp(min(dh, limit))
    x, y = xa + wa * dx, ya + ha * dy
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), BOX_HEAD])
def test_equals_torchvision(weights):
    # exp and log of the backends differ by a few units in the last place.
    np.testing.assert_allclose(
        numbers(encode_boxes(BOXES, ANCHORS, weights)), ENCODED[weights], rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        numbers(decode_boxes(DELTAS, ANCHORS, weights)), DECODED[weights], rtol=1e-6, atol=1e-4
    )


def test_encode_equals_the_equations():
    boxes, anchors, weights = random_boxes(2, 6, seed=1), random_boxes(2, 6, seed=2), (1.0, 2.0, 3.0, 4.0)
    expected = np.zeros((2, 6, 4))
    for row in np.ndindex(2, 6):
        expected[row] = encode(boxes[row].astype("float64"), anchors[row].astype("float64"), weights)
    for way, (received,) in every_way(lambda b, a: encode_boxes(b, a, weights), boxes, anchors):
        assert received.dtype == "float32"
        # The side's rounding, 2^-24 * 150, over the smallest side, 1, times the weight.
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-4, err_msg=way)


def test_decode_equals_the_equations():
    anchors, weights = random_boxes(2, 6, seed=3), (1.0, 2.0, 3.0, 4.0)
    deltas = np.random.default_rng(4).normal(0, 3, (2, 6, 4)).astype("float32")
    expected = np.zeros((2, 6, 4))
    for row in np.ndindex(2, 6):
        expected[row] = decode(deltas[row].astype("float64"), anchors[row].astype("float64"), weights)
    for way, (received,) in every_way(lambda d, a: decode_boxes(d, a, weights), deltas, anchors):
        assert received.dtype == "float32"
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-3, err_msg=way)


start, side = st.floats(0, 1000, width=32), st.floats(1, 1000, width=32)
box = st.tuples(start, start, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@settings(max_examples=60, deadline=None)
@given(box, box, st.sampled_from([(1.0, 1.0, 1.0, 1.0), BOX_HEAD]))
def test_decode_is_the_inverse_of_encode(target, anchor, weights):
    received = decode_boxes(
        encode_boxes([target], [anchor], weights), [anchor], weights, max_log_ratio=math.log(2000)
    )
    # Coordinates of 2000 are rounded to 1.2e-4; a side of 1000 from one of 1 multiplies the log's rounding.
    np.testing.assert_allclose(numbers(received)[0], target, rtol=1e-5, atol=5e-3)


def test_growth_is_limited_and_shrinking_is_not():
    received = numbers(decode_boxes([[0, 0, 30.0, -30.0]], [[0, 0, 16, 16]]))[0]
    np.testing.assert_allclose(received, [8 - 500, 8, 8 + 500, 8], rtol=1e-5)
    received = numbers(decode_boxes([[0, 0, 5.0, 1.0]], [[0, 0, 2, 2]], max_log_ratio=0.0))[0]
    np.testing.assert_array_equal(received, [0, 0, 2, 2])


def test_rows_without_area_have_zero_deltas_and_no_gradient():
    anchors = np.array([[0, 0, 0, 0], [2, 2, 9, 9], [2, 2, 2, 9], [9, 9, 2, 2], [0, 0, 4, 4]], "float32")
    boxes = np.array([[2, 2, 9, 9], [0, 0, 0, 0], [1, 1, 3, 3], [1, 1, 3, 3], [1, 0, 5, 4]], "float32")
    for way, (received,) in every_way(encode_boxes, boxes, anchors, free_axes=1):
        np.testing.assert_array_equal(received[:4], 0, err_msg=way)
        np.testing.assert_allclose(received[4], [0.25, 0, 0, 0], atol=1e-7, err_msg=way)
    moved = gradient(lambda b: ops.sum(encode_boxes(b, anchors)), boxes)
    np.testing.assert_array_equal(moved[:4], 0)
    # d(dx)/dx1 = 1 / (2 wa), d(dw)/dx1 = -1 / w, and likewise for the others.
    np.testing.assert_allclose(moved[4], [-0.125, -0.125, 0.375, 0.375], rtol=1e-6)


def test_anchors_without_area_stay_without():
    deltas = np.full((2, 4), 3.0, "float32")
    received = numbers(decode_boxes(deltas, [[5, 6, 5, 6], [0, 0, 0, 0]]))
    np.testing.assert_array_equal(received, [[5, 6, 5, 6], [0, 0, 0, 0]])


def test_gradient_of_decode():
    anchors = random_boxes(3, seed=5)
    rng = np.random.default_rng(6)
    deltas, mix = rng.normal(0, 0.5, (3, 4)), rng.normal(size=(3, 4))
    deltas[2, 2] = 5.0

    def total(values):
        rows = zip(values, anchors.astype("float64"), strict=True)
        return sum((m * decode(d, a, BOX_HEAD, limit=0.9)).sum() for m, (d, a) in zip(mix, rows, strict=True))

    expected = np.zeros_like(deltas)
    for place in np.ndindex(*deltas.shape):
        step = np.zeros_like(deltas)
        step[place] = 1e-5
        expected[place] = (total(deltas + step) - total(deltas - step)) / 2e-5
    received = gradient(
        lambda d: ops.sum(decode_boxes(d, anchors, BOX_HEAD, 0.9) * ops.cast(mix, "float32")),
        deltas.astype("float32"),
    )
    assert received[2, 2] == 0.0  # beyond the limit
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)


def test_a_set_of_deltas_for_each_class():
    anchors = random_boxes(2, 5, seed=7)
    deltas = np.random.default_rng(8).normal(size=(2, 5, 3, 4)).astype("float32")
    received = numbers(decode_boxes(deltas, anchors[:, :, None]))
    for label in range(3):
        np.testing.assert_allclose(
            received[:, :, label], numbers(decode_boxes(deltas[:, :, label], anchors)), rtol=1e-6
        )
    one_set = numbers(decode_boxes(deltas[:, :, 0], anchors[0]))
    np.testing.assert_allclose(one_set[1], numbers(decode_boxes(deltas[1, :, 0], anchors[0])), rtol=1e-6)


def test_no_boxes():
    none = np.zeros((2, 0, 4))
    assert numbers(encode_boxes(none, none)).shape == (2, 0, 4)
    assert numbers(decode_boxes(none, none)).shape == (2, 0, 4)


def test_bad_arguments_are_named():
    good = random_boxes(3)
    with pytest.raises(ValueError, match=r"`anchors.shape` must be \(..., 4\).*\(3, 5\)"):
        encode_boxes(good, np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"`deltas.shape` must be \(..., 4\).*\(3, 8\)"):
        decode_boxes(np.zeros((3, 8)), good)
    with pytest.raises(ValueError, match="`anchors` must have leading axes"):
        decode_boxes(np.zeros((2, 4)), good)
    for weights in ((1, 1, 1), (1, 1, 0, 1), (1, 1, -1, 1), 10.0):
        with pytest.raises(ValueError, match="`weights` must be"):
            encode_boxes(good, good, weights)
    with pytest.raises(TypeError, match="`weights` must be a number"):
        encode_boxes(good, good, ("a", 1, 1, 1))
    with pytest.raises(ValueError, match="`max_log_ratio` must be a number"):
        decode_boxes(good, good, max_log_ratio=-1)
