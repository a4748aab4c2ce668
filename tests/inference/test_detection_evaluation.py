"""Scores of a detector on whole images; the detector reads its answers off the colours."""

import numpy as np
import pytest

from keras_seg.data.objects import Objects
from keras_seg.inference import evaluate_instances, predict_instances
from keras_seg.metrics import average_precision
from tests.inference.object_source import ObjectSource
from tests.inference.slot_detector import draw_slots, slot_detector

SCENES = [
    [(1, 0.9, (4, 6, 30, 40)), (2, 0.8, (30, 6, 60, 40)), (3, 0.4, (10, 44, 50, 60))],
    [(5, 0.7, (0, 0, 64, 20)), (6, 0.6, (20, 30, 44, 58))],
    [],
]


def source(scenes=SCENES, shift=0, crowd=False):
    """Images of 64 x 64; the truth is the drawing, `shift` pixels lower."""
    items = []
    for scene in scenes:
        masks = []
        for _, _, (x1, y1, x2, y2) in scene:
            full = np.zeros((64, 64), bool)
            full[y1 + shift : y2 + shift, x1:x2] = True
            masks.append(full)
        labels = [slot % 3 for slot, _, _ in scene]
        objects = Objects.from_masks(masks, labels=labels, crowd=[crowd] * len(masks))
        items.append((draw_slots((64, 64), scene), objects))
    return ObjectSource(items)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_perfect_detections_score_one(batch_size):
    scores = evaluate_instances(
        slot_detector(), source(), batch_size=batch_size, instance_score_threshold=0.3, progress=False
    )
    for name in ("box_ap", "mask_ap", "mask_ap50", "mask_ap75", "box_ar100", "mask_ap/disc"):
        assert scores[name] == pytest.approx(1, abs=1e-9), name
    assert scores["average_precision/mean"] == 1
    assert {f"average_precision/iou_0.{percent}" for percent in range(50, 100, 5)} <= set(scores)


def test_the_score_threshold_is_for_the_map_of_objects_alone():
    low, high = (
        evaluate_instances(slot_detector(), source(), instance_score_threshold=value, progress=False)
        for value in (0.3, 0.5)
    )
    assert high["mask_ap"] == low["mask_ap"] == pytest.approx(1)
    # One of five objects is below it.
    assert high["average_precision/iou_0.50"] == pytest.approx(4 / 5)


def test_maps_of_objects_are_scored_as_the_metric_scores_them():
    data = source(shift=3)
    scores = evaluate_instances(slot_detector(), data, progress=False)
    images, truths = zip(*map(data.read_objects, range(3)), strict=True)
    found = predict_instances(slot_detector(), images, score_threshold=0.5)
    expected = average_precision(
        [truth.id_map((64, 64)) for truth in truths], [detections.id_map() for detections in found]
    )
    for percent in range(50, 100, 5):
        assert scores[f"average_precision/iou_0.{percent}"] == expected[f"ap{percent}"]
    assert scores["average_precision/mean"] == expected["ap"]
    assert 0 < expected["ap"] < 1 and 0 < scores["mask_ap"] < 1


def test_crowds_are_neither_found_nor_missed():
    scores = evaluate_instances(slot_detector(), source(SCENES[:2], crowd=True), progress=False)
    assert np.isnan(scores["mask_ap"])
    # In a map of objects there is no crowd: all that was found is too much.
    assert scores["average_precision/iou_0.50"] == 0


def test_data_of_other_channels_or_classes_are_refused():
    data = source()
    model = slot_detector()
    model.num_classes = 5
    with pytest.raises(ValueError, match=r"`data` must be of 3 channels and 5 classes of objects"):
        evaluate_instances(model, data)
    data.channels = 1
    with pytest.raises(ValueError, match=r"`data` must be of 3 channels and 3 classes of objects"):
        evaluate_instances(slot_detector(), data)
