"""Crops of boxes: exact at whole pixels, black beyond the border, masks without new values."""

import numpy as np
import pytest

from keras_seg.data.box_crops import crop_box, crop_box_mask, enlarged

pytestmark = pytest.mark.tf_only


def picture(channels=3, dtype="uint8"):
    return np.random.default_rng(0).integers(0, 256, (20, 30, channels)).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_box_of_its_own_size_is_the_pixels(channels, dtype):
    image = picture(channels, dtype)
    np.testing.assert_array_equal(crop_box(image, (4, 2, 14, 12), 10), image[2:12, 4:14])


def test_beyond_the_border_is_fill():
    image = picture()
    crop = crop_box(image, (-5, -4, 5, 6), 10)
    assert not crop[:4].any()
    assert not crop[:, :5].any()
    np.testing.assert_array_equal(crop[4:, 5:], image[:6, :5])
    assert (crop_box(image, (100, 100, 110, 110), 4, fill=7) == 7).all(), "a box that misses the image"


def test_enlarging_is_bilinear_with_half_pixel_centres():
    ramp = np.repeat((np.arange(20, dtype="float32") * 8)[None, :, None], 20, axis=0)
    crop = crop_box(ramp, (4, 4, 14, 14), 40)
    centres = 4 + (np.arange(40) + 0.5) / 4 - 0.5
    # Pillow weights the pixels of the box alone, so the outer half pixel holds the edge's value.
    np.testing.assert_allclose(crop[5, :, 0], 8 * centres.clip(4, 13), atol=1e-3)


def test_shrinking_is_a_mean():
    checks = np.indices((20, 20)).sum(0) % 2 * 200.0
    crop = crop_box(checks[..., None].astype("float32"), (0, 0, 20, 20), 5)
    np.testing.assert_allclose(crop[1:-1, 1:-1], 100, atol=1)


def test_masks_keep_their_values():
    mask = np.random.default_rng(0).choice([0, 3, 255], (20, 30)).astype("uint8")
    crop = crop_box_mask(mask, (3.3, -2.2, 17.7, 9.9), (50, 61), fill=255)
    assert crop.dtype == np.uint8
    assert crop.shape == (50, 61)
    assert set(np.unique(crop)) <= {0, 3, 255}
    np.testing.assert_array_equal(crop_box_mask(mask, (4, 2, 14, 12), 10), mask[2:12, 4:14])
    doubled = crop_box_mask(mask, (4, 2, 14, 12), 20)
    np.testing.assert_array_equal(doubled, mask[2:12, 4:14].repeat(2, 0).repeat(2, 1))


def test_enlarged():
    np.testing.assert_allclose(enlarged([[10, 20, 30, 60]], 1.5), [[5, 10, 35, 70]])


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (0, 0, np.nan, 4), (0, 0, -1, 5)])
def test_errors(box):
    with pytest.raises(ValueError, match="`box` must be"):
        crop_box(picture(), box, 8)
