"""Detections in images of any size, by a detector whose answers are known."""

import keras
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from keras_seg import ops
from keras_seg.inference import Detections, is_detector, predict_instances
from keras_seg.inference.detector import Detector
from keras_seg.inference.mask_pasting import PastedMasks
from tests.inference.slot_detector import draw_slots, slot_detector

# Slots 1 and 4, label 1, and 3, label 0; scores as blue values of 8 bits hold them.
OBJECTS = [(1, 0.6, (10, 20, 50, 60)), (4, 0.8, (60, 16, 92, 48)), (3, 0.2, (8, 70, 24, 90))]


def found_in(image, size=(64, 64), **options):
    return predict_instances(slot_detector(size), [image], **options)[0]


def test_objects_come_back_in_the_images_own_pixels():
    image = draw_slots((96, 128), OBJECTS)
    found = found_in(image, (96, 128))
    assert (len(found), found.image_size) == (3, (96, 128))
    np.testing.assert_array_equal(found.boxes, [[60, 16, 92, 48], [10, 20, 50, 60], [8, 70, 24, 90]])
    np.testing.assert_array_equal(found.labels, [1, 1, 0])
    np.testing.assert_allclose(found.scores, [0.8, 0.6, 0.2], atol=1e-6)
    for index, (_, _, (x1, y1, x2, y2)) in enumerate([OBJECTS[1], OBJECTS[0], OBJECTS[2]]):
        expected = np.zeros((96, 128), bool)
        expected[y1:y2, x1:x2] = True
        np.testing.assert_array_equal(found.full_mask(index), expected)


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (200, 131)])
def test_images_are_letterboxed_and_the_way_back_is_exact_to_a_canvas_pixel(size):
    image = draw_slots((96, 128), OBJECTS)
    found = found_in(image, size)
    pixel = 1 / min(size[0] / 96, size[1] / 128)
    np.testing.assert_array_equal(found.labels, [1, 1, 0])
    np.testing.assert_allclose(found.boxes[:2], [[60, 16, 92, 48], [10, 20, 50, 60]], atol=max(1, pixel))
    expected = np.zeros((96, 128), bool)
    expected[16:48, 60:92] = True
    mask = found.full_mask(0)
    assert (mask & expected).sum() / (mask | expected).sum() > 0.85


def test_batches_of_several_sizes_are_in_order_and_equal_single_images():
    images = [draw_slots(size, OBJECTS) for size in ((96, 128), (110, 95), (96, 128), (300, 100), (91, 93))]
    model = slot_detector()
    together = predict_instances(model, images, batch_size=2)
    assert [found.image_size for found in together] == [image.shape[:2] for image in images]
    for image, found in zip(images, together, strict=True):
        (alone,) = predict_instances(model, image[None])
        np.testing.assert_array_equal(found.boxes, alone.boxes)
        np.testing.assert_array_equal(found.scores, alone.scores)
        np.testing.assert_array_equal(found.id_map(), alone.id_map())
    assert predict_instances(model, []) == []


def test_thresholds_of_score_and_mask():
    image = draw_slots((96, 128), OBJECTS)
    assert len(found_in(image, score_threshold=0.5)) == 2
    assert len(found_in(image, score_threshold=0.9)) == 0
    wide, narrow = (found_in(image, mask_threshold=value) for value in (0.1, 0.9))
    assert wide.full_mask(0).sum() > narrow.full_mask(0).sum() > 0
    above = found_in(image).above(0.5)
    np.testing.assert_array_equal(above.id_map(), found_in(image, score_threshold=0.5).id_map())


def test_an_image_without_objects():
    found = found_in(np.zeros((40, 50, 3), "uint8"))
    assert (len(found), found.boxes.shape, found.to_rle()) == (0, (0, 4), [])
    assert found.id_map().shape == (40, 50) and not found.id_map().any()


class FindInPadding(keras.layers.Layer):
    """An object in the padding below a wide image, and one that begins in the image and ends there."""

    def call(self, images):
        upper_half = np.repeat(np.arange(28)[:, None] < 14, 28, axis=1)
        found = {
            "boxes": np.array([[4, 20, 12, 30], [4, 8, 12, 24], [0, 0, 0, 0]], "float32"),
            "labels": np.array([1, 2, -1], "int32"),
            "scores": np.array([0.9, 0.8, 0], "float32"),
            "masks": np.stack([upper_half] * 3).astype("float32"),
            "num_detections": np.array(2, "int32"),
        }
        count = keras.ops.shape(images)[0]
        return {
            name: keras.ops.repeat(keras.ops.convert_to_tensor(value[None]), count, axis=0)
            for name, value in found.items()
        }


def padding_finder():
    images = keras.Input((32, 32, 3), batch_size=1)
    return keras.Model(images, FindInPadding()(images))


def test_masks_keep_their_shape_where_a_box_reaches_into_the_padding():
    # 16 x 32 on a canvas of 32 x 32: rows 16..31 are padding.
    (found,) = predict_instances(padding_finder(), np.zeros((1, 16, 32, 3), "uint8"))
    np.testing.assert_array_equal(found.boxes, [[4, 8, 12, 16]])
    assert found.labels.tolist() == [2]
    # The upper half of the box as it was found, 8..16, and not of what is left of it.
    expected = np.zeros((16, 32), bool)
    expected[8:16, 4:12] = True
    np.testing.assert_array_equal(found.full_mask(0), expected)


def drawn(boxes, scores, size=(60, 80)):
    masks = PastedMasks(np.random.default_rng(0).random((len(boxes), 28, 28)), boxes, size, 0.3)
    labels = np.zeros(len(boxes), "int32")
    return Detections(np.asarray(boxes, "float32"), labels, np.asarray(scores), masks, masks.origins, size)


def test_the_best_of_overlapping_objects_is_on_top():
    found = drawn([[5, 5, 40, 40], [20, 20, 70, 55], [-9, 30, 30, 90]], [0.9, 0.8, 0.7])
    ids, masks = found.id_map(), [found.full_mask(k) for k in range(3)]
    assert ids.dtype == np.uint16
    np.testing.assert_array_equal(ids == 1, masks[0])
    np.testing.assert_array_equal(ids == 2, masks[1] & ~masks[0])
    np.testing.assert_array_equal(ids == 3, masks[2] & ~masks[0] & ~masks[1])
    assert all((masks[0] & mask).any() for mask in masks[1:])


def test_what_is_mostly_hidden_is_not_drawn():
    # A third of the second shows beside the first; the others are free.
    boxes = [[10, 10, 50, 50], [34, 10, 58, 50], [30, 52, 70, 58], [60, 2, 70, 8]]
    boxes, size = np.asarray(boxes, "float32"), (60, 80)
    masks = PastedMasks(np.ones((4, 28, 28)), boxes, size, 0.5)
    scores = np.linspace(0.9, 0.6, 4)
    found = Detections(boxes, np.zeros(4, "int32"), scores, masks, masks.origins, size)
    assert sorted(np.unique(found.id_map())) == [0, 1, 3, 4]
    assert sorted(np.unique(found.id_map(0.3))) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.id_map(0) == 2, found.full_mask(1) & ~found.full_mask(0))
    # What is left out hides nothing.
    behind = found.id_map(0.3) == 2
    assert behind.any() and not found.id_map()[behind].any()
    with pytest.raises(ValueError, match="min_visible"):
        found.id_map(2)


def test_run_lengths_are_pycocotools_own():
    found = drawn([[5.5, 5, 40, 40], [-4, -9, 90, 70], [100, 3, 120, 9]], [0.9, 0.8, 0.7])
    for index, rle in enumerate(found.to_rle()):
        assert rle == coco_masks.encode(np.asfortranarray(found.full_mask(index).astype("uint8")))


def test_masks_are_those_of_the_op():
    image = draw_slots((90, 120), OBJECTS)
    model = slot_detector((90, 120))
    raw = {name: np.asarray(value) for name, value in model.predict(image[None], verbose=0).items()}
    values = keras.ops.convert_to_numpy(ops.paste_masks(raw["masks"], raw["boxes"], (90, 120)))[0]
    (found,) = predict_instances(model, [image])
    for index in range(3):
        np.testing.assert_array_equal(found.full_mask(index), values[index] >= 0.5)


def test_what_is_a_detector_and_what_is_not():
    images = keras.Input((8, 8, 3))
    semantic = keras.Model(images, keras.layers.Conv2D(2, 1)(images))
    assert is_detector(slot_detector()) and is_detector(padding_finder())
    assert not is_detector(semantic) and not is_detector(keras.Sequential())
    with pytest.raises(ValueError, match="`model` must be a detector"):
        predict_instances(semantic, [np.zeros((8, 8, 3))])
    with pytest.raises(ValueError, match="built for images of one size"):
        Detector(slot_detector((None, 64)))
    detector = Detector(slot_detector((48, 64)))
    assert (detector.input_size, detector.channels, detector.num_classes) == ((48, 64), 3, None)


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((9, 9)), {}, r"images \(h, w, 3\)"),
        (np.zeros((0, 9, 3)), {}, r"images \(h, w, 3\)"),
        (np.zeros((9, 9, 3)), {"score_threshold": 2}, "`score_threshold`"),
        (np.zeros((9, 9, 3)), {"batch_size": 0}, "`batch_size`"),
    ],
)
def test_wrong_arguments_are_named(image, options, message):
    with pytest.raises(ValueError, match=message):
        found_in(image, **options)
