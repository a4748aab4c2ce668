"""Objects over their image: colours, outlines, who lies on top, and plates that hide nothing."""

import types

import numpy as np
import pytest
from PIL import ImageDraw

from keras_seg.data.objects import Objects
from keras_seg.viz import detection_grid, detection_overlay
from keras_seg.viz.detections import _free_place, _placed, _shared
from keras_seg.viz.overlays import instance_colors

pytestmark = pytest.mark.tf_only

SIZE = (120, 160)
IMAGE = np.full((*SIZE, 3), 100, "uint8")


def objects(*boxes, labels=None):
    masks = []
    for x1, y1, x2, y2 in boxes:
        full = np.zeros(SIZE, bool)
        full[y1:y2, x1:x2] = True
        masks.append(full)
    return Objects.from_masks(masks, labels=labels)


def detections(*boxes, scores, labels=None):
    found = objects(*boxes, labels=labels)
    fields = ("boxes", "labels", "masks", "origins")
    return types.SimpleNamespace(**{name: getattr(found, name) for name in fields}, scores=np.array(scores))


def test_masks_are_blended_and_outlined_in_a_colour_of_their_own():
    found = detections((20, 30, 60, 90), (90, 20, 140, 100), scores=[0.9, 0.8])
    picture = detection_overlay(IMAGE, found, alpha=0.5, boxes=False, plates=False)
    assert picture.shape == (*SIZE, 3) and picture.dtype == np.uint8
    for k, (x1, y1, x2, y2) in enumerate([(20, 30, 60, 90), (90, 20, 140, 100)]):
        color = instance_colors(k).astype(float)
        assert (picture[y1, x1:x2] == color).all() and (picture[y1:y2, x2 - 1] == color).all()
        assert (picture[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] == np.rint(50 + color / 2)).all()
    untouched = np.ones(SIZE, bool)
    untouched[30:90, 20:60] = untouched[20:100, 90:140] = False
    assert (picture[untouched] == 100).all()
    assert (IMAGE == 100).all()


def test_the_best_lies_on_top_and_weak_ones_are_left_out():
    found = detections((20, 20, 100, 100), (60, 60, 140, 110), (5, 5, 15, 15), scores=[0.9, 0.6, 0.1])
    picture = detection_overlay(IMAGE, found, alpha=1, boxes=False, plates=False, min_score=0.5)
    assert (picture[80, 80] == instance_colors(0)).all()
    assert (picture[105, 130] == instance_colors(1)).all()
    assert (picture[10, 10] == 100).all()


def test_true_objects_are_drawn_large_before_small():
    truth = objects((60, 40, 80, 60), (20, 20, 140, 110))
    picture = detection_overlay(IMAGE, truth, alpha=1, boxes=False, plates=False)
    assert (picture[50, 70] == instance_colors(0)).all()


def test_boxes_are_drawn_inside_the_image():
    found = detections((0, 0, 160, 120), scores=[0.9])
    picture = detection_overlay(IMAGE, found, alpha=0, plates=False)
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == instance_colors(0)).all()


def test_everything_is_enlarged_with_the_image():
    found = detections((20, 30, 60, 90), scores=[0.9])
    picture = detection_overlay(IMAGE[..., 0], found, alpha=1, boxes=False, plates=False, scale=3)
    assert picture.shape == (360, 480, 3)
    inside = np.zeros((360, 480), bool)
    inside[90:270, 60:180] = True
    assert (picture[inside] == instance_colors(0)).all() and (picture[~inside] == 100).all()


def texts_drawn(monkeypatch, *args, **kwargs):
    written = []
    text = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, at, words, **k: (written.append(words), text(self, at, words, **k)),
    )
    detection_overlay(*args, **kwargs)
    return written


def test_plates_say_class_and_score(monkeypatch):
    found = detections((20, 30, 80, 90), (90, 30, 150, 90), scores=[0.87, 0.5], labels=[1, 0])
    assert texts_drawn(monkeypatch, IMAGE, found, ["cat", "dog"]) == ["dog 0.87", "cat 0.50"]
    assert texts_drawn(monkeypatch, IMAGE, found) == ["1 0.87", "0 0.50"]
    one = detections((20, 30, 80, 90), scores=[0.87])
    assert texts_drawn(monkeypatch, IMAGE, one, ["nucleus"]) == ["0.87"]
    assert texts_drawn(monkeypatch, IMAGE, objects((20, 30, 80, 90)), ["cat", "dog"]) == ["cat"]
    assert texts_drawn(monkeypatch, IMAGE, objects((20, 30, 80, 90)), ["nucleus"]) == []


def test_plates_of_a_hundred_cover_neither_each_other_nor_the_objects():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, (600, 440), (100, 2))
    boxes = np.concatenate([corners, corners + rng.integers(15, 60, (100, 2))], axis=1)
    boxes = boxes.clip(0, [640, 480] * 2)
    texts = [[f"class {k} 0.5{k}", "0.5"] for k in range(100)]
    placed = list(_placed(np.arange(100), boxes, texts, (640, 480)))
    plates = np.array([place for _, _, place in placed])
    assert 20 < len(plates) < 100
    assert placed[0][0] == 0  # the best has one
    assert {len(words) > 3 for _, words, _ in placed} == {True, False}
    assert (plates >= 0).all() and (plates[:, 2] <= 640).all() and (plates[:, 3] <= 480).all()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for number, (k, _, place) in enumerate(placed):
        assert not _shared(place, np.delete(plates, number, axis=0)).any()
        covered = _shared(place, boxes) / areas
        assert covered[k] <= 0.6 and np.delete(covered, k).max() <= 0.15


def test_places_are_tried_in_order_and_none_is_forced():
    nothing, no_objects = np.zeros((0, 4), int), (np.zeros((0, 4), int), np.zeros(0))
    box, plate, size = (40, 40, 100, 90), (30, 10), (200, 100)
    assert _free_place(box, plate, nothing, no_objects, size) == (40, 30, 70, 40)
    taken = np.array([[0, 0, 60, 40]])
    assert _free_place(box, plate, taken, no_objects, size) == (70, 30, 100, 40)
    assert _free_place(box, plate, np.array([[0, 0, 200, 100]]), no_objects, size) is None
    # At the top of the image the plate goes inside.
    assert _free_place((40, 3, 100, 90), plate, nothing, no_objects, size) == (40, 3, 70, 13)


def test_a_grid_has_truth_and_prediction_at_one_width():
    found, wide = detections((20, 30, 60, 90), scores=[0.9]), detections((20, 30, 60, 50), scores=[0.9])
    picture = detection_grid([(IMAGE, objects((22, 30, 62, 90)), found), (IMAGE[:60], None, wide)], width=320)
    # Three columns and four gaps; the second row is half as high.
    assert picture.shape == (26 + 240 + 10 + 120 + 10, 3 * 320 + 4 * 10, 3)
    assert (picture[26 : 26 + 240, 10:330] == 100).all()
    assert not (picture[26 : 26 + 240, 340:660] == 100).all()
    assert (picture[276:396, 340:660] == 255).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 2}, "`alpha` must be a number"),
        ({"scale": 0}, "`scale` must be an integer of at least 1"),
        ({"image": IMAGE[..., :2]}, "`image` must be"),
        ({"detections": objects((0, 90, 9, 99)), "image": IMAGE[:95]}, "inside the image of 95 x 160 pixels"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        detection_overlay(**{"image": IMAGE, "detections": objects(), **options})
