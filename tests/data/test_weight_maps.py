"""Weight maps against brute force over every pixel and cell."""

import time

import numpy as np
import pytest

from keras_seg.data import border_weight_map, open_source
from keras_seg.data.weight_maps import class_balance, median_frequency_weights

pytestmark = pytest.mark.tf_only


def brute_force(instances, w0, sigma):
    """Equation 2's second term on background pixels, by the distance to every pixel of every cell."""
    rows, columns = np.indices(instances.shape)
    distances = []
    for number in np.unique(instances[instances > 0]):
        cell = np.argwhere(instances == number)
        distances.append(
            np.sqrt((rows[..., None] - cell[:, 0]) ** 2 + (columns[..., None] - cell[:, 1]) ** 2).min(axis=-1)
        )
    first, second = np.sort(distances, axis=0)[:2]
    return np.where(instances == 0, w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2)), 0)


@pytest.mark.parametrize("w0, sigma", [(10, 5), (3, 1.5)])
def test_border_term_is_brute_force(w0, sigma):
    random = np.random.default_rng(0)
    instances = np.zeros((33, 41), "uint16")
    for number in range(1, 9):
        row, column = random.integers(0, 28, 2)
        part = instances[row : row + random.integers(2, 9), column : column + random.integers(2, 9)]
        part[part == 0] = 3 * number
    weights = border_weight_map(instances, w0, sigma, balance=False)
    assert weights.dtype == np.float32
    # float32 of numbers up to w0 + 1, and the 1e-6 that is left out.
    np.testing.assert_allclose(weights, 1 + brute_force(instances, w0, sigma), rtol=1e-6, atol=2e-6)


def test_binary_masks_have_components_for_cells():
    mask = np.zeros((20, 30), "uint8")
    mask[4:10, 4:12] = 1
    mask[4:10, 14:25] = 1
    mask[12:18, 4:25] = 1
    instances = mask.astype("int32")
    instances[4:10, 14:25] = 2
    instances[12:18] *= 3
    expected = border_weight_map(instances)
    np.testing.assert_array_equal(border_weight_map(mask), expected)
    np.testing.assert_array_equal(border_weight_map(mask > 0), expected)
    np.testing.assert_array_equal(border_weight_map(mask * 255), expected)


def test_value_by_hand():
    """Two columns between two cells: d1 + d2 = 3 in both."""
    mask = np.ones((8, 12), bool)
    mask[:, 5:7] = False
    weights = border_weight_map(mask, w0=10, sigma=5, balance=False)
    np.testing.assert_allclose(weights[:, 5:7], 1 + 10 * np.exp(-9 / 50), rtol=1e-6)
    np.testing.assert_array_equal(weights[mask], 1)
    balanced = border_weight_map(mask, w0=0)
    np.testing.assert_allclose(balanced[mask], 96 / (2 * 80), rtol=1e-6)
    np.testing.assert_allclose(balanced[~mask], 96 / (2 * 16), rtol=1e-6)


@pytest.mark.parametrize("mask", [np.zeros((5, 6), int), np.ones((5, 6), int), np.eye(1, 6, dtype=int)])
def test_fewer_than_two_cells_have_no_border(mask):
    np.testing.assert_array_equal(border_weight_map(mask, balance=False), 1)


def test_balance_gives_classes_equal_sums():
    classes = np.random.default_rng(0).choice([0, 1, 2, 7], (40, 50), p=[0.7, 0.2, 0.05, 0.05])
    weights = class_balance(classes, ignore_class=7)
    sums = [weights[classes == value].sum() for value in (0, 1, 2)]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-5)
    assert weights[classes != 7].mean() == pytest.approx(1, rel=1e-5)
    assert (weights[classes == 7] == 0).all()


def test_median_frequency():
    weights = median_frequency_weights(np.array([60, 30, 0, 10]), np.array([100, 100, 0, 50]))
    np.testing.assert_allclose(weights, [0.3 / 0.6, 1, 0, 0.3 / 0.2])


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"mask_or_instances.shape` must be \(H, W\), 2 axes"):
        border_weight_map(np.zeros((3, 4, 1), int))
    with pytest.raises(TypeError, match="`mask_or_instances` must be an array of integers"):
        border_weight_map(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="`sigma` must be a positive number"):
        border_weight_map(np.zeros((3, 4), int), sigma=0)


@pytest.mark.data
def test_a_whole_slice_takes_under_a_second(real_data):
    mask = open_source(f"isbi:{real_data}/isbi2012").read(0)[1]
    start = time.process_time()
    weights = border_weight_map(mask)
    assert time.process_time() - start < 1
    assert 8 < weights[mask == 0].max() < 13
    assert weights[mask == 1].max() < 1
