"""Average precision: a loop as second way, worked examples, both averages, empty images, real nuclei."""

import numpy as np
import pytest
from PIL import Image

from keras_seg.metrics import average_precision
from keras_seg.metrics.instances import THRESHOLDS, instance_overlaps

pytestmark = pytest.mark.tf_only


def random_instances(seed, shape=(40, 50), count=12):
    """Overlapping rectangles painted over one another, with ids that are not 1..n."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for identity in rng.choice(np.arange(3, 900), count, replace=False):
        y, x = rng.integers(0, shape[0] - 8), rng.integers(0, shape[1] - 8)
        labels[y : y + rng.integers(4, 9), x : x + rng.integers(4, 9)] = identity
    return labels


def shaken(labels, seed):
    """The same instances, each moved by up to a pixel, some lost."""
    rng = np.random.default_rng(seed)
    moved = np.zeros_like(labels)
    for identity in np.unique(labels)[1:]:
        if rng.random() < 0.8:
            mask = np.roll(labels == identity, rng.integers(-1, 2, 2), axis=(0, 1))
            moved[mask] = identity + 1000
    return moved


def by_loops(truth, predicted, threshold):
    """TP, FP and FN by masks and greedy one-to-one matching, best IoU first."""
    true_ids, predicted_ids = (list(np.unique(labels[labels > 0])) for labels in (truth, predicted))
    pairs = []
    for t in true_ids:
        for p in predicted_ids:
            a, b = truth == t, predicted == p
            pairs.append(((a & b).sum() / (a | b).sum(), t, p))
    used = set()
    hits = 0
    for iou, t, p in sorted(pairs, reverse=True):
        if iou > threshold and ("t", t) not in used and ("p", p) not in used:
            used |= {("t", t), ("p", p)}
            hits += 1
    return hits, len(predicted_ids) - hits, len(true_ids) - hits


def test_equals_loops_in_both_averages():
    truths = [random_instances(seed) for seed in range(4)]
    predictions = [shaken(labels, seed) for seed, labels in enumerate(truths)]
    by_objects, by_images = (
        average_precision(truths, predictions),
        average_precision(truths, predictions, average="images"),
    )
    for threshold in THRESHOLDS:
        counts = np.array([by_loops(*pair, threshold) for pair in zip(truths, predictions, strict=True)])
        name = f"ap{round(100 * threshold)}"
        hits, false, missed = counts.sum(axis=0)
        assert by_objects[name] == pytest.approx(hits / (hits + false + missed), rel=1e-12)
        assert by_images[name] == pytest.approx((counts[:, 0] / counts.sum(axis=1)).mean(), rel=1e-12)
    assert 0 < by_objects["ap95"] < by_objects["ap50"] < 1
    for scores in (by_objects, by_images):
        assert list(scores) == [f"ap{percent}" for percent in range(50, 100, 5)] + ["ap"]
        assert scores["ap"] == pytest.approx(np.mean(list(scores.values())[:-1]), rel=1e-12)


def test_worked_by_hand():
    truth = np.zeros((10, 10), int)
    truth[0, :10] = 1
    predicted = np.zeros_like(truth)
    predicted[0, :7] = 5  # IoU 7/10, which is not above 0.7.
    predicted[5, 5] = 6  # False.
    scores = average_precision([truth], [predicted])
    assert [scores[f"ap{percent}"] for percent in (50, 65, 70, 75)] == [1 / 2, 1 / 2, 0, 0]
    np.testing.assert_array_equal(instance_overlaps(truth, predicted), [[0.7, 0.0]])


def test_two_halves_do_not_match_one_whole():
    truth = np.ones((4, 10), int)
    predicted = np.repeat([[1, 2]], 5, axis=1) * np.ones((4, 1), int)
    predicted = np.sort(predicted, axis=1)
    assert average_precision([truth], [predicted])["ap50"] == 0.0


def test_ends_of_the_scale_and_any_ids():
    truth = random_instances(7)
    renamed = np.where(truth > 0, 70000 - truth, 0).astype(np.uint32)
    assert set(average_precision([truth], [renamed]).values()) == {1.0}
    assert set(average_precision([truth], [np.zeros_like(truth)]).values()) == {0.0}
    assert set(average_precision([np.zeros_like(truth)], [truth]).values()) == {0.0}


def test_images_without_instances():
    full, empty = random_instances(8), np.zeros((40, 50), int)
    assert average_precision([empty], [empty])["ap"] == 1.0
    lost = [full, empty], [empty, empty]
    assert average_precision(*lost)["ap"] == 0.0
    assert average_precision(*lost, average="images")["ap"] == 0.5


@pytest.mark.data
def test_real_nuclei_score_exactly_one_against_themselves(real_data):
    paths = sorted((real_data / "nuclei" / "instances").glob("*.png"))[:8]
    truths = [np.asarray(Image.open(path)).astype("uint16") for path in paths]
    assert set(average_precision(truths, truths).values()) == {1.0}
    assert 0 < average_precision(truths, [shaken(truth.astype(int), 0) for truth in truths])["ap"] < 1


def test_bad_arguments_are_named():
    labels = random_instances(9)
    with pytest.raises(ValueError, match="`predictions` must be as many"):
        average_precision([labels], [])
    with pytest.raises(ValueError, match="`thresholds` must be floats within 0.5..1"):
        average_precision([labels], [labels], thresholds=[0.3])
    with pytest.raises(ValueError, match="`average`"):
        average_precision([labels], [labels], average="pixels")
    with pytest.raises(TypeError, match="`truths` must be label maps of integers"):
        average_precision([labels / 2], [labels])
    with pytest.raises(ValueError, match="their truths' shapes"):
        average_precision([labels], [labels[1:]])
    with pytest.raises(ValueError, match=r"label maps \(H, W\)"):
        average_precision([labels[None]], [labels[None]])
