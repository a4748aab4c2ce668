"""Anchors against loops, torchvision's numbers, and the levels of real sizes."""

import math

import numpy as np
import pytest

from keras_seg.ops import anchor_boxes

pytestmark = pytest.mark.tf_only

RATIOS = (0.5, 1.0, 2.0)
# torchvision 0.29.2, AnchorGenerator, float32: the anchors around the first pixel.
TORCHVISION = {
    32: [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]],
    64: [[-45, -23, 45, 23], [-32, -32, 32, 32], [-23, -45, 23, 45]],
    512: [[-362, -181, 362, 181], [-256, -256, 256, 256], [-181, -362, 181, 362]],
}


def by_loops(image_size, map_size, sizes, ratios):
    """In float64; half sides that end in .5 are left out by the cases."""
    strides = [side // pixels for side, pixels in zip(image_size, map_size, strict=True)]
    anchors = []
    for row in range(map_size[0]):
        for column in range(map_size[1]):
            x, y = column * strides[1], row * strides[0]
            for ratio in ratios:
                for size in sizes:
                    # Area size^2, and height over width is the ratio.
                    width = math.sqrt(size * size / ratio)
                    right, bottom = round(width / 2), round(ratio * width / 2)
                    anchors.append([x - right, y - bottom, x + right, y + bottom])
    return np.array(anchors)


@pytest.mark.parametrize("size", TORCHVISION)
def test_equals_torchvision(size):
    np.testing.assert_array_equal(anchor_boxes(1024, 4, (size,))[:3], TORCHVISION[size])


@pytest.mark.parametrize(
    ("image_size", "map_size", "sizes", "ratios"),
    [
        ((64, 96), (8, 12), (32,), RATIOS),
        ((64, 64), (4, 4), (8, 16, 32, 64, 128), RATIOS),
        ((70, 101), (9, 13), (20, 50), (1.0,)),  # 7 and 7 pixels apart, as torchvision has it
        ((65, 96), (17, 24), (16.4,), (0.25, 3.0)),
    ],
)
def test_equals_loops(image_size, map_size, sizes, ratios):
    received = anchor_boxes(image_size, map_size, sizes, ratios)
    assert received.dtype == "float32"
    assert received.shape == (map_size[0] * map_size[1] * len(sizes) * len(ratios), 4)
    np.testing.assert_array_equal(received, by_loops(image_size, map_size, sizes, ratios))


def test_areas_and_ratios_are_those_asked_for():
    anchors = anchor_boxes(2048, 2, (512,), (0.5, 1.0, 2.0))[:3].astype("float64")
    width, height = (anchors[:, 2:] - anchors[:, :2]).T
    np.testing.assert_allclose(height / width, RATIOS, rtol=0.01)
    np.testing.assert_allclose(width * height, 512**2, rtol=0.01)


def test_errors():
    with pytest.raises(ValueError, match=r"`map_size` must be at most the image's size, \(8, 8\).*\(9, 8\)"):
        anchor_boxes(8, (9, 8), (4,))
    for sizes in ((), (0,), (-3.0,), (float("nan"),), 32):
        with pytest.raises(ValueError, match="`sizes` must be a sequence of positive numbers, at least one"):
            anchor_boxes(64, 8, sizes)
    with pytest.raises(ValueError, match="`ratios` must be a sequence of positive numbers"):
        anchor_boxes(64, 8, (32,), (1.0, 0.0))
    with pytest.raises(TypeError, match="`image_size` must be an integer or a pair"):
        anchor_boxes((64, 64, 3), 8, (32,))
