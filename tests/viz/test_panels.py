"""Panels: where the pictures lie, at which size, and that names and colours are in the legend."""

import numpy as np
import pytest

from keras_seg.viz import color_mask, grid, legend, panel

pytestmark = pytest.mark.tf_only

COLORS = np.array([(0, 0, 0), (200, 10, 30), (20, 220, 60)])


def example(height=300, width=280):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (height, width, 3)).astype("uint8")
    return image, generator.integers(0, 3, (height, width)), generator.integers(0, 3, (height, width))


def test_pictures_lie_side_by_side_unscaled():
    image, truth, prediction = example()
    sheet = panel(image, truth, prediction, colors=COLORS)
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 3 * 280 + 4 * 10
    pictures = sheet[26 : 26 + 300]
    np.testing.assert_array_equal(pictures[:, 10:290], image)
    np.testing.assert_array_equal(pictures[:, 300:580], color_mask(truth, COLORS))
    np.testing.assert_array_equal(pictures[:, 590:870], color_mask(prediction, COLORS))
    for left in (10, 300, 590):
        assert (sheet[:26, left : left + 280] < 128).any(), "no title"


def test_what_is_ignored_in_the_truth_is_ignored_in_the_prediction():
    image, truth, prediction = example()
    truth[:40] = 255
    sheet = panel(image, truth, prediction, colors=COLORS, ignore_class=255)
    assert (sheet[26:66, 300:580] == (224, 224, 192)).all() and (
        sheet[26:66, 590:870] == (224, 224, 192)
    ).all()
    np.testing.assert_array_equal(sheet[66:326, 590:870], color_mask(prediction[40:], COLORS))


@pytest.mark.parametrize(("size", "expected"), [((32, 64), (128, 256)), ((600, 1024), (300, 512))])
def test_small_pictures_are_enlarged_and_large_ones_reduced(size, expected):
    sheet = panel(*example(*size), colors=COLORS)
    assert sheet.shape == (26 + expected[0] + 10, 3 * (expected[1] + 10) + 10, 3)


def test_rows_of_a_grid_and_missing_masks():
    first, second = example(), example(200, 280)
    assert grid([first, second], colors=COLORS).shape == (26 + 310 + 210, 3 * 290 + 10, 3)
    assert panel(first[0], None, first[2], colors=COLORS).shape[1] == 2 * 290 + 10
    half = grid([first, (second[0], second[1], None)], colors=COLORS)
    assert (half[26 + 310 : -10, 590:870] == 255).all()


def test_legend_has_every_colour_and_wraps():
    names = ["background", "a rather long name of a class", "cell"]
    wide, narrow = legend(names, COLORS, width=600), legend(names, COLORS, width=150)
    assert wide.shape[1] == 600 and narrow.shape[1] == 150 and narrow.shape[0] > wide.shape[0]
    for key in (wide, narrow):
        for color in COLORS[1:]:
            assert (key == color).all(-1).sum() >= 14 * 14
    assert (legend(names, COLORS, ignored=True) == (224, 224, 192)).all(-1).sum() >= 14 * 14
    image, truth, prediction = example()
    with_names = panel(image, truth, prediction, names, COLORS)
    np.testing.assert_array_equal(with_names[336:], legend(names, COLORS, width=with_names.shape[1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grid([]), "`rows` must be"),
        (lambda: grid([example()[:2]]), "`rows` must be tuples of 3"),
        (lambda: legend(["a", "b"], COLORS[:1]), "`colors` must be a colour for each of 2"),
        (lambda: panel(example()[0], example()[1][:9], None), "`mask` must be of the image's size"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
