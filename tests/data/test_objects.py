"""Objects of one image: tight boxes, masks cut to them, maps of ids and classes, and COCO's encodings."""

import numpy as np
import pytest

from keras_seg.data import DataError
from keras_seg.data.objects import Objects
from keras_seg.data.run_lengths import mask_from_rle, mask_to_rle

pytestmark = pytest.mark.tf_only
coco_mask = pytest.importorskip("pycocotools.mask")
SIZE = (12, 17)


def random_masks(count, size=SIZE, seed=0):
    """Masks of random boxes with random holes, none empty."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, *size), bool)
    for mask in masks:
        top, left = random.integers(0, size[0] - 1), random.integers(0, size[1] - 1)
        part = mask[top : top + random.integers(1, size[0]), left : left + random.integers(1, size[1])]
        part[...] = random.random(part.shape) < random.choice([0.3, 0.9, 1.0])
        mask[top, left] = True
    return masks


def test_boxes_are_tight_and_masks_whole():
    masks = random_masks(20)
    objects = Objects.from_masks(masks, labels=range(20))
    assert len(objects) == 20 and objects.boxes.dtype == np.float32 and objects.labels.dtype == np.int32
    for number, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(objects.boxes[number], box)
        np.testing.assert_array_equal(objects.full_mask(number, SIZE), mask)
    np.testing.assert_array_equal(objects.areas, masks.sum(axis=(1, 2)))
    assert not objects.crowd.any()


def test_take_keeps_all_fields_together():
    objects = Objects.from_masks(random_masks(6), labels=range(6), crowd=[0, 1, 0, 0, 1, 0])
    part = objects.take([4, 1])
    np.testing.assert_array_equal(part.labels, [4, 1])
    np.testing.assert_array_equal(part.crowd, [True, True])
    np.testing.assert_array_equal(part.full_mask(0, SIZE), objects.full_mask(4, SIZE))
    np.testing.assert_array_equal(objects.take(~objects.crowd).labels, [0, 2, 3, 5])
    assert len(objects.take([])) == 0 and objects.take([]).boxes.shape == (0, 4)


def test_later_objects_hide_earlier_ones_and_crowds_are_none():
    masks = np.zeros((3, *SIZE), bool)
    masks[0, 2:8, 2:8], masks[1, 5:10, 5:10], masks[2, 0:3, 0:3] = True, True, True
    objects = Objects.from_masks(masks, labels=[4, 1, 2], crowd=[False, False, True])
    ids, classes = objects.id_map(SIZE), objects.class_map(SIZE)
    assert ids.dtype == np.uint16 and classes.dtype == np.uint8
    assert ids[6, 6] == 2 and ids[3, 3] == 1 and ids[0, 0] == 0 and ids[11, 16] == 0
    assert classes[6, 6] == 2 and classes[3, 3] == 5 and classes[0, 0] == 3


def test_id_map_there_and_back():
    ids = np.zeros(SIZE, "int32")
    ids[1:4, 1:5], ids[6:9, 3], ids[10, 10:14] = 7, 100_000, 3
    objects = Objects.from_id_map(ids)
    np.testing.assert_array_equal(objects.boxes[:, 0], [10, 1, 3])
    np.testing.assert_array_equal(objects.id_map(SIZE), np.select([ids == 3, ids == 7, ids > 7], [1, 2, 3]))
    some = Objects.from_id_map(ids, {7: 5, 3: 1})
    np.testing.assert_array_equal(some.labels, [1, 5])
    assert len(Objects.from_id_map(np.zeros(SIZE, "uint16"))) == 0


def test_limits_of_maps():
    dot = np.ones((1, 1), bool)
    many = Objects.from_masks([dot] * 65536)
    with pytest.raises(DataError, match="holds 65535 objects; these are 65536"):
        many.id_map((1, 1))
    with pytest.raises(DataError, match="holds 255 classes; here is class 255"):
        Objects.from_masks([dot], labels=[255]).class_map((1, 1))
    with pytest.raises(ValueError, match=r"`masks\[1\]` must be a mask with at least one pixel"):
        Objects.from_masks([dot, ~dot])


def test_memory_follows_the_objects_not_the_image():
    dot = np.ones((9, 9), bool)
    origins = [(40 * (number // 100), 40 * (number % 100)) for number in range(10_000)]
    objects = Objects.from_masks([dot] * 10_000, origins)
    assert objects.nbytes < 10_000 * (81 + 40)
    ids = objects.id_map((4000, 4000))
    assert ids.max() == 10_000 and (ids > 0).sum() == 810_000


class TestRunLengths:
    @pytest.mark.parametrize("seed", range(4))
    def test_equal_pycocotools(self, seed):
        random = np.random.default_rng(seed)
        for _ in range(50):
            size = tuple(random.integers(2, 40, 2))
            masks = random_masks(1, size, random.integers(1 << 30))
            expected = coco_mask.encode(np.asfortranarray(masks[0].astype("uint8")))
            objects = Objects.from_masks(masks)
            assert objects.to_rle(size) == [expected]
            again = Objects.from_rle([expected], size, labels=[3], crowd=[True])
            np.testing.assert_array_equal(again.full_mask(0, size), masks[0])
            np.testing.assert_array_equal(again.boxes, objects.boxes)
            assert again.labels[0] == 3 and again.crowd[0]

    def test_uncompressed_lists_and_text(self):
        rle = {"size": [3, 4], "counts": [4, 4, 4]}
        mask, origin = mask_from_rle(rle, (3, 4))
        assert origin == (0, 1) and mask.tolist() == [[False, True], [True, True], [True, False]]
        packed = mask_to_rle(mask, origin, (3, 4))
        text = {"size": (3, 4), "counts": packed["counts"].decode()}
        np.testing.assert_array_equal(mask_from_rle(text, (3, 4))[0], mask)

    def test_no_pixel(self):
        mask, origin = mask_from_rle({"size": [3, 4], "counts": [12]}, (3, 4))
        assert mask.shape == (0, 0) and origin == (0, 0)
        with pytest.raises(DataError, match="encoded mask 0 has no pixel"):
            Objects.from_rle([{"size": [3, 4], "counts": [12]}], (3, 4))

    @pytest.mark.parametrize(
        "rle, message",
        [
            ({"size": [4, 3], "counts": [12]}, r"of the size \[4, 3\], its image is \[3, 4\]"),
            ({"size": [3, 4], "counts": [4, 4]}, "they span 8 of 12 pixels"),
            ({"size": [3, 4], "counts": [14, -6, 4]}, "do not add up"),
            ({"size": [3, 4], "counts": ["a"]}, "no whole numbers"),
            ({"size": [3, 4], "counts": [float("nan"), 12]}, "no whole numbers"),
            ({"size": [3, 4], "counts": ""}, "cut off or no encoding"),
            ({"size": [3, 4], "counts": "o"}, "cut off or no encoding"),
            ({"size": [3, 4], "counts": "\u00e9\x01"}, "cut off or no encoding"),
            ({"size": [3, 4], "counts": "o" * 20 + "0"}, "cut off or no encoding"),
            ({"size": 3, "counts": [12]}, "of the size 3"),
            ({"counts": [12]}, "has no RLE"),
            ([1, 2], "has no RLE"),
        ],
    )
    def test_damaged(self, rle, message):
        with pytest.raises(ValueError, match=message):
            mask_from_rle(rle, (3, 4))
