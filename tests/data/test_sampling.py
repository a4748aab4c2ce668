"""Sampling and geometry on ramps, where every right answer is known."""

import numpy as np
import pytest
import tensorflow as tf

from keras_seg.data.geometry import crop_start, elastic_displacement, flipped_range, inverse_map
from keras_seg.data.sampling import bilinear, mirror, nearest, take

pytestmark = pytest.mark.tf_only

ROWS, COLUMNS = np.indices((7, 9)).astype("float32")
RAMP = np.stack([ROWS, COLUMNS], axis=-1)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_mirror_is_numpy_reflect(size, dtype):
    expected = np.pad(np.arange(size), 11, mode="reflect")
    np.testing.assert_array_equal(mirror(tf.range(-11, size + 11, dtype=dtype), size), expected)


def test_take_is_numpy_padding():
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), "uint8")
    padded = np.pad(image, ((4, 5), (6, 7), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(take(image, tf.range(-4, 12), tf.range(-6, 16)), padded)


def test_bilinear_reads_a_linear_image_exactly():
    random = np.random.default_rng(0)
    y, x = random.uniform(0, 6, (5, 6)).astype("float32"), random.uniform(0, 8, (5, 6)).astype("float32")
    # Two products and a sum of numbers below 8 in float32.
    np.testing.assert_allclose(bilinear(RAMP, y, x), np.stack([y, x], axis=-1), atol=4e-6)


def test_bilinear_is_scipy_with_mirrored_border():
    from scipy import ndimage

    random = np.random.default_rng(1)
    image = random.integers(0, 256, (7, 9, 2), "uint8")
    y, x = (random.uniform(-9, 15, (20, 30)).astype("float32") for _ in range(2))
    expected = [
        ndimage.map_coordinates(image[..., channel].astype("float64"), (y, x), order=1, mode="mirror")
        for channel in range(2)
    ]
    # Places near 15 have a spacing of 1e-6 in float32; the image's slope is at most 255 a pixel.
    np.testing.assert_allclose(bilinear(image, y, x), np.stack(expected, axis=-1), atol=255 * 4e-6)


def test_whole_places_copy_pixels():
    image = np.random.default_rng(2).integers(0, 256, (7, 9, 3), "uint8")
    np.testing.assert_array_equal(bilinear(image, ROWS, COLUMNS), image)
    mask = image[..., 0]
    moved = nearest(mask, ROWS + 0.4, COLUMNS - 0.4)
    assert moved.dtype == tf.uint8
    np.testing.assert_array_equal(moved, mask)


def test_one_pixel_is_enough():
    np.testing.assert_array_equal(bilinear(np.full((1, 1, 1), 7, "uint8"), ROWS - 3.3, COLUMNS * 1.7), 7)


def test_crop_start():
    draws = np.random.default_rng(0).uniform(0, 1, 2000).astype("float32")
    starts = [int(crop_start(draw, 9, 7, True)) for draw in draws]
    counts = np.bincount(starts, minlength=3)
    assert len(counts) == 3
    # Three equally likely places: six standard deviations, sqrt(2000 * 2 / 9) each.
    assert np.abs(counts - 2000 / 3).max() < 6 * np.sqrt(2000 * 2 / 9)
    assert int(crop_start(0.99, 9, 6, False)) == 1
    for random in (True, False):
        assert int(crop_start(0.99, 6, 9, random)) == -2
        assert int(crop_start(0.99, 9, 9, random)) == 0


def test_flipped_range():
    np.testing.assert_array_equal(flipped_range(3, 4, tf.constant(False)), [3, 4, 5, 6])
    np.testing.assert_array_equal(flipped_range(3, 4, tf.constant(True)), [6, 5, 4, 3])


def _map(flips=(False, False), scale=1.0, degrees=0.0, center=(3.0, 4.0), size=(7, 9), displacement=None):
    return inverse_map(
        size,
        center,
        [tf.constant(f) for f in flips],
        scale,
        tf.constant(np.radians(degrees), "float32"),
        displacement,
    )


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, RAMP),
        ({"flips": (True, False)}, RAMP[::-1]),
        ({"flips": (False, True)}, RAMP[:, ::-1]),
        ({"degrees": 90, "size": (9, 7)}, np.rot90(RAMP)),
        ({"degrees": -90, "size": (9, 7)}, np.rot90(RAMP, -1)),
        ({"degrees": 180}, np.rot90(RAMP, 2)),
        ({"center": (5.0, 3.0)}, RAMP + [2, -1]),
        ({"scale": 2.0}, [3, 4] + (RAMP - [3, 4]) / 2),
        ({"displacement": np.full((2, 7, 9), 1.5, "float32")}, RAMP + 1.5),
    ],
)
def test_inverse_map(arguments, expected):
    places = np.stack(_map(**arguments), axis=-1)
    # A right angle's cosine is 4e-8 in float32, times offsets up to 4.
    np.testing.assert_allclose(places, expected, atol=2e-6)


class TestElastic:
    def test_passes_through_the_grid(self):
        vectors = np.random.default_rng(0).normal(0, 10, (2, 3, 3)).astype("float32")
        field = elastic_displacement(vectors, (21, 31)).numpy()
        assert field.shape == (2, 21, 31)
        np.testing.assert_allclose(field[:, ::10, ::15], vectors, rtol=1e-5, atol=1e-5)

    def test_is_cubic_between(self):
        """Keys' kernel reproduces a quadratic where its four neighbours exist: inside a grid of five."""
        nodes = np.arange(5, dtype="float32")
        vectors = np.broadcast_to((nodes**2)[None, :, None], (2, 5, 5)).astype("float32")
        field = elastic_displacement(vectors, (41, 3)).numpy()[0, :, 1]
        np.testing.assert_allclose(field[10:31], np.linspace(1, 3, 21) ** 2, rtol=1e-5)

    def test_is_smooth(self):
        vectors = np.random.default_rng(1).normal(0, 10, (2, 3, 3)).astype("float32")
        field = elastic_displacement(vectors, (101, 101)).numpy()
        # The steepest slope of the kernel's sum is below 3 times the largest difference, over 50 pixels.
        assert np.abs(np.diff(field, axis=1)).max() < 3 * np.ptp(vectors) / 50
