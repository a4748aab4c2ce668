"""Pasting a mask at a time: the same pixels as the op that pastes all, and memory that does not grow."""

import tracemalloc

import keras
import numpy as np
import pytest

from keras_seg import ops
from keras_seg.inference import paste_masks
from keras_seg.inference.mask_pasting import PastedMasks

SIZE = (60, 80)


def soft_masks(count, size=28, seed=0):
    return np.random.default_rng(seed).random((count, size, size), "float32")


def boxes_everywhere(count, seed=1):
    """Inside, across every edge, and wholly outside."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform((-30, -30), (SIZE[1] + 10, SIZE[0] + 10), (count, 2))
    return np.concatenate([corners, corners + rng.uniform(0.3, 70, (count, 2))], axis=1).astype("float32")


@pytest.mark.parametrize("mask_size", [14, 28])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_the_same_pixels_as_the_op(mask_size, threshold):
    masks, boxes = soft_masks(40, mask_size), boxes_everywhere(40)
    values = keras.ops.convert_to_numpy(ops.paste_masks(masks[None], boxes[None], SIZE))[0]
    pasted = paste_masks(masks, boxes, SIZE, threshold)
    assert pasted.dtype == bool and pasted.shape == values.shape
    # Where a value is the threshold up to rounding, either answer is right.
    decided = np.abs(values - threshold) > 1e-6
    assert decided.mean() > 0.999
    np.testing.assert_array_equal(pasted[decided], (values >= threshold)[decided])
    assert 0 < pasted.sum() < pasted.size / 2


def test_a_window_holds_all_that_is_above_zero():
    masks, boxes = np.ones((30, 7, 7)), boxes_everywhere(30, seed=3)
    values = keras.ops.convert_to_numpy(ops.paste_masks(masks[None], boxes[None], SIZE))[0]
    pasted = PastedMasks(masks, boxes, SIZE, 1e-6)
    for index, mask in enumerate(pasted):
        (top, left), (height, width) = pasted.origins[index], pasted.sizes[index]
        assert mask.shape == (height, width)
        outside = values[index].copy()
        outside[top : top + height, left : left + width] = 0
        assert outside.max() == 0


def test_boxes_that_hold_no_pixel_give_empty_masks():
    boxes = [[5, 5, 5, 9], [7, 7, 3, 3], [200, 3, 220, 9], [np.nan, 0, 4, 4], [0, 0, np.inf, 9]]
    pasted = PastedMasks(np.ones((5, 28, 28)), boxes, SIZE)
    assert [mask.sum() for mask in pasted] == [0] * 5
    assert paste_masks(np.ones((5, 28, 28)), boxes, SIZE).sum() == 0
    assert paste_masks(np.ones((0, 28, 28)), np.zeros((0, 4)), SIZE).shape == (0, *SIZE)


def test_a_sequence_of_masks_can_be_cut_and_chosen():
    pasted = PastedMasks(soft_masks(5), [[4, 4, 20 + k, 30] for k in range(5)], SIZE)
    assert [mask.shape for mask in pasted[1:3]] == [pasted[1].shape, pasted[2].shape]
    np.testing.assert_array_equal(pasted[-1], pasted[4])
    chosen = pasted.take(np.array([3, 0]))
    np.testing.assert_array_equal(chosen[0], pasted[3])
    np.testing.assert_array_equal(chosen.origins, pasted.origins[[3, 0]])
    with pytest.raises(IndexError):
        pasted[5]


@pytest.mark.tf_only
def test_memory_is_that_of_one_mask():
    size = (3000, 2000)
    pasted = PastedMasks(soft_masks(20), np.tile([[0, 0, 2000, 3000]], (20, 1)), size)
    tracemalloc.start()
    covered = sum(int(mask.sum()) for mask in pasted)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert covered > 20 * 1e6
    # Two bool masks, the last and the next, and a chunk of float32 and its comparison: not 20 x 6 MB.
    assert peak < 20e6


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((28, 28)), [[0, 0, 4, 4]], SIZE), r"\(D, m, n\), 3 axes"),
        ((np.ones((2, 28, 28)), [[0, 0, 4, 4]], SIZE), "one box for each mask"),
        ((np.ones((1, 28, 28)), [[0, 0, 4, 4]], SIZE, 1.5), "`threshold` must be a number within"),
        ((np.ones((1, 28, 28)), [[0, 0, 4, 4]], (0, 4)), "`image_size` must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        paste_masks(*arguments)
