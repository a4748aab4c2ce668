"""Object proposals: objects are found, seeds, odd images, Edge Boxes, overlaps, tight boxes."""

import numpy as np
import pytest

from keras_seg.data.instance_classes import instance_classes
from keras_seg.data.proposals import boxes_of_edges, instance_boxes, overlapping, propose

pytestmark = pytest.mark.tf_only

TRUTH = np.array([[20, 30, 60, 80], [90, 20, 130, 60]], "float32")


def picture():
    """Two flat objects on a grey ground with a little noise."""
    image = np.full((120, 160, 3), 110.0)
    for (x1, y1, x2, y2), color in zip(TRUTH.astype(int), ((220, 40, 40), (40, 60, 220)), strict=True):
        image[y1:y2, x1:x2] = color
    return (image + np.random.default_rng(0).normal(0, 4, image.shape)).clip(0, 255).astype("uint8")


@pytest.mark.parametrize("enlarge", [1.0, 1.2])
def test_selective_search_finds_the_objects(enlarge):
    boxes = propose(picture(), count=200, enlarge=enlarge, min_side=0)
    assert boxes.dtype == np.float32
    _, overlap = overlapping(TRUTH, boxes)
    assert (overlap > (0.9 if enlarge == 1 else 0.6)).all()
    np.testing.assert_array_equal(boxes, propose(picture(), count=200, enlarge=enlarge, min_side=0))
    assert len(np.unique(boxes, axis=0)) == len(boxes)


def test_boxes_are_in_pixels_of_the_image_however_small_it_was_made():
    large = picture().repeat(3, 0).repeat(3, 1)
    boxes = propose(large, count=200, enlarge=1, min_side=0, work_size=160)
    assert (overlapping(3 * TRUTH, boxes)[1] > 0.85).all()


def test_count_and_smallest_side():
    assert len(propose(picture(), count=3, min_side=0)) == 3
    for min_side, pixels in ((0.25, 30), (45, 45)):
        boxes = propose(picture(), count=200, min_side=min_side)
        assert len(boxes)
        assert (boxes[:, 2:] - boxes[:, :2]).min() >= pixels - 1e-3


def test_grey_and_odd_images():
    grey = picture()[..., :1]
    assert (overlapping(TRUTH, propose(grey, count=200, enlarge=1, min_side=0))[1] > 0.8).all()
    for shape in ((1, 1, 3), (2, 50, 3), (40, 40, 1)):
        assert propose(np.full(shape, 90, "uint8")).shape == (0, 4)


def test_edge_boxes_of_an_edge_map():
    """The model file is not here; what comes after it is OpenCV's own on a map of exact edges."""
    edges, orientation = np.zeros((120, 160), "float32"), np.zeros((120, 160), "float32")
    for x1, y1, x2, y2 in TRUTH.astype(int):
        edges[y1, x1:x2] = edges[y2, x1:x2] = 1
        edges[y1:y2, x1] = edges[y1:y2, x2] = 1
        orientation[y1, x1:x2] = orientation[y2, x1:x2] = np.pi / 2
    boxes = boxes_of_edges(edges, orientation)
    assert (overlapping(TRUTH, boxes[:50])[1] > 0.7).all()
    assert boxes_of_edges(np.zeros((60, 60), "float32"), np.zeros((60, 60), "float32")).shape == (0, 4)


def test_overlapping():
    truth = np.array([[0, 0, 10, 10], [20, 20, 30, 40]])
    boxes = np.array([[0, 0, 10, 5], [20, 30, 40, 40], [50, 50, 60, 60], [5, 5, 5, 5]])
    best, iou = overlapping(boxes, truth)
    np.testing.assert_allclose(iou, [0.5, 100 / 300, 0, 0])
    assert best[:2].tolist() == [0, 1]
    assert overlapping(boxes, np.zeros((0, 4)))[1].tolist() == [0, 0, 0, 0]


def test_instance_boxes_and_classes():
    instances = np.zeros((8, 9), "uint16")
    instances[2:5, 1:4], instances[7, 8] = 3, 900
    mask = np.where(instances == 3, 2, 0).astype("uint8")
    mask[2, 1], mask[7, 8] = 255, 255
    numbers, boxes = instance_boxes(instances)
    assert numbers.tolist() == [3, 900]
    np.testing.assert_array_equal(boxes, [[1, 2, 4, 5], [8, 7, 9, 8]])
    assert instance_classes(mask, instances, 255) == {3: 2}
    assert instance_classes(mask, np.zeros_like(instances)) == {}


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((8, 8)), {}, "`image` must be an image"),
        (picture(), {"method": "grid"}, "`method` must be one of"),
        (picture(), {"method": "edge_boxes"}, "`model_file` must be the path of the structured-edge model"),
        (picture(), {"count": 0}, "`count` must be an integer"),
    ],
)
def test_errors(image, options, message):
    with pytest.raises(ValueError, match=message):
        propose(image, **options)
