"""An image on a canvas: its shape kept, nothing else touched, and boxes to the canvas and back."""

import numpy as np
import pytest

from keras_seg.data.letterbox import Letterbox

pytestmark = pytest.mark.tf_only


@pytest.mark.parametrize(
    "image_size, canvas_size, content",
    [
        ((338, 500), 512, (346, 512)),
        ((1040, 1388), (512, 256), (192, 256)),
        ((30, 20), (90, 100), (90, 60)),
        ((1000, 1), 64, (64, 1)),
    ],
)
def test_content_keeps_its_shape(image_size, canvas_size, content):
    letterbox = Letterbox(image_size, canvas_size)
    assert letterbox.content_size == content
    assert letterbox.scale == (content[0] / image_size[0], content[1] / image_size[1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_stay_and_the_rest_is_one_color(dtype, channels):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, channels)).astype(dtype)
    canvas = Letterbox((20, 30), (25, 30)).image(image)
    assert canvas.dtype == dtype and canvas.shape == (25, 30, channels)
    np.testing.assert_array_equal(canvas[:20], image)
    np.testing.assert_array_equal(canvas[20:], np.broadcast_to(canvas[24, 29], (5, 30, channels)))
    assert canvas[24, 29].tolist() == ([124, 116, 104] if channels == 3 else [115])


def test_shrinking_averages():
    """Stripes of one pixel become grey, not stripes of another width."""
    stripes = np.zeros((64, 64, 3), "uint8")
    stripes[:, ::2] = 255
    canvas = Letterbox((64, 64), 16).image(stripes)
    assert np.abs(canvas[:, 2:-2].astype(int) - 127).max() <= 1


def test_boxes_there_and_back():
    letterbox = Letterbox((338, 500), (512, 512))
    boxes = np.array([[0, 0, 500, 338], [10.5, 20.25, 300, 200]])
    canvas = letterbox.boxes(boxes)
    np.testing.assert_allclose(canvas[0], [0, 0, 512, 346], rtol=1e-6)
    assert canvas.dtype == np.float32
    np.testing.assert_allclose(letterbox.boxes_back(canvas), boxes, rtol=1e-6)
    outside = letterbox.boxes_back([[-5, -5, 600, 512]])
    np.testing.assert_allclose(outside, [[0, 0, 500, 338]], rtol=1e-6)
    assert letterbox.boxes(np.zeros((2, 0, 4))).shape == (2, 0, 4)


def test_a_box_moves_with_what_it_holds():
    image = np.zeros((100, 140, 3), "uint8")
    image[30:60, 20:90] = 255
    letterbox = Letterbox((100, 140), (224, 224))
    x1, y1, x2, y2 = letterbox.boxes([20, 30, 90, 60]).round().astype(int)
    inside = letterbox.image(image)[..., 0] > 127
    expected = np.zeros((224, 224), bool)
    expected[y1:y2, x1:x2] = True
    np.testing.assert_array_equal(inside, expected)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"`image.shape` must be \(20, 30, C\)"):
        Letterbox((20, 30), 16).image(np.zeros((30, 20, 3), "uint8"))
    with pytest.raises(TypeError, match="`canvas_size` must be"):
        Letterbox((20, 30), 16.5)
