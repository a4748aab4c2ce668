"""Proposals against the rule as loops in float64: levels, clipping, suppression, padding, compiled forms."""

import math

import keras
import numpy as np
import pytest

from keras_seg.ops.region_proposals import select_proposals
from tests.ops.box_cases import compiled, every_way, gradient
from tests.ops.test_box_coding import decode
from tests.ops.test_boxes import iou
from tests.ops.test_suppression import greedy

HEIGHT, WIDTH = 60, 80
UNIT = (1.0, 1.0, 1.0, 1.0)


def levels(*counts, images=2, seed=0):
    """Logits, deltas and anchors of each level; some anchors reach beyond the image."""
    rng = np.random.default_rng(seed)
    logits = [rng.normal(size=(images, count)).astype("float32") for count in counts]
    deltas = [rng.normal(0, 0.3, (images, count, 4)).astype("float32") for count in counts]
    start = [rng.uniform(-10, 70, (count, 2)) for count in counts]
    anchors = [
        np.concatenate([corner, corner + rng.uniform(5, 40, corner.shape)], -1).astype("float32")
        for corner in start
    ]
    return logits, deltas, anchors


def by_loops(logits, deltas, anchors, pre_nms, max_proposals, threshold, min_side):
    """Boxes and logits of one image, best first."""
    boxes, scores, owners = [], [], []
    for level, level_logits in enumerate(logits):
        for row in sorted(range(len(level_logits)), key=lambda row: -level_logits[row])[:pre_nms]:
            x1, y1, x2, y2 = decode(
                deltas[level][row].astype("float64"), anchors[level][row].astype("float64"), UNIT
            )
            box = [min(max(x1, 0), WIDTH), min(max(y1, 0), HEIGHT)]
            box += [min(max(x2, 0), WIDTH), min(max(y2, 0), HEIGHT)]
            if min(box[2] - box[0], box[3] - box[1]) >= min_side:
                boxes.append(box)
                scores.append(level_logits[row])
                owners.append(level)
    kept = greedy(boxes, scores, lambda a, b: iou(a, b) > threshold, owners)[:max_proposals]
    return np.array([boxes[row] for row in kept]), np.array([scores[row] for row in kept])


@pytest.mark.parametrize(
    ("pre_nms", "max_proposals", "threshold", "min_side"),
    [
        (20, 60, 0.7, 1e-3),  # more than remain
        (1000, 5, 0.4, 4.0),  # every anchor, and the best alone
    ],
)
def test_equals_loops(pre_nms, max_proposals, threshold, min_side):
    logits, deltas, anchors = levels(40, 25, 9)

    def propose(*flat):
        return select_proposals(
            flat[:3],
            flat[3:],
            anchors,
            (HEIGHT, WIDTH),
            pre_nms=pre_nms,
            max_proposals=max_proposals,
            iou_threshold=threshold,
            min_side=min_side,
        )

    for way, (boxes, scores) in every_way(propose, *logits, *deltas, free_axes=1):
        assert boxes.shape == (2, max_proposals, 4) and scores.shape == (2, max_proposals), way
        assert boxes.dtype == scores.dtype == "float32"
        for image in range(2):
            expected_boxes, expected_scores = by_loops(
                [level[image] for level in logits],
                [level[image] for level in deltas],
                anchors,
                pre_nms,
                max_proposals,
                threshold,
                min_side,
            )
            count = len(expected_boxes)
            assert count == max_proposals or max_proposals == 60
            np.testing.assert_array_equal(scores[image, :count], expected_scores, err_msg=way)
            # Coordinates up to 100 pixels of exp and two products: 2^-17 of a pixel each.
            np.testing.assert_allclose(boxes[image, :count], expected_boxes, atol=5e-5, err_msg=way)
            np.testing.assert_array_equal(boxes[image, count:], 0)
            np.testing.assert_array_equal(scores[image, count:], -math.inf)


def test_equal_boxes_of_different_levels_both_stay():
    anchors = [np.array([[4, 4, 20, 20]], "float32")] * 2
    logits, deltas = (
        [np.array([[score]], "float32") for score in (1, 2)],
        [np.zeros((1, 1, 4), "float32")] * 2,
    )
    boxes, scores = select_proposals(logits, deltas, anchors, (64, 64), max_proposals=4)
    np.testing.assert_array_equal(np.array(scores)[0], [2, 1, -math.inf, -math.inf])
    np.testing.assert_array_equal(np.array(boxes)[0, :2], [[4, 4, 20, 20]] * 2)


def test_boxes_outside_the_image_leave_no_proposal():
    logits, deltas, anchors = levels(6, 3)
    anchors = [level + np.float32(500) for level in anchors]
    boxes, scores = select_proposals(logits, deltas, anchors, (HEIGHT, WIDTH), max_proposals=7)
    np.testing.assert_array_equal(np.array(boxes), 0)
    np.testing.assert_array_equal(np.array(scores), -math.inf)


def test_diverged_logits_are_no_proposals():
    """A network that has run away gives no boxes rather than boxes of NaN."""
    logits, deltas, anchors = levels(12, 5)
    logits[0][0, 3], deltas[1][1, 2, 2] = math.nan, math.nan
    propose = compiled(lambda *flat: select_proposals(flat[:2], flat[2:], anchors, (HEIGHT, WIDTH)))
    boxes, scores = map(np.array, propose(*logits, *deltas))
    assert np.isfinite(boxes[scores > -math.inf]).all()
    assert ((scores > -math.inf).sum(axis=1) > 5).all()


def test_no_gradient_flows_back():
    logits, deltas, anchors = levels(12, 5)

    def total(first_deltas):
        boxes, scores = select_proposals(
            logits, [first_deltas, deltas[1]], anchors, (HEIGHT, WIDTH), max_proposals=6
        )
        return keras.ops.sum(boxes) + keras.ops.sum(scores) + keras.ops.sum(first_deltas)

    np.testing.assert_array_equal(gradient(total, deltas[0]), 1)
