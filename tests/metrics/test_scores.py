"""Scores of a matrix: a worked example, scikit-learn, absent classes, names."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

from keras_seg.metrics import scores_from_matrix

pytestmark = pytest.mark.tf_only


def test_worked_by_hand():
    scores = scores_from_matrix([[3, 1], [0, 4]], ["road", "car"])
    assert scores == {
        "pixel_accuracy": 7 / 8,
        "mean_accuracy": (3 / 4 + 1) / 2,
        "mean_iou": (3 / 4 + 4 / 5) / 2,
        "frequency_weighted_iou": (4 * 3 / 4 + 4 * 4 / 5) / 8,
        "iou/road": 3 / 4,
        "iou/car": 4 / 5,
        "accuracy/road": 3 / 4,
        "accuracy/car": 1.0,
    }


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 6, (2, 500))
    scores = scores_from_matrix(confusion_matrix(truth, predicted))
    assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(truth, predicted), rel=1e-12)
    assert scores["mean_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted), rel=1e-12)
    assert scores["mean_iou"] == pytest.approx(jaccard_score(truth, predicted, average="macro"), rel=1e-12)
    assert scores["frequency_weighted_iou"] == pytest.approx(
        jaccard_score(truth, predicted, average="weighted"), rel=1e-12
    )
    by_class = [scores[f"iou/{label}"] for label in range(6)]
    np.testing.assert_allclose(by_class, jaccard_score(truth, predicted, average=None), rtol=1e-12)


def test_perfect_is_exactly_one_also_for_huge_counts():
    matrix = np.diag(np.random.default_rng(1).integers(1, 2**50, 11))
    assert set(scores_from_matrix(matrix).values()) == {1.0}


def test_absent_classes_are_left_out():
    # Class 1 is predicted only: its IoU is 0 and counts, its accuracy does not exist. Class 2 is nowhere.
    scores = scores_from_matrix([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert scores["mean_accuracy"] == 3 / 4
    assert scores["mean_iou"] == (3 / 4 + 0) / 2
    assert math.isnan(scores["accuracy/1"]) and math.isnan(scores["iou/2"])
    assert all(math.isnan(value) for value in scores_from_matrix(np.zeros((2, 2), int)).values())


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`matrix.shape`"):
        scores_from_matrix(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`matrix` must be counts"):
        scores_from_matrix([[1, -1], [0, 1]])
    with pytest.raises(ValueError, match="`class_names` must be 2 names"):
        scores_from_matrix(np.eye(2), ["a"])
