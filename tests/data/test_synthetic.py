"""Drawn shapes: known truth, the same on every run, any number of classes."""

import hashlib

import numpy as np
import pytest

from keras_seg.data import DataError, open_source
from keras_seg.data.synthetic import ShapesSource

pytestmark = pytest.mark.tf_only


def test_same_index_same_image():
    source, again = ShapesSource(5, seed=3), ShapesSource(9, seed=3)
    for index in range(5):
        for one, other in zip(source.read(index), again.read(index), strict=True):
            np.testing.assert_array_equal(one, other)
    digests = {hashlib.sha1(source.read(index)[0]).hexdigest() for index in range(5)}
    digests |= {hashlib.sha1(ShapesSource(5, seed=4).read(index)[0]).hexdigest() for index in range(5)}
    assert len(digests) == 10


@pytest.mark.parametrize("num_classes", [2, 7, 8, 40, 255])
def test_any_number_of_classes(num_classes):
    source = ShapesSource(150 if num_classes > 40 else 40, 48, num_classes)
    masks = np.stack([source.read(index)[1] for index in range(len(source))])
    assert masks.dtype == np.uint8 and masks.max() < num_classes
    assert len(np.unique(masks)) > 0.9 * num_classes
    assert len(set(source.class_names)) == source.num_classes == len(source.colors) == num_classes


def test_truth_fits_the_picture():
    """Pixels of a class differ in colour from the ground, which is nearly grey."""
    source = ShapesSource(20, (96, 130), 4)
    for index in range(20):
        image, mask = source.read(index)
        assert image.shape == (96, 130, 3) and image.dtype == np.uint8
        spread = image.max(axis=-1).astype(int) - image.min(axis=-1)
        assert np.median(spread[mask > 0]) > 2 * np.median(spread[mask == 0])


def test_instances_agree_with_the_mask():
    source = ShapesSource(20, 96, 5)
    for index in range(20):
        instances, mask = source.read_instances(index), source.read(index)[1]
        np.testing.assert_array_equal(instances > 0, mask > 0)
        numbers = np.unique(instances[instances > 0])
        np.testing.assert_array_equal(numbers, np.arange(1, len(numbers) + 1))
        for number in numbers:
            assert len(np.unique(mask[instances == number])) == 1


def test_specs():
    assert len(open_source("shapes")) == len(open_source("shapes:")) == 200
    assert len(open_source("shapes:7")) == 7
    source = open_source("shapes:count=3,size=40x56,num_classes=9,seed=5")
    assert source.read(2)[0].shape == (40, 56, 3) and source.num_classes == 9 and len(source) == 3
    for text in ("colour=3", "count=many", "size=1x2x", "count=-3"):
        with pytest.raises(
            DataError, match=f"`{text}` in shapes:{text} is not understood. Write shapes:COUNT"
        ):
            open_source(f"shapes:{text}")
    with pytest.raises(ValueError, match="`num_classes` must be an integer of at least 2"):
        open_source("shapes:num_classes=1")
    with pytest.raises(ValueError, match="`num_classes` must be at most 255"):
        open_source("shapes:num_classes=256")


def test_radius():
    small, large = (
        open_source(f"shapes:count=4,size=128,radius={part}") for part in ("0.02x0.03", "0.3x0.4")
    )
    assert (small.read(0)[1] > 0).mean() < 0.02 < 0.2 < (large.read(0)[1] > 0).mean()
    for wrong in ("0.2", "0.3x0.2", "axb", "0x2"):
        with pytest.raises(ValueError, match="radius"):
            open_source(f"shapes:radius={wrong}")
