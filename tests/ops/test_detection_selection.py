"""Detections against the whole rule as loops in float64: scores, classes, suppression, padding, limits."""

import math

import numpy as np
import pytest

from keras_seg.ops.detection_selection import BOX_WEIGHTS, select_detections
from tests.ops.box_cases import compiled, every_way, random_boxes
from tests.ops.test_box_coding import decode
from tests.ops.test_boxes import iou
from tests.ops.test_suppression import greedy

HEIGHT, WIDTH = 60, 80
CLASSES = 3


def outputs(count=30, images=2, seed=0):
    """Logits, deltas and proposals in a few heaps, for the suppression; the last rows are padding."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (images, count, CLASSES + 1)).astype("float32")
    deltas = rng.normal(0, 0.5, (images, count, CLASSES + 1, 4)).astype("float32")
    heaps = random_boxes(images, 5, side=50, seed=seed + 1)
    proposals = np.tile(heaps, (1, count // 5, 1)) + rng.normal(0, 1, (images, count, 4))
    present = np.arange(count) < np.array([[count], [count - 7]])[:images]
    proposals[~present] = 0
    return logits, deltas, proposals.astype("float32"), present


def by_loops(logits, deltas, proposals, present, score_threshold, iou_threshold, most, min_side=1e-2):
    """Boxes, labels and scores of one image, best first."""
    boxes, labels, scores = [], [], []
    for row in np.flatnonzero(present):
        powers = np.exp(logits[row].astype("float64") - logits[row].max())
        for label in range(CLASSES):
            x1, y1, x2, y2 = decode(
                deltas[row, label + 1].astype("float64"), proposals[row].astype("float64"), BOX_WEIGHTS
            )
            box = [min(max(x1, 0), WIDTH), min(max(y1, 0), HEIGHT)]
            box += [min(max(x2, 0), WIDTH), min(max(y2, 0), HEIGHT)]
            score = powers[label + 1] / powers.sum()
            if score > score_threshold and min(box[2] - box[0], box[3] - box[1]) >= min_side:
                boxes.append(box)
                labels.append(label)
                scores.append(score)
    kept = greedy(boxes, scores, lambda a, b: iou(a, b) > iou_threshold, labels)[:most]
    return [np.array([values[row] for row in kept]) for values in (boxes, labels, scores)]


@pytest.mark.parametrize(("score_threshold", "iou_threshold", "most"), [(0.05, 0.5, 100), (0.3, 0.3, 6)])
def test_equals_loops(score_threshold, iou_threshold, most):
    case = outputs()

    def select(*tensors):
        found = select_detections(
            *tensors,
            (HEIGHT, WIDTH),
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=most,
        )
        return tuple(found[key] for key in ("boxes", "labels", "scores", "num_detections"))

    for way, (boxes, labels, scores, counts) in every_way(select, *case, free_axes=1):
        assert boxes.shape == (2, most, 4) and labels.shape == scores.shape == (2, most), way
        assert boxes.dtype == scores.dtype == "float32" and labels.dtype == counts.dtype == "int32"
        for image, count in enumerate(counts):
            expected_boxes, expected_labels, expected_scores = by_loops(
                *(part[image] for part in case), score_threshold, iou_threshold, most
            )
            assert count == len(expected_boxes) > 5
            np.testing.assert_array_equal(labels[image, :count], expected_labels, err_msg=way)
            np.testing.assert_allclose(scores[image, :count], expected_scores, rtol=1e-5, err_msg=way)
            np.testing.assert_allclose(boxes[image, :count], expected_boxes, atol=5e-5, err_msg=way)
            np.testing.assert_array_equal(boxes[image, count:], 0)
            np.testing.assert_array_equal(labels[image, count:], -1)
            np.testing.assert_array_equal(scores[image, count:], 0)


def sure(labels, boxes, strength=9.0):
    """Outputs of a head that is sure of a label for each box, with no deltas."""
    logits = np.zeros((1, len(labels), CLASSES + 1), "float32")
    logits[0, np.arange(len(labels)), np.array(labels) + 1] = strength
    deltas = np.zeros((1, len(labels), CLASSES + 1, 4), "float32")
    return logits, deltas, np.array([boxes], "float32"), np.ones((1, len(labels)), bool)


def select(*tensors, **options):
    """`select_detections` on an image of 64 x 64, compiled where that is quicker, as arrays."""
    found = compiled(lambda *tensors: select_detections(*tensors, (64, 64), **options))(*tensors)
    return {key: np.array(values) for key, values in found.items()}


def test_one_box_of_two_classes_is_two_detections():
    found = select(*sure([0, 2, 2], [[4, 4, 20, 20]] * 3), score_threshold=0.5)
    assert found["num_detections"][0] == 2
    np.testing.assert_array_equal(found["labels"][0, :3], [0, 2, -1])


def test_each_class_moves_its_own_box():
    logits, deltas, proposals, present = sure([1], [[10, 10, 30, 30]])
    deltas[0, 0, :, 0] = [100, 5, 10, 100]  # a half, a whole and many widths to the right
    found = select(logits, deltas, proposals, present, score_threshold=0.5)
    np.testing.assert_allclose(found["boxes"][0, 0], [30, 10, 50, 30], atol=1e-5)


def test_no_proposals_no_score_and_boxes_outside_give_nothing():
    logits, deltas, proposals, present = outputs(10)
    cases = {
        "no proposals": (logits, deltas, proposals, np.zeros_like(present)),
        "no score": (logits * 0 + np.float32([30, 0, 0, 0]), deltas, proposals, present),
        "outside": (logits, deltas * 0, proposals + 500, present),
    }
    for name, case in cases.items():
        found = select(*case, max_detections=4)
        np.testing.assert_array_equal(found["num_detections"], 0, err_msg=name)
        np.testing.assert_array_equal(found["labels"], -1, err_msg=name)
        np.testing.assert_array_equal(found["scores"], 0, err_msg=name)
        np.testing.assert_array_equal(found["boxes"], 0, err_msg=name)


def test_a_diverged_row_is_no_detection():
    logits, deltas, proposals, present = sure([0, 1], [[4, 4, 20, 20], [30, 30, 50, 50]])
    logits[0, 0, 2] = math.nan
    deltas[0, 1, 2, 3] = math.nan
    found = select(logits, deltas, proposals, present)
    assert np.isfinite(found["boxes"]).all() and np.isfinite(found["scores"]).all()
    assert not (found["scores"] > 0.5).any()


def test_a_limit_on_candidates_keeps_the_best():
    case = outputs()
    some = select(*case, max_detections=5, max_candidates=40)
    for key, values in select(*case, max_detections=5).items():
        np.testing.assert_array_equal(some[key], values, err_msg=key)
