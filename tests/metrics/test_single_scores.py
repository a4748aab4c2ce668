"""Single scores: each against scikit-learn, usable in compile, and reloaded."""

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score

from keras_seg.losses import CrossEntropy
from keras_seg.metrics import (
    FrequencyWeightedIoU,
    MeanAccuracy,
    MeanIoU,
    PerClassIoU,
    PixelAccuracy,
)

K = 5
IGNORED = 11


def make_case():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 8, 9, K)).astype("float32")
    ids = np.where(rng.random((2, 8, 9)) < 0.4, logits.argmax(-1), rng.integers(0, K, (2, 8, 9)))
    ids[rng.random(ids.shape) < 0.2] = IGNORED
    counted = ids != IGNORED
    return ids, logits, ids[counted], logits.argmax(-1)[counted]


@pytest.mark.parametrize(
    ("metric", "by_scikit_learn"),
    [
        (PixelAccuracy, accuracy_score),
        (MeanAccuracy, balanced_accuracy_score),
        (MeanIoU, lambda truth, predicted: jaccard_score(truth, predicted, average="macro")),
        (FrequencyWeightedIoU, lambda truth, predicted: jaccard_score(truth, predicted, average="weighted")),
    ],
)
def test_equals_scikit_learn(metric, by_scikit_learn):
    ids, logits, truth, predicted = make_case()
    metric = metric(K, IGNORED)
    metric.update_state(ids, logits)
    assert float(metric.result()) == pytest.approx(by_scikit_learn(truth, predicted), rel=1e-6)
    assert metric.name == metric.score


def test_per_class_iou_is_a_vector_or_one_class():
    ids, logits, truth, predicted = make_case()
    vector = PerClassIoU(K, IGNORED)
    vector.update_state(ids, logits)
    expected = jaccard_score(truth, predicted, average=None)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(vector.result()), expected, rtol=1e-6)
    for class_id in range(K):
        one = PerClassIoU(K, IGNORED, class_id=class_id)
        one.update_state(ids, logits)
        assert float(one.result()) == pytest.approx(expected[class_id], rel=1e-6)


def test_an_absent_class_is_nan():
    metric = PerClassIoU(3)
    metric.update_state([[[0, 1]]], [[[0, 0]]])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(metric.result()), [0.5, 0.0, np.nan])


def test_all_in_one_compile():
    ids, logits, truth, predicted = make_case()
    inputs = keras.Input((None, None, K))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    metrics = [PixelAccuracy(K, IGNORED), MeanIoU(K, IGNORED)]
    metrics.append(PerClassIoU(K, IGNORED, class_id=2, name="iou_car"))
    model.compile("sgd", CrossEntropy(IGNORED), metrics=metrics)
    logs = model.evaluate(logits, ids, batch_size=1, return_dict=True, verbose=0)
    assert logs["pixel_accuracy"] == pytest.approx(accuracy_score(truth, predicted), rel=1e-6)
    assert logs["mean_iou"] == pytest.approx(jaccard_score(truth, predicted, average="macro"), rel=1e-6)
    assert logs["iou_car"] == pytest.approx(jaccard_score(truth, predicted, average=None)[2], rel=1e-6)


@pytest.mark.parametrize("metric", [FrequencyWeightedIoU, MeanAccuracy, MeanIoU, PerClassIoU, PixelAccuracy])
def test_config_round_trip(metric):
    options = {"class_id": 3} if metric is PerClassIoU else {}
    first = metric(K, IGNORED, list("abcde"), name="mine", **options)
    again = keras.metrics.deserialize(keras.metrics.serialize(first))
    assert type(again) is metric
    assert again.get_config() == first.get_config()


def test_a_class_id_that_is_none_of_the_classes():
    with pytest.raises(ValueError, match="`class_id` must be at most 2"):
        PerClassIoU(3, class_id=3)
