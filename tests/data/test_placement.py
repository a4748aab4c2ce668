"""Image, boxes and masks move together: an object painted into the image is where its box and mask are."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from keras_seg.data.letterbox import Letterbox
from keras_seg.data.object_augmentation import (
    PRESETS,
    ObjectAugmentation,
    find_object_augmentation,
    visible_objects,
)
from keras_seg.data.objects import Objects
from keras_seg.data.placement import Placement

pytestmark = pytest.mark.tf_only

TURNS = list(itertools.product([False, True], repeat=3))


def scene(size=(60, 90), seed=0):
    """An image of three plain regions, one a channel, and these as objects; they do not overlap."""
    masks = np.zeros((3, *size), bool)
    masks[0, 5:25, 8:40] = True
    masks[0, 5:15, 8:20] = False
    masks[1, 30:55, 20:35] = True
    masks[2, 20:50, 60:85] = np.tri(30, 25, dtype=bool)
    image = np.zeros((*size, 3), "uint8")
    for channel, mask in enumerate(masks):
        image[..., channel][mask] = 255
    return image, Objects.from_masks(masks, labels=[4, 5, 6])


def whole_mask(soft, box, size, finer=8):
    """A box's soft mask pasted on a canvas by area, float64 (H, W)."""
    fine = np.zeros((size[0] * finer, size[1] * finer))
    x1, y1, x2, y2 = np.asarray(box, float) * finer
    ys, xs = np.arange(fine.shape[0]) + 0.5, np.arange(fine.shape[1]) + 0.5
    rows = ((ys - y1) / (y2 - y1) * soft.shape[0]).astype(int)
    columns = ((xs - x1) / (x2 - x1) * soft.shape[1]).astype(int)
    inside_y, inside_x = (ys > y1) & (ys < y2), (xs > x1) & (xs < x2)
    fine[np.ix_(inside_y, inside_x)] = soft[np.ix_(rows[inside_y], columns[inside_x])]
    return fine.reshape(size[0], finer, size[1], finer).mean(axis=(1, 3))


def assert_painted(image, placement, objects, rows, boxes, visible):
    """Each object's soft mask, pasted on the canvas, is what the canvas shows in its channel."""
    canvas = placement.image(image)
    height, width = placement.visible_size
    for row, box, tight in zip(rows, boxes, visible, strict=True):
        soft = placement.soft_mask(objects.masks[row], box, tight, (56, 56))
        assert soft.dtype == np.float32 and soft.min() >= 0 and soft.max() <= 1
        pasted = whole_mask(soft, tight, placement.canvas_size)[:height, :width]
        shown = canvas[:height, :width, row] / 255
        # Bilinear against area resampling: they differ along edges only, and not on average.
        assert abs(pasted.sum() - shown.sum()) < 0.03 * shown.sum() + 3
        plain = ndimage.maximum_filter(shown, 5) == ndimage.minimum_filter(shown, 5)
        assert plain.mean() > 0.3
        np.testing.assert_allclose(pasted[plain], shown[plain], atol=0.01)


@pytest.mark.parametrize("turn", TURNS)
def test_turns_alone_are_exact(turn):
    image, objects = scene()
    transpose, *flips = turn
    size = image.shape[1::-1] if transpose else image.shape[:2]
    placement = Placement(image.shape[:2], size, size, (0, 0), transpose, tuple(flips))
    canvas = placement.image(image)
    rows, boxes, visible = visible_objects(objects, placement)
    np.testing.assert_array_equal(rows, [0, 1, 2])
    np.testing.assert_array_equal(boxes, visible)
    for row in rows:
        ys, xs = np.nonzero(canvas[..., row])
        np.testing.assert_array_equal(visible[row], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        x1, y1, x2, y2 = visible[row].astype(int)
        soft = placement.soft_mask(objects.masks[row], boxes[row], visible[row], (y2 - y1, x2 - x1))
        np.testing.assert_allclose(soft, canvas[y1:y2, x1:x2, row] / 255, atol=1e-6)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("factor, start", [(0.6, (0, 0)), (1.7, (20, 35)), (2.0, (0, 3))])
def test_scaled_and_cropped(turn, factor, start):
    image, objects = scene()
    transpose, *flips = turn
    size = (64, 64)
    turned = image.shape[1::-1] if transpose else image.shape[:2]
    content = tuple(round(side * factor) for side in turned)
    start = tuple(max(0, min(s, c - 64)) for s, c in zip(start, content, strict=True))
    placement = Placement(image.shape[:2], size, content, start, transpose, tuple(flips))
    assert_painted(image, placement, objects, *visible_objects(objects, placement, 0.05, 4))


def test_no_augmentation_is_the_letterbox():
    image, objects = scene((60, 91))
    letterbox = Letterbox((60, 91), (128, 64))
    placement = Placement((60, 91), (128, 64), letterbox.content_size)
    np.testing.assert_array_equal(placement.image(image), letterbox.image(image))
    np.testing.assert_allclose(placement.boxes(objects.boxes), letterbox.boxes(objects.boxes), rtol=1e-6)
    assert placement.window == (0, 0, 91, 60)


class TestDropping:
    def test_tight_box_of_what_is_left(self):
        """An L that loses its foot keeps the box of its stem."""
        mask = np.zeros((40, 40), bool)
        mask[5:30, 10:14] = True
        mask[26:30, 10:35] = True
        objects = Objects.from_masks([mask])
        rows, _, visible = visible_objects(objects, Placement((40, 40), (24, 40), (40, 40)))
        np.testing.assert_array_equal(visible, [[10, 5, 14, 24]])
        assert len(rows) == 1

    def test_share_and_area(self):
        masks = np.zeros((3, 40, 40), bool)
        masks[0, 0:20, 12:32] = True  # 4 of its 20 columns are left of the crop's edge
        masks[1, 30:32, 2:4] = True
        masks[2, 30:40, 20:40] = True
        objects = Objects.from_masks(masks)
        placement = Placement((40, 40), (40, 16), (40, 40))
        assert visible_objects(objects, placement)[0].tolist() == [0, 1]
        assert visible_objects(objects, placement, 0.19)[0].tolist() == [0, 1]
        assert visible_objects(objects, placement, 0.21)[0].tolist() == [1]
        assert visible_objects(objects, placement, 0, 4)[0].tolist() == [0, 1]
        assert visible_objects(objects, placement, 0, 4.1)[0].tolist() == [0]
        smaller = Placement((40, 40), (40, 16), (20, 20))
        assert visible_objects(objects, smaller, 0, 1.5)[0].tolist() == [0, 2]

    def test_a_box_in_view_whose_mask_is_not(self):
        mask = np.zeros((40, 40), bool)
        mask[0:10, 0:30] = True
        mask[0:40, 28:30] = True
        objects = Objects.from_masks([mask])
        placement = Placement((40, 40), (20, 20), (40, 40), (20, 0))
        assert len(visible_objects(objects, placement)[0]) == 0

    def test_parts_of_pixels(self):
        """At a crop through the middle of an enlarged pixel, share and box count the half that is seen."""
        objects = Objects.from_masks([np.ones((2, 4), bool)])
        placement = Placement((2, 4), (20, 25), (20, 40))
        rows, boxes, visible = visible_objects(objects, placement)
        np.testing.assert_array_equal(visible, [[0, 0, 25, 20]])
        assert placement.visible_part(objects.masks[0], boxes[0])[0] == pytest.approx(25 / 40)
        soft = placement.soft_mask(objects.masks[0], boxes[0], visible[0], (7, 7))
        np.testing.assert_allclose(soft, 1, atol=1e-6)

    def test_no_objects(self):
        objects = Objects.from_masks([])
        rows, boxes, visible = visible_objects(objects, Placement((4, 4), (8, 8), (8, 8)), 0.1, 4)
        assert rows.shape == (0,) and boxes.shape == visible.shape == (0, 4)


class TestDraws:
    def test_all_turns_and_places_are_drawn(self):
        random = np.random.default_rng(0)
        augmentation = ObjectAugmentation(
            flip_horizontal=True, flip_vertical=True, transpose=True, scale=(0.5, 2)
        )
        drawn = [augmentation.place((40, 60), (48, 48), random) for _ in range(400)]
        assert len({(p.transpose, p.flips) for p in drawn}) == 8
        assert all(p.content_size[0] >= p.start[0] + min(48, p.content_size[0]) for p in drawn)
        factors = np.log([max(p.content_size) / 48 for p in drawn])
        assert abs(factors.mean()) < 0.1 and factors.min() < -0.6 and factors.max() > 0.6
        assert {p.start for p in drawn if max(p.content_size) <= 48} == {(0, 0)}
        assert len({p.start for p in drawn if max(p.content_size) > 60}) > 50

    def test_place_reaches_both_ends(self):
        random = np.random.default_rng(0)
        starts = [ObjectAugmentation(fit=False).place((6, 4), (4, 4), random).start for _ in range(60)]
        assert set(starts) == {(0, 0), (1, 0), (2, 0)}

    def test_nothing_changes_by_default(self):
        placement = ObjectAugmentation().place((40, 60), (48, 48), np.random.default_rng(0))
        assert placement == Placement((40, 60), (48, 48), Letterbox((40, 60), (48, 48)).content_size)

    @pytest.mark.parametrize("name", PRESETS)
    def test_presets_move_all_together(self, name):
        image, objects = scene((200, 260))
        random = np.random.default_rng(1)
        for _ in range(4):
            placement = find_object_augmentation(name).place((200, 260), (128, 128), random)
            rows, boxes, visible = visible_objects(objects, placement, 0.3, 150)
            assert_painted(image, placement, objects, rows, boxes, visible)

    def test_arguments(self):
        assert find_object_augmentation(None) is None and find_object_augmentation(False) is None
        assert find_object_augmentation(True) is PRESETS["default"]
        with pytest.raises(ValueError, match="`augment` must be one of 'light', 'road'"):
            find_object_augmentation("paper")
        with pytest.raises(TypeError, match="a preset's name or an ObjectAugmentation"):
            find_object_augmentation(3)
        for options in ({"scale": (2, 1)}, {"min_visible": 1.5}, {"min_area": -1}, {"hue": float("nan")}):
            with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
                ObjectAugmentation(**options)
        with pytest.raises(TypeError, match="`scale` must be a pair"):
            ObjectAugmentation(scale=2)
