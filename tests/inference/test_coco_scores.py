"""COCO's scores against a plain loop over thresholds, classes, images and detections."""

import numpy as np
import pytest

from keras_seg.data.objects import Objects
from keras_seg.inference.coco_scores import CocoScores
from keras_seg.inference.detections import Detections
from keras_seg.inference.mask_pasting import PastedMasks

pytestmark = pytest.mark.tf_only

SIZE = (70, 90)
NAMES = ("a", "b", "never")


def rectangles(rng, count):
    corners = rng.integers(0, 50, (count, 2))
    return np.concatenate([corners, corners + rng.integers(4, 36, (count, 2))], axis=1).clip(0, [90, 70] * 2)


def true_objects(boxes, labels, crowd=None):
    masks = []
    for x1, y1, x2, y2 in boxes:
        full = np.zeros(SIZE, bool)
        full[y1:y2, x1:x2] = True
        masks.append(full)
    return Objects.from_masks(masks, labels=labels, crowd=crowd)


def found_objects(boxes, labels, scores):
    order = np.argsort(-np.asarray(scores), kind="stable")
    boxes, labels = np.asarray(boxes, "float32").reshape(-1, 4)[order], np.asarray(labels, "int32")[order]
    masks = PastedMasks(np.ones((len(boxes), 28, 28)), boxes, SIZE)
    scores = np.asarray(scores, "float32")[order]
    return Detections(boxes, labels, scores, masks, masks.origins, SIZE)


def scene(seed):
    """Truth with crowds, and detections: some near the truth, some astray, some of another class."""
    rng = np.random.default_rng(seed)
    boxes, labels = rectangles(rng, 7), rng.integers(0, 2, 7)
    crowd = rng.random(7) < 0.2
    near = np.repeat(boxes, 2, axis=0) + rng.integers(-2, 3, (14, 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    found = np.concatenate([near, rectangles(rng, 4)]).clip(0, [90, 70] * 2)
    kept = (found[:, 2:] > found[:, :2]).all(1)
    classes = np.concatenate([np.repeat(labels, 2), rng.integers(0, 2, 4)])
    classes = np.where(rng.random(18) < 0.15, 1 - classes, classes)
    scores = rng.permutation(18) / 18 + 0.01
    return true_objects(boxes, labels, crowd), found_objects(found[kept], classes[kept], scores[kept])


def overlap(first, second, crowd):
    both = (first & second).sum()
    return both / (first.sum() if crowd else (first | second).sum())


def loop_precision(scenes, label, threshold):
    """Average precision of one class at one threshold, 101 recalls; and the recall that is reached."""
    marked, present = [], 0
    for truth, found in scenes:
        own = [k for k in range(len(truth)) if truth.labels[k] == label]
        present += sum(not truth.crowd[k] for k in own)
        taken = set()
        for d in range(len(found)):
            if found.labels[d] != label:
                continue
            mask, best, match = found.full_mask(d), threshold, None
            for k in own:
                if truth.crowd[k] or k in taken:
                    continue
                value = overlap(mask, truth.full_mask(k, SIZE), False)
                # Of equals pycocotools takes the last.
                if value >= best:
                    best, match = value, k
            if match is not None:
                taken.add(match)
                marked.append((found.scores[d], True))
            elif not any(
                truth.crowd[k] and overlap(mask, truth.full_mask(k, SIZE), True) >= threshold for k in own
            ):
                marked.append((found.scores[d], False))
    marked.sort(key=lambda pair: -pair[0])
    hits = np.cumsum([hit for _, hit in marked])
    recall, precision = hits / present, hits / np.arange(1, len(hits) + 1)
    points = [max(precision[recall >= at], default=0) for at in np.linspace(0, 1, 101)]
    return np.mean(points), recall[-1]


def test_every_score_is_that_of_the_loop():
    scenes = [scene(seed) for seed in range(4)]
    scores = CocoScores(NAMES)
    for truth, found in scenes:
        scores.add(truth, found)
    result = scores.result()
    assert any(truth.crowd.any() for truth, _ in scenes)
    thresholds = np.linspace(0.5, 0.95, 10)
    table = np.array([[loop_precision(scenes, label, t) for t in thresholds] for label in (0, 1)])
    expected = {
        "ap": table[..., 0].mean(),
        "ap50": table[:, 0, 0].mean(),
        "ap75": table[:, 5, 0].mean(),
        "ar100": table[..., 1].mean(),
        "ap/a": table[0, :, 0].mean(),
        "ap/b": table[1, :, 0].mean(),
    }
    # Masks fill their boxes here, so both kinds agree; and none is 0 or 1, where anything would.
    for kind in ("box", "mask"):
        assert {name: result[f"{kind}_{name}"] for name in expected} == pytest.approx(expected, abs=1e-9)
        assert np.isnan(result[f"{kind}_ap/never"])
    assert all(0.05 < value < 0.98 for value in expected.values())


def test_perfect_detections_score_one_by_size_too():
    boxes, labels = [(0, 0, 20, 20), (22, 0, 60, 40), (5, 45, 30, 70)], [0, 1, 0]
    scores = CocoScores(NAMES)
    scores.add(true_objects(boxes, labels), found_objects(boxes, labels, [0.9, 0.8, 0.7]))
    result = scores.result()
    # The object of 38 x 40 pixels is medium, the others are small, none is large.
    for name in ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ar10", "ar100", "ar_small", "ap/a", "ap/b"):
        assert result[f"box_{name}"] == pytest.approx(1, abs=1e-12), name
        assert result[f"mask_{name}"] == pytest.approx(1, abs=1e-12), name
    assert np.isnan([result["mask_ap_large"], result["box_ar_large"]]).all()
    # One detection an image finds one of a's two objects and b's one.
    assert result["box_ar1"] == pytest.approx(0.75)


def test_masks_and_boxes_are_scored_apart():
    box = (10, 10, 40, 40)
    found = found_objects([box], [0], [0.9])
    halves = np.ones((1, 28, 28))
    halves[:, :, 14:] = 0
    masks = PastedMasks(halves, [box], SIZE)
    half = Detections(found.boxes, found.labels, found.scores, masks, masks.origins, SIZE)
    scores = CocoScores(NAMES)
    scores.add(true_objects([box], [0]), half)
    result = scores.result()
    assert result["box_ap"] == pytest.approx(1)
    # IoU 0.5 is reached at that threshold alone.
    assert result["mask_ap50"] == pytest.approx(1) and result["mask_ap"] == pytest.approx(0.1)


def test_the_limit_of_detections_can_be_raised():
    boxes = [(x, y, x + 4, y + 4) for x in range(0, 85, 5) for y in range(0, 65, 5)]
    labels, scores = [0] * len(boxes), np.linspace(0.99, 0.1, len(boxes))
    results = []
    for limit in (100, 300, 5):
        scored = CocoScores(NAMES, max_detections=limit)
        scored.add(true_objects(boxes, labels), found_objects(boxes, labels, scores))
        results.append(scored.result())
    assert results[0]["mask_ar100"] == pytest.approx(100 / len(boxes))
    assert results[1]["mask_ar300"] == pytest.approx(1)
    assert [name for name in results[2] if name.startswith("box_ar")][:2] == ["box_ar1", "box_ar5"]
    assert results[2]["box_ar5"] == pytest.approx(5 / len(boxes))
    # Five found at precision 1 reach the recalls 0, 0.01 and 0.02.
    assert results[2]["box_ap"] == pytest.approx(3 / 101)


def test_nothing_found_and_nothing_to_be_found(capsys):
    scores = CocoScores(NAMES)
    scores.add(true_objects([(0, 0, 9, 9)], [0]), found_objects([], [], []))
    assert scores.result()["mask_ap"] == 0
    empty = CocoScores(NAMES)
    empty.add(true_objects([], []), found_objects([(0, 0, 9, 9)], [0], [0.9]))
    assert np.isnan(empty.result()["mask_ap"])
    assert capsys.readouterr().out == ""
