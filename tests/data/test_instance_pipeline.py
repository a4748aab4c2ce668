"""Batches of images and objects: shapes, where things lie, reproducible batches, resume, bad data."""

import numpy as np
import pytest
import tensorflow as tf

from keras_seg.data import (
    DataError,
    Letterbox,
    ObjectAugmentation,
    Objects,
    check_objects,
    load_instances,
    open_source,
    without_bad_objects,
)
from keras_seg.data.object_augmentation import visible_objects
from keras_seg.data.resizing import resize_areas
from keras_seg.data.source import Source

from .files import square, write_coco, write_folder

pytestmark = pytest.mark.tf_only

SHAPES = "shapes:count=7,size=48x64"
KEYS = ("boxes", "labels", "masks")


class PaintedSource(Source):
    """Objects painted in colours of their own on black: what is seen tells where each one is."""

    drawn = True
    object_names = ("one", "two", "three")
    _GREYS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))

    def __init__(self, count=6, size=(60, 90), crowds=False):
        super().__init__("painted", [f"p{number}" for number in range(count)], ("background",))
        self._shape = size
        self.has_crowds = crowds

    def _read_objects(self, row, problems):
        random = np.random.default_rng(int(row))
        image, masks = np.zeros((*self._shape, 3), "uint8"), np.zeros((3, *self._shape), bool)
        for label, mask in enumerate(masks):
            top, left = random.integers(0, 30), 30 * label + random.integers(0, 8)
            mask[top : top + random.integers(12, 28), left : left + random.integers(10, 20)] = True
            image[mask] = self._GREYS[label]
        return image, Objects.from_masks(masks, labels=range(3), crowd=[False, False, self.has_crowds])


def arrays(dataset, count=-1):
    """Elements as flat tuples of arrays."""
    return [
        (image.numpy(), *(part.numpy() for part in truth.values())) for image, truth in dataset.take(count)
    ]


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


class TestElements:
    def test_specification(self):
        dataset = load_instances(SHAPES, image_size=(96, 80), batch_size=3, max_objects=9, mask_size=(28, 20))
        assert dataset.element_spec == (
            tf.TensorSpec((None, 96, 80, 3), "uint8"),
            {
                "boxes": tf.TensorSpec((None, 9, 4), "float32"),
                "labels": tf.TensorSpec((None, 9), "int32"),
                "masks": tf.TensorSpec((None, 9, 28, 20), "float32"),
            },
        )
        assert [len(part[0]) for part in arrays(dataset)] == [3, 3, 1] and len(dataset) == 3
        dropped = load_instances(SHAPES, image_size=96, batch_size=3, drop_remainder=True)
        assert [part[0].shape for part in arrays(dropped)] == [(3, 96, 96, 3)] * 2
        single = load_instances(SHAPES, image_size=96).element_spec
        assert single[0].shape == (96, 96, 3) and single[1]["masks"].shape == (100, 56, 56)

    def test_letterboxed_without_augmentation(self):
        source = open_source(SHAPES)
        letterbox = Letterbox((48, 64), (96, 96))
        for index, (image, boxes, labels, masks) in enumerate(arrays(load_instances(SHAPES, image_size=96))):
            expected, objects = source.read_objects(index)
            count = len(objects)
            np.testing.assert_array_equal(image, letterbox.image(expected))
            np.testing.assert_array_equal(boxes[:count], letterbox.boxes(objects.boxes))
            np.testing.assert_array_equal(labels[:count], objects.labels)
            for mask, whole in zip(masks, objects.masks, strict=False):
                np.testing.assert_array_equal(mask, resize_areas(whole, (56, 56)))
            assert not boxes[count:].any() and not masks[count:].any() and (labels[count:] == -1).all()

    def test_crowds_only_where_there_are(self, tmp_path):
        annotations = [{"segmentation": square(5, 5, 20, 20), "iscrowd": crowd} for crowd in (0, 1)]
        truth = next(iter(load_instances(write_coco(tmp_path, annotations), image_size=64, max_objects=4)))[1]
        assert truth["crowd"].numpy().tolist() == [False, True, False, False]
        assert truth["labels"].numpy().tolist() == [0, 0, -1, -1]
        spec = write_coco(tmp_path, annotations[:1])
        assert sorted(load_instances(spec, image_size=64).element_spec[1]) == sorted(KEYS)

    def test_images_without_objects(self, tmp_path):
        spec = write_coco(tmp_path)
        for augment in (None, "default"):
            for _, boxes, labels, masks in arrays(load_instances(spec, image_size=64, augment=augment)):
                assert (labels == -1).all() and not boxes.any() and not masks.any()

    def test_more_objects_than_rows(self):
        source = open_source("shapes:count=1,size=64")
        labels = source.read_objects(0)[1].labels
        assert len(labels) > 3
        options = {"image_size": 64, "max_objects": 3}

        def chosen(**more):
            return [boxes.tolist() for _, boxes, _, _ in arrays(load_instances(source, **options, **more))]

        assert chosen() == chosen() and len(chosen(repeat=False)[0]) == 3
        assert len({str(chosen(seed=seed)) for seed in range(12)}) > 1
        stream = load_instances(source, **options, shuffle=True, repeat=True)
        kept = [boxes for _, boxes, _, _ in arrays(stream, 12)]
        assert len({boxes.tobytes() for boxes in kept}) > 1
        areas = source.read_objects(0)[1].boxes
        for boxes in kept:
            rows = [np.flatnonzero((areas == box).all(axis=1))[0] for box in boxes]
            assert rows == sorted(rows) and len(set(rows)) == 3

    def test_float_images(self, tmp_path):
        from .files import save

        spec = write_coco(tmp_path, [{"segmentation": square(5, 5, 20, 20)}])
        for number in range(2):
            save(tmp_path / "images" / f"a{number}.png", np.full((40, 60), 257 * 80, "uint16"))
        image, *_ = arrays(load_instances(spec, image_size=64, augment="road"))[0]
        assert (
            image.dtype == np.float32 and image.shape == (64, 64, 3) and 0 < image.min() < image.max() <= 255
        )


class TestAugmentation:
    @pytest.mark.parametrize("augment", ["light", "microscopy", "large-scale", "crops"])
    def test_image_boxes_and_masks_move_together(self, augment):
        if augment == "crops":
            augment = ObjectAugmentation(fit=False, scale=(0.7, 1.4), flip_horizontal=True)
        stream = load_instances(
            PaintedSource(), image_size=64, augment=augment, shuffle=True, repeat=True, max_objects=5
        )
        seen = 0
        for image, boxes, labels, masks in arrays(stream, 24):
            # The brightest channel by far, also after a change of brightness and contrast.
            padding = (image == (124, 116, 104)).all(axis=-1)
            order = np.sort(image.astype(int), axis=-1)
            winner = np.where((order[..., 2] - order[..., 1] > 60) & ~padding, image.argmax(axis=-1), -1)
            for box, label, mask in zip(boxes, labels, masks, strict=True):
                if label < 0 or (box[2:] - box[:2]).min() < 6:
                    continue
                ys, xs = np.nonzero(winner == label)
                tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                np.testing.assert_allclose(box, tight, atol=1.01)
                np.testing.assert_allclose(mask, 1, atol=1e-6)
                seen += 1
        assert seen > 12

    def test_padding_keeps_its_color(self):
        augment = ObjectAugmentation(scale=(0.5, 0.5), brightness=0.5, contrast=1, gamma=1)
        for image, *_ in arrays(load_instances(SHAPES, image_size=64, augment=augment)):
            np.testing.assert_array_equal(image[24:], np.broadcast_to(np.uint8([124, 116, 104]), (40, 64, 3)))
            np.testing.assert_array_equal(
                image[:, 32:], np.broadcast_to(np.uint8([124, 116, 104]), (64, 32, 3))
            )

    def test_what_leaves_is_dropped(self):
        """Crops of a quarter of the image: some objects go, and none that stays is hardly seen."""
        augment = ObjectAugmentation(scale=(2, 2), min_visible=0.5)
        counts = []
        for _, boxes, labels, _ in arrays(
            load_instances(PaintedSource(), image_size=64, augment=augment, shuffle=True, repeat=True), 30
        ):
            counts.append((labels >= 0).sum())
            for box in boxes[labels >= 0]:
                # Objects are rectangles of at least 12 x 10 pixels of 90, enlarged by 128 / 90.
                assert (box[2:] - box[:2]).prod() >= 0.49 * 12 * 10 * (128 / 90) ** 2
        assert 0 <= min(counts) < 3 and max(counts) >= 2

    def test_a_crowd_stays_whatever_is_seen_of_it(self):
        """What is left of it would be background: for all of a crop that lies within it."""
        whole = np.ones((1, 400, 400), bool)
        augment = ObjectAugmentation(scale=(4, 4), min_visible=0.5, min_area=10**6)
        for crowd in (False, True):
            objects = Objects.from_masks(whole, labels=[0], crowd=[crowd])
            placement = augment.place((400, 400), (100, 100), np.random.default_rng(0))
            rows, _, visible = visible_objects(objects, placement, augment.min_visible, augment.min_area)
            assert rows.tolist() == [0] * crowd
        np.testing.assert_array_equal(visible, [[0, 0, 100, 100]])

    def test_of_too_many_objects_crowds_are_taken_first(self):
        for _, _, labels, _, crowd in arrays(
            load_instances(PaintedSource(crowds=True), image_size=64, augment=None, max_objects=2)
        ):
            assert crowd.tolist().count(True) == 1 and (labels >= 0).all()


class TestReproducibility:
    OPTIONS = {"image_size": 48, "augment": "microscopy", "shuffle": True, "repeat": True, "max_objects": 6}

    def test_same_seed_same_batches(self):
        one, other = (
            arrays(load_instances(SHAPES, batch_size=2, seed=4, **self.OPTIONS), 9) for _ in range(2)
        )
        assert_same(one, other)
        third = arrays(load_instances(SHAPES, batch_size=2, seed=5, **self.OPTIONS), 9)
        assert not all((a[0] == b[0]).all() for a, b in zip(one, third, strict=True))

    @pytest.mark.parametrize("start", [1, 7, 12])
    def test_start_is_the_tail_of_the_stream(self, start):
        whole = arrays(load_instances(SHAPES, seed=2, **self.OPTIONS), 16)
        assert_same(
            whole[start:], arrays(load_instances(SHAPES, seed=2, start=start, **self.OPTIONS), 16 - start)
        )

    def test_passes_differ_and_the_cache_changes_nothing(self):
        options = self.OPTIONS | {"repeat": False}
        dataset = load_instances(SHAPES, **options)
        first, second = arrays(dataset), arrays(dataset)
        assert not all((a[0] == b[0]).all() for a, b in zip(first, second, strict=True))
        assert_same(first, arrays(load_instances(SHAPES, cache=False, **options)))


class TestBadData:
    ANNOTATIONS = (
        {"segmentation": square(5, 5, 20, 20)},
        {"segmentation": [[5, 5, 9, 9]]},
        {"segmentation": square(5, 5, 20, 20), "image_id": 11},
        {"segmentation": square(5, 5, 20, 20), "image_id": 12},
    )

    def test_refused_with_a_list(self, tmp_path):
        spec = write_coco(tmp_path, self.ANNOTATIONS, images=3)
        (tmp_path / "images" / "a1.png").unlink()
        with pytest.raises(DataError, match=r"2 of 6 items cannot be used") as caught:
            load_instances(spec, image_size=64)
        assert "annotation 101 of image 10 (a0.png) has a polygon of 2 points" in str(caught.value)
        assert "a1.png cannot be opened" in str(caught.value)

    def test_skipped_and_counted(self, tmp_path, capsys):
        spec = write_coco(tmp_path, self.ANNOTATIONS, images=3)
        (tmp_path / "images" / "a1.png").unlink()
        for options in ({}, {"cache": False}, {"augment": "light", "shuffle": True}):
            parts = arrays(load_instances(spec, image_size=64, bad="skip", **options))
            assert [(labels >= 0).sum() for _, _, labels, _ in parts] == [1, 1]
            assert "coco: 1 annotations and 1 of 3 images left out" in capsys.readouterr().out

    def test_a_source_without_them(self, tmp_path, capsys):
        spec = write_coco(tmp_path, self.ANNOTATIONS, images=3)
        (tmp_path / "images" / "a1.png").unlink()
        source = without_bad_objects(spec)
        assert "coco: 1 annotations and 1 of 3 images left out" in capsys.readouterr().out
        assert source.image_ids == [10, 12]
        assert [len(source.read_objects(index)[1]) for index in range(2)] == [1, 1]
        assert len(source[1:].read_objects(0)[1]) == 1
        assert not open_source(spec).skips_bad

    def test_nothing_left(self, tmp_path):
        spec = write_coco(tmp_path, images=1)
        (tmp_path / "images" / "a0.png").unlink()
        with pytest.raises(DataError, match="No image of `coco` can be read. The first: .*a0.png"):
            load_instances(spec, image_size=64, bad="skip")

    def test_without_validation_the_message_still_comes(self, tmp_path):
        dataset = load_instances(write_coco(tmp_path, self.ANNOTATIONS), image_size=64, validate=False)
        with pytest.raises(tf.errors.OpError, match="has a polygon of 2 points"):
            arrays(dataset)

    def test_arguments(self, tmp_path):
        with pytest.raises(ValueError, match="`bad` must be 'refuse' with validate=False"):
            load_instances(SHAPES, image_size=64, bad="skip", validate=False)
        with pytest.raises(ValueError, match="`bad` must be one of"):
            load_instances(SHAPES, image_size=64, bad="ignore")
        with pytest.raises(ValueError, match="`start` must be 0 unless repeat=True"):
            load_instances(SHAPES, image_size=64, start=3)
        with pytest.raises(DataError, match="`folder` have no objects: boxes, classes and masks. Use coco"):
            load_instances(f"folder:{write_folder(tmp_path)}", image_size=64)


def test_ten_thousand_objects_in_one_image(tmp_path):
    """A remark, not an error; the time and memory of a batch follow `max_objects`."""
    places = [(6 * (number % 100), 6 * (number // 100)) for number in range(10_000)]
    annotations = [{"segmentation": square(x, y, x + 4, y + 4)} for x, y in places]
    spec = write_coco(tmp_path, annotations, images=1, size=(600, 600))
    report = check_objects(spec, progress=False)
    assert not report.problems and report.class_objects.sum() == 10_000
    assert report.remarks == [
        "the image a0 has 10000 objects. Training takes `max_objects` of them at random, and the rest count "
        "as background: raise that, or cut the image into tiles."
    ]
    assert "remark: the image a0 has 10000 objects" in str(report)
    source = open_source(spec)
    assert source.read_objects(0)[1].nbytes < 10_000 * 64
    _, boxes, labels, masks = arrays(load_instances(source, image_size=300, validate=False, max_objects=50))[
        0
    ]
    assert (labels == 0).all() and masks.shape == (50, 56, 56) and masks.min() > 0.99
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 2, atol=1e-4)


@pytest.mark.data
def test_real_nuclei(real_data):
    source = open_source(f"nuclei:{real_data / 'nuclei'}#0:12")
    stream = load_instances(source, image_size=128, batch_size=4, augment="microscopy", shuffle=True)
    for image, truth in stream:
        labels, boxes = truth["labels"].numpy(), truth["boxes"].numpy()[truth["labels"].numpy() >= 0]
        assert image.shape == (4, 128, 128, 3) and (labels >= 0).any(axis=1).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 128
