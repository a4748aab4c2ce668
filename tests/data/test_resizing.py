"""Resizing by area: exact means, also of boxes between pixels."""

import numpy as np
import pytest

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
