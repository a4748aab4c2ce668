"""EM scores: scikit-image as a second way, the truth against itself, merges, splits, noise, thin borders."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import find_boundaries

from keras_seg.metrics import neurite_scores, pixel_error, thin_borders, v_info, v_rand
from keras_seg.metrics.partitions import information_score, rand_score, segment_overlaps

pytestmark = pytest.mark.tf_only


def two_by_two_cells(size=41, width=3):
    """Four cells parted by a cross of membranes `width` pixels wide that reaches the border."""
    cells = np.ones((size, size), np.uint8)
    middle = slice(size // 2 - width // 2, size // 2 + width // 2 + 1)
    cells[middle] = 0
    cells[:, middle] = 0
    return cells


def random_labels(seed, classes, shape=(30, 40)):
    """Blobs, with background 0."""
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    return np.argmax(ndimage.gaussian_filter(noise, (0, 3, 3)), axis=0)


def test_rand_equals_scikit_image_which_counts_pairs_of_distinct_pixels():
    truth, predicted = random_labels(0, 6), random_labels(1, 9) + 1
    overlaps = segment_overlaps(truth, predicted)
    n = np.count_nonzero(truth)
    by_pairs = 1 - adapted_rand_error(truth, predicted, ignore_labels=(0,))[0]
    # scikit-image leaves out each pixel's pair with itself: n of every sum.
    joint, first, second = (
        np.square(part).sum() for part in (overlaps.joint, overlaps.truth, overlaps.prediction)
    )
    assert 2 * (joint - n) / (first + second - 2 * n) == pytest.approx(by_pairs, rel=1e-12)
    assert rand_score([overlaps]) == 2 * joint / (first + second)


def test_information_equals_scikit_image():
    truth, predicted = random_labels(2, 6), random_labels(3, 9) + 1
    merges_and_splits = variation_of_information(truth, predicted, ignore_labels=(0,))
    foreground = truth > 0
    shares = [
        np.unique(part[foreground], return_counts=True)[1] / foreground.sum() for part in (truth, predicted)
    ]
    entropies = sum(-(share * np.log2(share)).sum() for share in shares)
    # VI = H(S) + H(T) - 2 I, so 2 I / (H(S) + H(T)) = 1 - VI / (H(S) + H(T)).
    expected = 1 - sum(merges_and_splits) / entropies
    assert information_score([segment_overlaps(truth, predicted)]) == pytest.approx(expected, rel=1e-9)


def test_rand_by_brute_force_with_pixels_in_no_segment():
    truth, predicted = random_labels(4, 4, (9, 8)), random_labels(5, 4, (9, 8))
    assert (predicted[truth > 0] == 0).any()
    pixels = [(s, t) for s, t in zip(truth.ravel(), predicted.ravel(), strict=True) if s > 0]
    # A pixel in no segment is its own: give it an id of its own.
    pixels = [(s, t if t > 0 else -index - 1) for index, (s, t) in enumerate(pixels)]
    joint = sum(a == b for a in pixels for b in pixels)
    first = sum(a[0] == b[0] for a in pixels for b in pixels)
    second = sum(a[1] == b[1] for a in pixels for b in pixels)
    assert rand_score([segment_overlaps(truth, predicted)]) == 2 * joint / (first + second)


def test_independent_partitions_share_no_information():
    truth = np.repeat([[1], [2]], 2, axis=1)
    predicted = np.repeat([[1, 2]], 2, axis=0)
    assert information_score([segment_overlaps(truth, predicted)]) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.data
def test_the_truth_scores_exactly_one_against_itself_on_every_real_slice(real_data):
    paths = sorted((real_data / "isbi2012" / "masks").glob("*.png"))
    assert paths
    for path in paths:
        truth = np.asarray(Image.open(path))
        scores = neurite_scores(truth, truth)
        assert (scores["v_rand"], scores["v_info"], scores["pixel_error"]) == (1.0, 1.0, 0.0), path


@pytest.mark.data
def test_scores_order_damage_on_a_real_slice(real_data):
    truth = np.asarray(Image.open(real_data / "isbi2012" / "masks" / "03.png"))[:256, :256] > 0
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=truth.shape), 2)
    smooth = ndimage.gaussian_filter(truth.astype(float), 1)
    scores = [neurite_scores(truth, np.clip(smooth + level * noise, 0, 1)) for level in (0, 1, 2, 4)]
    for name in ("v_rand", "v_info"):
        values = [score[name] for score in scores]
        assert 1 >= values[0] > values[1] > values[2] > values[3] > 0, values
    errors = [score["pixel_error"] for score in scores]
    assert 0 < errors[0] < errors[1] < errors[2] < errors[3] < 1, errors


@pytest.mark.data
def test_thicker_membranes_cost_pixels_but_hardly_any_rand(real_data):
    truth = np.asarray(Image.open(real_data / "isbi2012" / "masks" / "03.png"))[:256, :256] > 0
    thick = ndimage.binary_erosion(truth, iterations=2, border_value=1)
    scores = neurite_scores(truth, thick)
    assert scores["pixel_error"] > 0.05
    assert 0.98 < scores["v_rand"] < 1
    assert v_rand(truth, thick, thin=False) < scores["v_rand"] - 0.05


def test_a_merger_costs_more_the_larger_the_cells():
    truth = two_by_two_cells()
    gap = truth.copy()
    gap[5:8] = 1  # Opens the upper half of the vertical membrane.
    # Two of four equal cells merged: joint 4, truth 4, prediction 4 + 2, in squares of a cell.
    assert v_rand(truth, gap) == pytest.approx(4 / (4 / 2 + 6 / 2), rel=1e-12)
    assert v_rand(truth, np.ones_like(truth)) == pytest.approx(4 / (4 / 2 + 16 / 2), rel=1e-12)
    assert v_info(truth, np.ones_like(truth)) == pytest.approx(0.0, abs=1e-15)
    assert 1 > v_info(truth, gap) > 0


def test_a_split_costs():
    truth = np.ones((20, 21), np.uint8)
    truth[:, 10] = 0
    split = truth.copy()
    split[9, :10] = 0
    assert 0 < v_rand(truth, split) < 1
    assert 0 < v_info(truth, split) < 1


def test_all_membrane_scores_near_zero():
    truth = two_by_two_cells()
    n = np.count_nonzero(truth)
    # Every pixel alone: joint n, prediction n, truth 4 (n / 4)^2.
    assert v_rand(truth, np.zeros(truth.shape)) == pytest.approx(2 * n / (n + n**2 / 4), rel=1e-12)


def test_the_best_threshold_counts_and_uint8_is_a_probability():
    truth = two_by_two_cells()
    probability = np.where(truth > 0, 0.95, 0.75)
    scores = neurite_scores(truth, probability)
    assert (scores["v_rand"], scores["v_rand_threshold"], scores["pixel_error"]) == (1.0, 0.8, 0.0)
    assert neurite_scores(truth, (255 * probability).astype("uint8")) == scores
    assert v_rand(truth, probability, thresholds=[0.5]) < 1


def test_a_stack_has_one_threshold_sums_pairs_and_averages_information():
    truth = two_by_two_cells()
    first, second = np.where(truth > 0, 0.95, 0.75), np.where(truth > 0, 0.35, 0.15)
    stack = np.stack([truth, truth])
    assert v_rand(truth, first) == v_rand(truth, second) == 1.0
    # At 0.2 the first slice is all cell; at 0.8, which is better, the second is all membrane.
    m = np.count_nonzero(truth) // 4
    mixed = np.stack([first, second])
    assert v_rand(stack, mixed) == pytest.approx((4 * m**2 + 4 * m) / (4 * m**2 + (4 * m**2 + 4 * m) / 2))
    all_membrane = 2 * np.log(4) / (np.log(4) + np.log(4 * m))
    assert v_info(stack, mixed) == pytest.approx((1 + all_membrane) / 2, rel=1e-12)
    assert v_info(stack, mixed, thresholds=[0.2]) == pytest.approx((0 + 1) / 2, rel=1e-12)
    assert pixel_error(stack, np.stack([first, first])) == 0.0


def test_pixel_error_by_hand():
    truth = np.array([[1, 1, 1, 0, 0, 0]])
    predicted = np.array([[1, 1, 0, 1, 0, 0]])
    assert pixel_error(truth, predicted) == pytest.approx(1 - 2 / 3)


@pytest.mark.parametrize("width", [1, 3, 9])
def test_thin_borders_are_one_pixel_wide_and_reach_the_image_border(width):
    thin = thin_borders(two_by_two_cells(41, width))
    cross = np.ones((41, 41), bool)
    cross[20] = cross[:, 20] = False
    np.testing.assert_array_equal(thin, cross)


def test_thin_borders_keep_cells_apart_and_whole():
    cells = ~find_boundaries(random_labels(6, 12, (60, 70)), connectivity=1)
    before, after = label(cells, connectivity=1), label(thin_borders(cells), connectivity=1)
    assert before.max() == after.max() > 3
    pairs = np.unique(np.stack([before[cells], after[cells]]), axis=1)
    assert pairs.shape[1] == before.max()
    # No line is thick: a 2x2 block of line pixels would part nothing that a line does not.
    lines = after == 0
    blocks = lines[1:, 1:] & lines[:-1, 1:] & lines[1:, :-1] & lines[:-1, :-1]
    assert not blocks.any()


def test_thin_borders_without_cells_or_without_membranes():
    assert not thin_borders(np.zeros((4, 5))).any()
    assert thin_borders(np.ones((4, 5))).all()
    assert v_rand(np.ones((4, 5)), np.ones((4, 5))) == v_info(np.ones((4, 5)), np.ones((4, 5))) == 1.0


def test_bad_arguments_are_named():
    truth = two_by_two_cells()
    with pytest.raises(ValueError, match="`probability.shape`"):
        v_rand(truth, truth[1:])
    with pytest.raises(ValueError, match="`probability` must be within 0..1"):
        v_rand(truth, 2.0 * truth)
    with pytest.raises(ValueError, match="not NaN"):
        pixel_error(truth, np.full(truth.shape, np.nan))
    with pytest.raises(ValueError, match="`truth` must be a map with cells"):
        v_info(np.zeros((3, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="`thresholds`"):
        v_rand(truth, truth, thresholds=[])
    with pytest.raises(ValueError, match="at least one segment"):
        v_rand(np.stack([truth, 0 * truth]), np.stack([truth, truth]))
