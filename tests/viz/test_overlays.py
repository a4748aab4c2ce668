"""Colours of class maps and instances, checked pixel by pixel."""

import numpy as np
import pytest

from keras_seg.utils.palette import class_colors
from keras_seg.viz import color_mask, instance_overlay, overlay

pytestmark = pytest.mark.tf_only

COLORS = np.array([(0, 0, 0), (200, 10, 30), (20, 220, 60)])
MASK = np.array([[0, 1, 2], [1, 1, 255]], "uint8")
IMAGE = np.array([[[100, 110, 121]] * 3] * 2, "uint8")


def test_every_class_has_its_colour_and_ignored_pixels_are_cream():
    painted = color_mask(MASK, COLORS, ignore_class=255)
    assert painted.shape == (2, 3, 3) and painted.dtype == np.uint8
    for value in range(3):
        assert (painted[value == MASK] == COLORS[value]).all()
    assert (painted[MASK == 255] == (224, 224, 192)).all()
    np.testing.assert_array_equal(color_mask(MASK[:, :2]), class_colors(2)[MASK[:, :2]])
    np.testing.assert_array_equal(color_mask(MASK > 0, COLORS), COLORS[(MASK > 0).astype(int)])


def test_overlay_blends_by_alpha_and_leaves_ignored_and_transparent_pixels():
    result = overlay(IMAGE, MASK, COLORS, alpha=0.25, ignore_class=255, transparent_classes=(0,))
    assert (result[MASK == 255] == IMAGE[MASK == 255]).all()
    assert (result[MASK == 0] == IMAGE[MASK == 0]).all()
    for value in (1, 2):
        expected = np.rint(0.75 * IMAGE[0, 0] + 0.25 * COLORS[value])
        assert (result[value == MASK] == expected).all()
    painted = overlay(IMAGE, MASK, COLORS, alpha=0.25, ignore_class=255)
    assert (painted[0, 0] == np.rint(0.75 * IMAGE[0, 0])).all()


def test_outlines_have_the_full_colour():
    mask = np.zeros((7, 7), int)
    mask[1:6, 1:6] = 1
    image = np.full((7, 7), 80.0)
    result = overlay(image, mask, COLORS, alpha=0.5, transparent_classes=(0,), outline=True)
    rim = mask.astype(bool)
    rim[2:5, 2:5] = False
    assert (result[rim] == COLORS[1]).all()
    assert (result[2:5, 2:5] == np.rint(40 + COLORS[1] / 2)).all()
    assert (result[mask == 0] == 80).all()


@pytest.mark.parametrize("image", [IMAGE[..., 0], IMAGE[..., :1], IMAGE, IMAGE.astype("float32") + 0.2])
def test_grey_and_colour_images(image):
    result = overlay(image, MASK, COLORS, alpha=0, ignore_class=255)
    expected = IMAGE if image.shape[-1:] == (3,) and image.ndim == 3 else IMAGE[..., :1]
    assert result.shape == (2, 3, 3) and (result == expected).all()


def test_every_instance_has_a_colour_of_its_own():
    instances = np.arange(16).reshape(4, 4).repeat(3, 0).repeat(3, 1)
    image = np.full((12, 12, 3), 90, "uint8")
    result = instance_overlay(image, instances, alpha=1)
    assert (result[instances == 0] == 90).all()
    colors = [tuple(np.unique(result[instances == i], axis=0).ravel()) for i in range(1, 16)]
    assert len(set(colors)) == 15 and all(len(color) == 3 for color in colors)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: color_mask(MASK, COLORS), "`mask` must be class ids 0 to 2"),
        (lambda: color_mask(MASK.astype(int) - 1, COLORS, 254), "`mask` must be class ids 0 to 2"),
        (lambda: color_mask(MASK * 1.0), "`mask` must be an integer array"),
        (lambda: overlay(IMAGE[:1], MASK), "`mask` must be of the image's size"),
        (lambda: overlay(IMAGE, MASK, alpha=2), "`alpha` must be a number"),
        (lambda: overlay(IMAGE[..., :2], MASK), "`image` must be"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
