"""Detectors with imported weights give torchvision's maps, proposals, boxes and masks, on every backend."""

import keras
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from keras_seg.weights import from_torchvision
from tests.weights.golden import require

# Measured on all three backends: at most 3e-6. float32 sums of thousands of products, in other orders.
TOLERANCE = 1e-4
# The files have every 8th row and column of P2, every 4th of P3 and so on.
STEPS = {"P2": 8, "P3": 4, "P4": 2, "P5": 2, "P6": 2}
PARAMETERS = {"maskrcnn_resnet50_fpn": 44_401_393, "maskrcnn_resnet50_fpn_v2": 46_359_409}


class Stages(keras.Model):
    """All that a detector computes on the way to its answer, so that one compilation shows it."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector
        self.built = True  # JAX would build it by running it operation by operation

    def call(self, images):
        maps = self.detector.features(images, training=False)
        heads = {level: self.detector.rpn_head(maps[level], training=False) for level in maps}
        return {
            "maps": maps,
            "logits": {level: logits for level, (logits, _) in heads.items()},
            "deltas": {level: deltas for level, (_, deltas) in heads.items()},
            "proposals": self.detector.propose(images)[0],
            "detections": self.detector(images, training=False),
        }


def difference(received, channels_first):
    expected = np.moveaxis(channels_first, 1, -1)
    assert received.shape == expected.shape
    return np.abs(received - expected).max() / np.abs(expected).max()


def pairs(boxes, labels, other_boxes, other_labels):
    """Which of the other boxes each is, whatever their order: near ties in score may swap places."""
    distances = np.abs(boxes[:, None] - other_boxes).max(axis=-1)
    return linear_sum_assignment(distances + 1e6 * (labels[:, None] != other_labels))[1]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PARAMETERS)
def test_every_stage(name):
    state, golden = require(name)
    model, report = from_torchvision(name, state, (256, 320, 3), return_report=True)
    del state
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == PARAMETERS[name]
    assert report.untouched == ()
    stages = Stages(model).predict(golden["image"][None], verbose=0)

    for index, (level, step) in enumerate(STEPS.items()):
        answer = golden["fpn_pool" if level == "P6" else f"fpn_{index}"]
        assert difference(stages["maps"][level][:, ::step, ::step], answer) <= TOLERANCE, level
    # The file has those of P4.
    assert difference(stages["logits"]["P4"], golden["rpn_logits_2"]) <= TOLERANCE
    assert difference(stages["deltas"]["P4"], golden["rpn_deltas_2"]) <= TOLERANCE

    proposals, expected = stages["proposals"][0], golden["proposals"]
    assert not proposals[len(expected) :].any()
    order = pairs(proposals[: len(expected)], np.zeros(len(expected)), expected, np.zeros(len(expected)))
    off = np.abs(proposals[: len(expected)] - expected[order]).max(axis=-1)
    assert (off <= 0.1).mean() >= 0.99

    found = {key: values[0] for key, values in stages["detections"].items()}
    assert found["num_detections"] == len(golden["boxes"]) == 100
    order = pairs(found["boxes"], found["labels"] + 1, golden["boxes"], golden["labels"])
    right = found["labels"] + 1 == golden["labels"][order]
    right &= np.abs(found["boxes"] - golden["boxes"][order]).max(axis=-1) <= 0.1
    right &= np.abs(found["scores"] - golden["scores"][order]) <= 1e-3
    assert right.sum() >= 99
    # The file has the masks of the first detections.
    masks = golden["masks"][:, 0]
    rows = np.flatnonzero(right & (order < len(masks)))
    assert len(rows) >= len(masks) - 1
    assert np.abs(found["masks"][rows] - masks[order[rows]]).max() <= 1e-3
