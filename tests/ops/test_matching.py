"""Matching against torchvision's numbers and its rule as loops; sampling by counts and chi-square."""

import itertools

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as numbers
from keras.ops import convert_to_tensor
from scipy.stats import chi2

from keras_seg.ops import match_boxes, sample_balanced
from tests.ops.box_cases import BACKEND, every_way, gradient, random_boxes
from tests.ops.test_boxes import coverage, iou

ANCHORS = np.array(
    [[x, y, x + s, y + s] for s in (8, 16) for y in (0, 8, 16) for x in (0, 8, 16)], dtype="float32"
)
OBJECTS = np.array([[1, 1, 9, 9], [4, 8, 12, 16], [14, 14, 30, 30], [2.5, 3, 30, 28]], "float32")
# torchvision 0.29.2, models.detection._utils.Matcher, on these two: the row, -1 for negative, -2 for ignored.
TORCHVISION = {
    (0.3, 0.7, True): [0, -1, -1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1, 3, -2, -1, -2, 2],
    (0.3, 0.7, False): [-2, -1, -1, -2, -2, -1, -1, -1, -1, -1, -1, -1, -1, -2, -2, -1, -2, -2],
    (0.5, 0.5, False): [0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2],
}


def by_loops(boxes, gt_boxes, low, high, allow_low_quality, valid, crowd, crowd_threshold):
    """One image: rows and labels, in float64."""
    boxes, gt_boxes = boxes.astype("float64"), gt_boxes.astype("float64")
    objects = [row for row in range(len(gt_boxes)) if valid[row] and not crowd[row]]
    matches, labels = [], []
    best_of = {row: max(iou(box, gt_boxes[row]) for box in boxes) for row in objects}
    for box in boxes:
        overlaps = {row: iou(box, gt_boxes[row]) for row in objects}
        match = max(objects, key=lambda row: (overlaps[row], -row)) if objects else 0
        best = overlaps[match] if objects else 0.0
        label = 1 if objects and best >= high else -1 if objects and best >= low else 0
        if allow_low_quality and any(overlaps[row] == best_of[row] > 0 for row in objects):
            label = 1
        regions = [row for row in range(len(gt_boxes)) if valid[row] and crowd[row]]
        if label == 0 and any(coverage(box, gt_boxes[row]) > crowd_threshold for row in regions):
            label = -1
        matches.append(match)
        labels.append(label)
    return matches, labels


@pytest.mark.parametrize("low, high, allow_low_quality", TORCHVISION)
def test_equals_torchvision(low, high, allow_low_quality):
    expected = np.array(TORCHVISION[low, high, allow_low_quality])
    matches, labels = map(numbers, match_boxes(ANCHORS, OBJECTS, low, high, allow_low_quality))
    np.testing.assert_array_equal(labels, np.where(expected >= 0, 1, expected + 1))
    np.testing.assert_array_equal(matches[expected >= 0], expected[expected >= 0])


@pytest.mark.parametrize("allow_low_quality", [True, False])
def test_equals_loops_with_padding_and_crowds(allow_low_quality):
    boxes = random_boxes(60, side=40, seed=1)
    gt_boxes = random_boxes(3, 6, side=40, seed=2)
    boxes[:36] = np.tile(gt_boxes[:, :4].reshape(12, 4), (3, 1))
    boxes[:36] += np.random.default_rng(3).uniform(-1.5, 1.5, (36, 4))
    valid = np.array([[1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0]], bool)
    crowd = np.array([[0, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0]], bool)
    gt_boxes[crowd] = [0, 0, 45, 45]
    gt_boxes[2, 0] = boxes[0]  # a padding row that would match
    expected = [by_loops(boxes, *image, 0.5) for image in _images(gt_boxes, allow_low_quality, valid, crowd)]
    expected_matches, expected_labels = np.array(expected).transpose(1, 0, 2)
    assert all((expected_labels == label).sum() > 5 for label in (-1, 0, 1))
    # The second image has crowd regions among its padding alone, the third has one and no object.
    assert (expected_labels[2] == -1).any() and not (expected_labels[2] == 1).any()

    def match(boxes, gt_boxes, valid, crowd):
        return match_boxes(boxes, gt_boxes, 0.3, 0.6, allow_low_quality, valid, crowd, 0.5)

    ways = every_way(match, boxes, gt_boxes, valid, crowd, free_axes=(1, 2, 2, 2))
    for way, (matches, labels) in ways:
        assert matches.dtype == labels.dtype == "int32"
        np.testing.assert_array_equal(labels, expected_labels, err_msg=way)
        np.testing.assert_array_equal(matches, expected_matches, err_msg=way)


def _images(gt_boxes, allow_low_quality, valid, crowd):
    for gt, v, c in zip(gt_boxes, valid, crowd, strict=True):
        yield gt, 0.3, 0.6, allow_low_quality, v, c


def test_every_box_that_ties_for_the_best_of_an_object_is_positive():
    # Four boxes share a quarter of their area each with the object; the fifth shares less.
    boxes = np.array([[0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8], [6, 6, 10, 10]], "float32")
    objects = np.array([[2, 2, 6, 6]], "float32")
    for way, (_, labels) in every_way(
        lambda b, g: match_boxes(b, g, 0.3, 0.7, True), boxes, objects, free_axes=1
    ):
        np.testing.assert_array_equal(labels, [1, 1, 1, 1, 0], err_msg=way)


def test_a_low_quality_match_keeps_the_object_that_the_box_overlaps_most():
    # The only box is the best of both objects.
    matches, labels = match_boxes([[0, 0, 10, 10]], [[0, 0, 3, 3], [0, 0, 5, 5]], 0.3, 0.7, True)
    assert (int(matches[0]), int(labels[0])) == (1, 1)


def test_an_object_that_nothing_touches_makes_nothing_positive():
    _, labels = match_boxes(ANCHORS, [[100, 100, 120, 120], [5, 5, 5, 5]], 0.3, 0.7, True)
    np.testing.assert_array_equal(numbers(labels), 0)


def test_thresholds_are_inclusive_below():
    # IoU 0.5 exactly, then 0.25.
    boxes, objects = [[0, 0, 4, 2], [0, 0, 2, 2]], [[0, 0, 4, 4]]
    np.testing.assert_array_equal(numbers(match_boxes(boxes, objects, 0.25, 0.5)[1]), [1, -1])
    np.testing.assert_array_equal(numbers(match_boxes(boxes, objects, 0.26, 0.51)[1]), [-1, 0])


@pytest.mark.parametrize("allow_low_quality", [True, False])
def test_no_ground_truth_is_all_negative(allow_low_quality):
    def match(boxes, gt_boxes):
        return match_boxes(boxes, gt_boxes, 0.0, 0.5, allow_low_quality)

    for way, (matches, labels) in every_way(match, ANCHORS, np.zeros((2, 0, 4), "float32"), free_axes=(1, 2)):
        assert matches.shape == labels.shape == (2, len(ANCHORS)), way
        np.testing.assert_array_equal(labels, 0)
        np.testing.assert_array_equal(matches, 0)
    gt_boxes = np.repeat(ANCHORS[None, :3], 2, axis=0)
    matches, labels = match_boxes(
        ANCHORS, gt_boxes, 0.0, 0.5, allow_low_quality, gt_valid=np.zeros((2, 3), bool)
    )
    np.testing.assert_array_equal(numbers(labels), 0)
    np.testing.assert_array_equal(numbers(matches), 0)


def test_no_boxes():
    for gt_count in (0, 3):
        matches, labels = match_boxes(np.zeros((2, 0, 4)), np.zeros((2, gt_count, 4)), 0.3, 0.7, True)
        assert tuple(matches.shape) == tuple(labels.shape) == (2, 0)


def test_labels_carry_no_gradient():
    def total(boxes):
        matches, labels = match_boxes(boxes, OBJECTS, 0.3, 0.7, True)
        return keras.ops.sum(boxes) + keras.ops.cast(keras.ops.sum(matches + labels), "float32")

    np.testing.assert_array_equal(gradient(total, ANCHORS), 1.0)


def test_bad_matching_arguments_are_named():
    boxes, objects = random_boxes(2, 5), random_boxes(2, 3)
    with pytest.raises(ValueError, match=r"`boxes.shape` must be \(..., A, 4\).*\(2, 5, 5\)"):
        match_boxes(np.zeros((2, 5, 5)), objects, 0.3, 0.7)
    with pytest.raises(ValueError, match=r"`gt_boxes.shape` must be \(..., G, 4\).*\(4,\)"):
        match_boxes(boxes, np.zeros(4), 0.3, 0.7)
    with pytest.raises(ValueError, match="`gt_boxes` must have leading axes"):
        match_boxes(boxes, random_boxes(3, 3), 0.3, 0.7)
    with pytest.raises(ValueError, match="`low_threshold` must be at most `high_threshold`, 0.3.*0.7"):
        match_boxes(boxes, objects, 0.7, 0.3)
    with pytest.raises(ValueError, match="`high_threshold` must be a number within"):
        match_boxes(boxes, objects, 0.3, 1.2)
    with pytest.raises(TypeError, match="`crowd_threshold` must be a number"):
        match_boxes(boxes, objects, 0.3, 0.7, crowd_threshold=None)
    with pytest.raises(ValueError, match=r"`gt_valid.shape` must be \(2, 3\).*\(3,\)"):
        match_boxes(boxes, objects, 0.3, 0.7, gt_valid=np.ones(3, bool))
    with pytest.raises(ValueError, match="`gt_crowd` must have leading axes"):
        match_boxes(boxes, objects, 0.3, 0.7, gt_crowd=np.ones((2, 4), bool))


def some_labels(*shape, seed=0, positives=0.3, negatives=0.5):
    draws = np.random.default_rng(seed).random(shape)
    return np.where(draws < positives, 1, np.where(draws < positives + negatives, 0, -1)).astype("int32")


def check_sample(labels, indices, sampled, num_samples, positive_fraction):
    """One image: torchvision's counts, distinct rows of the right label, padding at the end."""
    positives = min((labels == 1).sum(), int(num_samples * positive_fraction))
    negatives = min((labels == 0).sum(), num_samples - positives)
    empty = num_samples - positives - negatives
    np.testing.assert_array_equal(sampled, [1] * positives + [0] * negatives + [-1] * empty)
    filled = indices[: num_samples - empty]
    assert len(set(filled.tolist())) == len(filled)
    np.testing.assert_array_equal(labels[filled], sampled[: num_samples - empty])
    np.testing.assert_array_equal(indices[num_samples - empty :], 0)


@pytest.mark.parametrize(
    "num_boxes, num_samples, positive_fraction",
    [
        (300, 64, 0.25),
        (100, 64, 0.5),
        (40, 64, 0.25),
        (30, 10, 0.0),
        (30, 10, 0.25),
        (30, 10, 1.0),
        (5, 4, 0.5),
        (0, 4, 0.5),
    ],
)
def test_counts_labels_and_padding(num_boxes, num_samples, positive_fraction):
    labels = some_labels(4, num_boxes, seed=1)
    labels[0] = np.abs(labels[0])  # nothing ignored
    labels[1] = np.minimum(labels[1], 0)  # no positives
    labels[2] = np.where(labels[2] == 0, -1, labels[2])  # no negatives
    labels[3, : num_boxes // 2] = -1

    def draw(labels):
        return sample_balanced(labels, num_samples, positive_fraction, seed=3)

    for way, (indices, sampled) in every_way(draw, labels):
        assert indices.dtype == sampled.dtype == "int32"
        assert indices.shape == sampled.shape == (4, num_samples), way
        for image in range(4):
            check_sample(labels[image], indices[image], sampled[image], num_samples, positive_fraction)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
def test_labels_of_any_integer_dtype_are_padded(dtype):
    """Fewer labels than samples: the padding is no label, also where the type has no -1."""
    indices, sampled = sample_balanced(np.array([0, 1, 0], dtype), 5, 0.5, seed=1)
    assert sorted(keras.ops.convert_to_numpy(sampled).tolist()) == [-1, -1, 0, 0, 1]
    assert keras.ops.convert_to_numpy(indices).max() < 3


def test_counts_equal_torchvision():
    # torchvision 0.29.2, BalancedPositiveNegativeSampler: (positives, negatives) drawn.
    few = np.repeat([1, 0, -1], [40, 300, 20])
    many = np.repeat([1, 0], [200, 300])
    for labels, num_samples, fraction, expected in [
        (few, 256, 0.5, (40, 216)),
        (few, 64, 0.25, (16, 48)),
        (few, 512, 0.25, (40, 300)),
        (many, 256, 0.5, (128, 128)),
        (many, 64, 0.25, (16, 48)),
        (many, 512, 0.25, (128, 300)),
    ]:
        sampled = numbers(sample_balanced(labels, num_samples, fraction, seed=0)[1])
        assert ((sampled == 1).sum(), (sampled == 0).sum()) == expected


def test_every_row_is_drawn_equally_often():
    draws, kinds = 4000, np.array([1, 0, 0, 1, -1, 1, 0, 0, 1, 0, 1, 0])
    indices, sampled = map(numbers, sample_balanced(np.tile(kinds, (draws, 1)), 5, 0.4, seed=7))
    for label, count in ((1, 2), (0, 3)):
        rows = np.flatnonzero(kinds == label)
        times = np.bincount(indices[sampled == label], minlength=len(kinds))[rows]
        assert times.sum() == draws * count
        # Drawn without replacement: a row's count has the variance draws * p * (1 - p), and the counts sum to
        # a constant, which the factor (n - 1) / n allows for.
        p, n = count / len(rows), len(rows)
        statistic = ((times - draws * p) ** 2).sum() / (draws * p * (1 - p)) * (n - 1) / n
        assert chi2.sf(statistic, n - 1) > 1e-3


def test_every_pair_of_rows_is_drawn_equally_often():
    draws, n = 4000, 5
    indices = numbers(sample_balanced(np.zeros((draws, n), "int32"), 2, 0.5, seed=8)[0])
    pairs = list(itertools.permutations(range(n), 2))
    times = np.array([(indices == pair).all(axis=1).sum() for pair in pairs])
    assert times.sum() == draws
    expected = draws / len(pairs)
    assert chi2.sf(((times - expected) ** 2 / expected).sum(), len(pairs) - 1) > 1e-3


def test_seeds():
    labels = some_labels(2, 200, seed=2)

    def draw(seed):
        return numbers(sample_balanced(labels, 32, 0.5, seed=seed)[0])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert not np.array_equal(draw(None), draw(None))
    first, second = keras.random.SeedGenerator(5), keras.random.SeedGenerator(5)
    draws = [draw(first), draw(first)]
    assert not np.array_equal(*draws)
    np.testing.assert_array_equal([draw(second), draw(second)], draws)
    # The images of a batch are drawn apart from each other.
    same = numbers(sample_balanced(np.tile(labels[0], (2, 1)), 32, 0.5, seed=1)[0])
    assert not np.array_equal(same[0], same[1])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a graph that is called twice: TensorFlow's alone")
def test_a_seed_generator_advances_inside_a_graph():
    import tensorflow as tf

    labels, generator = convert_to_tensor(some_labels(200, seed=2)), keras.random.SeedGenerator(5)
    for jit_compile in (False, True):
        draw = tf.function(lambda: sample_balanced(labels, 32, 0.5, generator)[0], jit_compile=jit_compile)
        assert not np.array_equal(numbers(draw()), numbers(draw()))


def test_bad_sampling_arguments_are_named():
    labels = np.zeros((2, 9), "int32")
    with pytest.raises(ValueError, match="`labels` must be integers.*float32"):
        sample_balanced(labels.astype("float32"), 4, 0.5)
    with pytest.raises(ValueError, match="`labels` must be integers of shape"):
        sample_balanced(np.int32(1), 4, 0.5)
    with pytest.raises(ValueError, match="`num_samples` must be an integer of at least 1"):
        sample_balanced(labels, 0, 0.5)
    with pytest.raises(TypeError, match="`num_samples` must be an integer"):
        sample_balanced(labels, 4.0, 0.5)
    with pytest.raises(ValueError, match="`positive_fraction` must be a number within"):
        sample_balanced(labels, 4, 1.5)
