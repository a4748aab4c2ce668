"""Augmentation: image and mask move together, values and labels survive, the seed decides all."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_seg.data import Augmentation
from keras_seg.data.augmentation import PRESETS, find_augmentation

from .files import class_mask, color_image

pytestmark = pytest.mark.tf_only

MOVES = {
    "flips": Augmentation(flip_horizontal=True, flip_vertical=True),
    "shift": Augmentation(shift=9),
    "rotation": Augmentation(rotation=180),
    "scale": Augmentation(scale=(0.5, 2)),
    "elastic": Augmentation(elastic_sigma=4),
    "all": Augmentation(True, True, rotation=45, scale=(0.7, 1.4), shift=5, elastic_sigma=3),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("crop_size", [None, (30, 42), (70, 90)])
def test_image_mask_and_weight_move_together(name, crop_size):
    """The image encodes its own rows and columns smoothly; the mask is made of them, before and after."""
    rows, columns = np.indices((50, 64)).astype("float32")
    image = np.stack([rows, columns, rows + columns], axis=-1)
    mask = (rows // 10 * 7 + columns // 10).astype("uint8")
    weight = mask.astype("float32") / 4
    for seed in range(6):
        moved, new_mask, new_weight = MOVES[name](image, mask, weight, seed=(5, seed), crop_size=crop_size)
        size = crop_size or (50, 64)
        assert moved.shape == (*size, 3) and new_mask.shape == size
        moved, new_mask = moved.numpy(), new_mask.numpy()
        np.testing.assert_array_equal(new_weight, new_mask.astype("float32") / 4)
        # The nearest pixel is at most half a pixel from the place that the image's values tell.
        told = [np.floor((moved[..., axis] + move) / 10) for axis in (0, 1) for move in (-0.501, 0.501)]
        tens = new_mask // 7, new_mask % 7
        for axis in (0, 1):
            assert (told[2 * axis] <= tens[axis]).all() and (tens[axis] <= told[2 * axis + 1]).all()


@pytest.mark.parametrize("name", MOVES)
def test_labels_and_dtypes_stay(name):
    image, mask = color_image(0, (40, 50)), np.where(class_mask(0, (40, 50)) == 1, 11, 4).astype("uint8")
    for dtype in ("uint8", "float32"):
        moved, new_mask = MOVES[name](image.astype(dtype), mask, seed=(0, 1), crop_size=(60, 30))
        assert moved.dtype == dtype and new_mask.dtype == tf.uint8
        assert set(np.unique(new_mask)) == {4, 11}


def test_flips_shifts_and_crops_copy_pixels():
    image, mask = color_image(0, (20, 30)), class_mask(0, (20, 30))
    augmentation = Augmentation(True, True, shift=7)
    padded = np.pad(image, ((40, 40), (40, 40), (0, 0)), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (15, 12, 3))[:, :, 0]
    for seed in range(5):
        moved, new_mask = augmentation(image, mask, seed=(1, seed), crop_size=(15, 12))
        moved = moved.numpy()
        for turned in (moved, moved[::-1], moved[:, ::-1], moved[::-1, ::-1]):
            if (views == turned).all(axis=(2, 3, 4)).any():
                break
        else:
            raise AssertionError("no flip of the crop is a part of the image")
        assert new_mask.dtype == tf.uint8


def test_nothing_asked_nothing_changed():
    image, mask = color_image(), class_mask()
    for values in (
        Augmentation()(image, mask, seed=(0, 0)),
        Augmentation(rotation=1e-12)(image, mask, seed=(0, 0)),
    ):
        np.testing.assert_array_equal(values[0], image)
        np.testing.assert_array_equal(values[1], mask)
    np.testing.assert_array_equal(
        Augmentation()(image, mask, seed=(0, 0), crop_size=(6, 7), random_crop=False)[0], image[3:9, 5:12]
    )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("channels", [1, 3])
def test_direct_call_is_the_call_in_a_pipeline(name, channels):
    image, mask = color_image(0, (40, 50))[..., :channels], class_mask(0, (40, 50))
    preset = PRESETS[name]
    dataset = tf.data.Dataset.range(4).map(
        lambda position: preset(image, mask, seed=tf.stack([7, position]), crop_size=(24, 32))
    )
    different = set()
    for position, (moved, new_mask) in enumerate(dataset):
        direct, direct_mask = preset(image, mask, seed=(7, position), crop_size=(24, 32))
        # A graph may fuse products and sums: one grey value after rounding.
        assert np.abs(moved.numpy().astype(int) - direct.numpy()).max() <= 1
        assert (new_mask.numpy() == direct_mask.numpy()).mean() > 0.999
        different.add(moved.numpy().tobytes())
    assert len(different) == 4


def test_amounts_are_drawn_over_their_ranges():
    """Scale and angle read off three pixels' places in an image of coordinates."""
    size = 65
    rows, columns = np.indices((size, size)).astype("float32")
    image, mask = np.stack([rows, columns, rows], axis=-1), np.zeros((size, size), "uint8")
    augmentation = Augmentation(rotation=30, scale=(0.8, 1.25))
    call = tf.function(lambda seed: augmentation(image, mask, seed=seed, crop_size=(9, 9))[0])
    scales, angles = [], []
    for seed in range(300):
        places = call(tf.constant([3, seed], "int64")).numpy()
        step = (places[4, 8, :2] - places[4, 0, :2]) / 8
        scales.append(1 / np.hypot(*step))
        angles.append(np.degrees(np.arctan2(step[0], step[1])))
    assert 0.8 - 1e-4 < min(scales) < 0.82 and 1.22 < max(scales) < 1.25 + 1e-4
    assert -30.01 < min(angles) < -28 and 28 < max(angles) < 30.01
    # Uniform in the logarithm and in the angle: means within five standard errors of 0.
    assert abs(np.mean(np.log(scales))) < 5 * np.log(1.25) / np.sqrt(3 * 300)
    assert abs(np.mean(angles)) < 5 * 30 / np.sqrt(3 * 300)


def test_elastic_displacements_have_the_asked_sigma():
    size = 201
    rows, columns = np.indices((size, size)).astype("float32")
    image, mask = np.stack([rows, columns, rows], axis=-1), np.zeros((size, size), "uint8")
    augmentation = Augmentation(elastic_sigma=10)
    call = tf.function(lambda seed: augmentation(image, mask, seed=seed)[0][100, 100])
    # The middle of the crop is a point of the grid, so its displacement is one normal vector.
    moves = np.array([call(tf.constant([0, seed], "int64")).numpy()[:2] - 100 for seed in range(400)])
    assert abs(moves.std() - 10) < 5 * 10 / np.sqrt(2 * 800)
    assert abs(moves.mean()) < 5 * 10 / np.sqrt(800)
    assert abs(np.corrcoef(moves.T)[0, 1]) < 5 / np.sqrt(400)


def test_color_changes_only_the_image():
    image, mask = color_image(0, (40, 50)), class_mask(0, (40, 50))
    augmentation = Augmentation(brightness=0.2, contrast=0.3, gamma=0.3, saturation=0.3, hue=10)
    changed, new_mask = augmentation(image, mask, seed=(0, 3))
    assert changed.dtype == tf.uint8 and (changed.numpy() != image).mean() > 0.8
    np.testing.assert_array_equal(new_mask, mask)


def test_names_and_arguments():
    assert find_augmentation(None) is None and find_augmentation(False) is None
    assert find_augmentation(True) == PRESETS["default"]
    assert find_augmentation("road") is PRESETS["road"]
    own = Augmentation(shift=3)
    assert find_augmentation(own) is own
    assert Augmentation(**dataclasses.asdict(own)) == own
    with pytest.raises(ValueError, match="`augment` must be one of 'light', 'road', 'microscopy', 'paper'"):
        find_augmentation("strong")
    with pytest.raises(TypeError, match="`augment` must be None, True, a preset's name or an Augmentation"):
        find_augmentation(0.5)
    with pytest.raises(ValueError, match="`rotation` must be a number within"):
        Augmentation(rotation=-1)
    with pytest.raises(ValueError, match=r"`scale` must be a pair \(low, high\), 0 < low <= high"):
        Augmentation(scale=(2, 1))
    with pytest.raises(TypeError, match=r"`scale` must be a pair"):
        Augmentation(scale=1.5)
    with pytest.raises(ValueError, match="`elastic_grid` must be an integer of at least 2"):
        Augmentation(elastic_grid=1)
