"""Detections over flips and turns: moved back to where they were, and averaged as one object."""

import numpy as np
import pytest

from keras_seg.inference import evaluate_instances, predict_instances
from keras_seg.inference.augmentation import moves_for
from keras_seg.inference.detection_views import fused
from tests.inference.slot_detector import draw_slots, slot_detector

pytestmark = pytest.mark.tf_only


def corner(size, top, left, height, width):
    """An L: a rectangle without its upper right quarter, which no flip or turn leaves as it is."""
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    mask[top : top + height // 2, left + width // 2 : left + width] = False
    return mask


def detections(*rows):
    """Of (box, label, score, mask)."""
    boxes, labels, scores, masks = zip(*rows, strict=True)
    return {
        "boxes": np.array(boxes, "float32"),
        "labels": np.array(labels, "int32"),
        "scores": np.array(scores, "float32"),
        "masks": np.array(masks, "float32"),
    }


def nothing():
    return {name: values[:0] for name, values in detections(([0, 0, 1, 1], 0, 1, np.ones((4, 4)))).items()}


@pytest.mark.parametrize("augment", ["mirror", "all"])
@pytest.mark.parametrize("canvas", [(64, 64), (48, 80)])
def test_what_every_view_shows_is_found_where_it_is(canvas, augment):
    size = canvas
    masks = [corner(size, 4, 6, 28, 14), corner(size, 10, 40, 8, 20)]
    image = draw_slots(size, [(1, 0.9, masks[0]), (3, 0.8, masks[1])])
    detector = slot_detector(canvas)
    (alone,) = predict_instances(detector, [image])
    (found,) = predict_instances(detector, [image], augment=augment)
    np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)
    assert found.labels.tolist() == alone.labels.tolist()
    for index, mask in enumerate(masks):
        assert (found.full_mask(index) != mask).mean() <= (alone.full_mask(index) != mask).mean() + 1e-3


def test_in_windows_and_in_scores():
    image = draw_slots((150, 100), [(1, 0.9, (80, 120, 90, 130)), (2, 0.8, (3, 60, 10, 66))])
    (found,) = predict_instances(slot_detector((64, 64)), [image], batch_size=3, min_scale=1.0, augment="all")
    assert found.boxes.round().astype(int).tolist() == [[80, 120, 90, 130], [3, 60, 10, 66]]
    data = "shapes:3,size=64"
    plain, averaged = (evaluate_instances(slot_detector(), data, augment=some) for some in (None, "mirror"))
    assert plain.keys() == averaged.keys()


def test_views():
    assert moves_for(True, None) == [(0, False)]
    assert moves_for(False, "mirror") == [(0, False), (0, True)]
    assert len(set(moves_for(True, "all"))) == 8
    assert {turn for turn, _ in moves_for(False, "all")} == {0, 2}
    with pytest.raises(ValueError, match="`augment`"):
        moves_for(True, "turn")


def test_boxes_are_means_by_score_and_scores_count_the_views_that_miss():
    full = np.ones((4, 4))
    first = detections(([0, 0, 10, 10], 1, 0.9, full), ([50, 50, 60, 60], 1, 0.6, full))
    second = detections(([1, 0, 11, 10], 1, 0.3, full), ([0, 0, 10, 10], 2, 0.5, full))
    found = fused([first, second, nothing()], 0.5)
    # Of other classes nothing is joined, whatever the overlap.
    assert found["labels"].tolist() == [1, 1, 2]
    np.testing.assert_allclose(found["scores"], [(0.9 + 0.3) / 3, 0.6 / 3, 0.5 / 3], rtol=1e-6)
    np.testing.assert_allclose(found["boxes"][0], [0.25, 0, 10.25, 10], rtol=1e-6)
    np.testing.assert_allclose(found["boxes"][1], [50, 50, 60, 60])
    assert all(found[name].dtype == first[name].dtype for name in first)


def test_two_of_one_view_count_once():
    full = np.ones((4, 4))
    # The second is too far from the first for either to be suppressed by it, and near enough to the third.
    rows = detections(([0, 0, 10, 10], 0, 0.9, full), ([1, 0, 11, 10], 0, 0.8, full))
    assert fused([rows, nothing()], 0.5)["scores"].tolist() == pytest.approx([0.45])


def test_masks_are_averaged_where_they_are_in_the_image():
    left, right = np.zeros((2, 8, 8))
    left[:, :4], right[:, 4:] = 1, 1
    one = detections(([0, 0, 16, 16], 0, 0.5, left))
    # The same pixels, seen in a box that lies 4 pixels to the left: there they are its right half.
    other = detections(([-8, 0, 8, 16], 0, 0.5, right))
    found = fused([one, other], 0.3)
    np.testing.assert_allclose(found["boxes"][0], [-4, 0, 12, 16])
    # Columns of two pixels from -4 on: those within 0..8 are the object, but for the rims of the halves.
    assert found["masks"][0, :, 3:5].min() > 0.99 and found["masks"][0, :, [0, 7]].max() < 0.01


def test_nothing_is_found_in_nothing():
    found = fused([nothing(), nothing()], 0.5)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 0)
