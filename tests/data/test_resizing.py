"""Resizing by area: exact means, also of boxes between pixels."""

import numpy as np
import pytest
from PIL import Image

from keras_seg.data.resizing import resize_areas, resize_image

pytestmark = pytest.mark.tf_only


def test_whole_factors_are_plain_means():
    mask = np.random.default_rng(0).random((12, 20)) < 0.5
    expected = mask.reshape(4, 3, 5, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_areas(mask, (4, 5)), expected, atol=1e-6)
    np.testing.assert_array_equal(resize_areas(mask, (12, 20)), mask)
    np.testing.assert_allclose(resize_areas(mask, (24, 40)), np.kron(mask, np.ones((2, 2))), atol=1e-6)


@pytest.mark.parametrize("box", [None, (1.25, 2.5, 17.75, 11), (3, 3, 3.5, 4), (-2, -3, 25, 14)])
@pytest.mark.parametrize("size", [(7, 5), (56, 56)])
def test_equal_the_mean_of_fine_pixels(box, size):
    mask = np.random.default_rng(1).random((12, 20)) < 0.5
    x1, y1, x2, y2 = (0, 0, 20, 12) if box is None else box
    # Many samples inside each bin, of the mask and zeros around it.
    padded, finer = np.pad(mask, 8), 40
    ys = y1 + (np.arange(size[0] * finer) + 0.5) * (y2 - y1) / (size[0] * finer)
    xs = x1 + (np.arange(size[1] * finer) + 0.5) * (x2 - x1) / (size[1] * finer)
    samples = padded[np.floor(ys).astype(int)[:, None] + 8, np.floor(xs).astype(int) + 8]
    expected = samples.reshape(size[0], finer, size[1], finer).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_areas(mask, size, box), expected, atol=0.03)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_image_of_any_channels(channels, dtype):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, channels)).astype(dtype)
    np.testing.assert_array_equal(resize_image(image, (9, 11)), image)
    np.testing.assert_array_equal(resize_image(image, (4, 5), (2, 3, 7, 7)), image[3:7, 2:7])
    smaller = resize_image(image, (3, 4))
    assert smaller.shape == (3, 4, channels) and smaller.dtype == dtype
    assert abs(smaller.astype(float).mean() - image.astype(float).mean()) < 12


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("float32", 2)])
def test_an_image_is_turned_after_it_is_resized(dtype, channels, transpose, flips):
    image = np.random.default_rng(0).integers(0, 256, (40, 30, channels)).astype(dtype)
    upright = resize_image(image, (9, 17), (3.5, 2, 21, 33.25))
    expected = upright.swapaxes(0, 1) if transpose else upright
    expected = expected[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    turned = resize_image(image, (9, 17), (3.5, 2, 21, 33.25), transpose, flips)
    np.testing.assert_array_equal(turned, expected)


@pytest.mark.parametrize("size", [(7, 5), (50, 90), (200, 300)], ids=["smaller", "like", "larger"])
@pytest.mark.parametrize("box", [(100.3, 50.7, 190.1, 101.2), (0, 0, 33.3, 20), (250.5, 180, 300, 200)])
def test_what_lies_far_from_the_box_is_not_read(size, box):
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype("uint8")
    whole = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, box=box))
    part = resize_image(image, size, box)
    # Pillow has boxes in float32: 4e-6 pixels at 100 are up to 1e-3 grey levels in each of two roundings.
    assert np.abs(part.astype(int) - whole).max() <= 2
    assert (part != whole).mean() < 0.03
