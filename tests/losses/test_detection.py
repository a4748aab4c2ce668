"""The five losses of Mask R-CNN against loops in float64; padding, 16-bit numbers, gradients."""

import math

import numpy as np
import pytest
from keras import ops

from keras_seg.losses.detection import (
    SMOOTH_L1_BETA,
    box_regression_loss,
    classification_loss,
    mask_loss,
    objectness_loss,
)
from tests.ops.box_cases import gradient

# Objects, background and rows without a sample.
LABELS = np.array([[1, 1, 0, 0, -1], [1, 0, 0, -1, -1]], "int32")
SAMPLES = 7


def normal(*shape, seed=0, size=2.0):
    return np.random.default_rng(seed).normal(0, size, shape).astype("float32")


def cross_entropy(logit, truth):
    p = 1 / (1 + math.exp(-logit))
    return -(truth * math.log(p) + (1 - truth) * math.log(1 - p))


def smooth_l1(x):
    return 0.5 * x * x / SMOOTH_L1_BETA if abs(x) < SMOOTH_L1_BETA else abs(x) - 0.5 * SMOOTH_L1_BETA


def test_objectness_equals_loops():
    logits = normal(2, 5)
    expected = sum(
        cross_entropy(float(logit), label)
        for logit, label in zip(logits.flat, LABELS.flat, strict=True)
        if label >= 0
    )
    assert float(objectness_loss(logits, LABELS)) == pytest.approx(expected / SAMPLES, rel=1e-5)


def test_box_regression_equals_loops():
    deltas, targets = normal(2, 5, 4, size=0.2), normal(2, 5, 4, seed=1, size=0.2)
    distances = (deltas - targets).astype("float64")[LABELS == 1]
    assert (np.abs(distances) < SMOOTH_L1_BETA).any() and (np.abs(distances) > SMOOTH_L1_BETA).any()
    expected = sum(smooth_l1(x) for x in distances.flat)
    assert float(box_regression_loss(deltas, targets, LABELS)) == pytest.approx(expected / SAMPLES, rel=1e-5)


def test_classification_equals_loops():
    logits, classes = normal(2, 5, 4), np.array([[3, 1, 0, 0, 2], [2, 0, 0, 3, 3]], "int32")
    expected = 0.0
    for place in zip(*np.nonzero(LABELS >= 0), strict=True):
        powers = np.exp(logits[place].astype("float64"))
        expected -= math.log(powers[classes[place]] / powers.sum())
    assert float(classification_loss(logits, classes, LABELS)) == pytest.approx(expected / SAMPLES, rel=1e-5)


def test_mask_loss_equals_loops():
    logits, targets = normal(2, 5, 3, 4), np.random.default_rng(1).integers(0, 2, (2, 5, 3, 4))
    pairs = zip(logits[LABELS == 1].flat, targets[LABELS == 1].flat, strict=True)
    expected = sum(cross_entropy(float(logit), truth) for logit, truth in pairs)
    received = float(mask_loss(logits, targets.astype("float32"), LABELS))
    assert received == pytest.approx(expected / (3 * 3 * 4), rel=1e-5)


def losses_of(labels, logits, deltas, scores, masks):
    return {
        "objectness": objectness_loss(logits, labels),
        "box": box_regression_loss(deltas, ops.zeros_like(deltas), labels),
        "classification": classification_loss(scores, ops.zeros_like(labels), labels),
        "mask": mask_loss(masks, ops.ones_like(masks), labels),
    }


def test_without_objects_boxes_and_masks_cost_nothing_and_without_samples_nothing_does():
    outputs = normal(2, 5), normal(2, 5, 4), normal(2, 5, 3), normal(2, 5, 4, 4)
    background = losses_of(np.minimum(LABELS, 0), *outputs)
    assert float(background["box"]) == float(background["mask"]) == 0
    assert float(background["objectness"]) > 0.1 and float(background["classification"]) > 0.1
    for name, loss in losses_of(np.full_like(LABELS, -1), *outputs).items():
        assert float(loss) == 0, name


@pytest.mark.parametrize("logit", [-1e4, -80.0, 0.0, 80.0, 1e4])
def test_no_logit_overflows(logit):
    """Also a wrong one, and its gradient is the error itself, within -1..1."""
    labels = np.array([[1, 0]], "int32")
    logits = np.array([[logit, logit]], "float32")
    value = float(objectness_loss(logits, labels))
    assert value == pytest.approx((abs(logit) if logit else 2 * math.log(2)) / 2, rel=1e-5)
    p = 1 / (1 + math.exp(-max(min(logit, 700), -700)))
    np.testing.assert_allclose(
        gradient(lambda x: objectness_loss(x, labels), logits), [[(p - 1) / 2, p / 2]], atol=1e-6
    )
    masks = np.full((1, 2, 2, 2), logit, "float32")
    assert np.isfinite(gradient(lambda x: mask_loss(x, ops.ones_like(x), labels), masks)).all()
    scores = np.array([[[logit, 0, -logit]] * 2], "float32")
    moved = gradient(lambda x: classification_loss(x, np.array([[1, 2]], "int32"), labels), scores)
    assert np.isfinite(moved).all()


def test_padding_rows_have_no_gradient():
    outputs = {
        "logits": normal(2, 5),
        "deltas": normal(2, 5, 4),
        "scores": normal(2, 5, 3),
        "masks": normal(2, 5, 2, 2),
    }
    outputs["deltas"][LABELS == 1] = 0.3

    for name in outputs:

        def total(values, name=name):
            return sum(losses_of(LABELS, **{**outputs, name: values}).values())

        moved = gradient(total, outputs[name])
        assert np.isfinite(moved).all(), name
        np.testing.assert_array_equal(moved[LABELS == -1], 0, err_msg=name)
        assert moved[LABELS == 1].any(), name


def test_a_target_equal_to_the_output_has_the_gradient_zero():
    deltas = normal(2, 5, 4)
    moved = gradient(lambda x: box_regression_loss(x, deltas, LABELS), deltas)
    np.testing.assert_array_equal(moved, 0)


def test_16_bit_outputs_are_summed_in_float32():
    """A mean over 4,000 samples, which bfloat16 cannot count."""
    labels = np.ones((1, 4000), "int32")
    logits = ops.cast(np.full((1, 4000), 1.5, "float32"), "bfloat16")
    loss = objectness_loss(logits, labels)
    assert float(loss) == pytest.approx(cross_entropy(1.5, 1), rel=0.01)
    deltas = ops.cast(np.full((1, 4000, 4), 1.5, "float32"), "bfloat16")
    loss = box_regression_loss(deltas, np.zeros((1, 4000, 4), "float32"), labels)
    assert float(loss) == pytest.approx(4 * smooth_l1(1.5), rel=0.01)
    scores = ops.cast(np.zeros((1, 4000, 4), "float32"), "bfloat16")
    loss = classification_loss(scores, np.zeros((1, 4000), "int32"), labels)
    assert float(loss) == pytest.approx(math.log(4), rel=0.01)
    masks = ops.cast(np.full((1, 4000, 2, 2), 1.5, "float32"), "bfloat16")
    loss = mask_loss(masks, np.ones((1, 4000, 2, 2), "float32"), labels)
    assert float(loss) == pytest.approx(cross_entropy(1.5, 1), rel=0.01)
