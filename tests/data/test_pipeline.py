"""The pipeline: shapes and dtypes, reproducible batches, exact resume, memory, and its errors."""

import numpy as np
import pytest
import tensorflow as tf

from keras_seg.data import Augmentation, DataError, check, load, open_source, shapes
from keras_seg.data.memory import Memory
from keras_seg.data.synthetic import ShapesSource
from keras_seg.data.weight_maps import border_term, border_weight_map, class_balance

from .files import class_mask, color_image, save, write_folder

pytestmark = pytest.mark.tf_only

SHAPES = "shapes:count=7,size=32x40"


def arrays(dataset, count=None):
    """Elements as tuples of arrays."""
    return [tuple(part.numpy() for part in element) for element in dataset.take(count or -1)]


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


class TestElements:
    def test_plain(self):
        source = open_source(SHAPES)
        dataset = load(SHAPES)
        assert len(dataset) == 7
        assert dataset.element_spec == (
            tf.TensorSpec((32, 40, 3), "uint8"),
            tf.TensorSpec((32, 40), "int32"),
        )
        for index, (image, mask) in enumerate(arrays(dataset)):
            np.testing.assert_array_equal(image, source.read(index)[0])
            np.testing.assert_array_equal(mask, source.read(index)[1])

    @pytest.mark.parametrize("drop, sizes", [(False, [3, 3, 1]), (True, [3, 3])])
    def test_batches(self, drop, sizes):
        dataset = load(SHAPES, batch_size=3, weights="border", drop_remainder=drop)
        assert [len(image) for image, _, _ in arrays(dataset)] == sizes
        assert len(dataset) == len(sizes)
        image, mask, weight = dataset.element_spec
        assert image.shape.as_list() == [3 if drop else None, 32, 40, 3] and image.dtype == tf.uint8
        assert mask.shape.as_list() == [3 if drop else None, 32, 40] and mask.dtype == tf.int32
        assert weight.shape == mask.shape and weight.dtype == tf.float32

    def test_crops_and_mirrored_padding(self):
        source = open_source(SHAPES)
        middle = arrays(load(SHAPES, crop_size=20))
        np.testing.assert_array_equal(middle[2][0], source.read(2)[0][6:26, 10:30])
        padded = arrays(load(SHAPES, crop_size=(40, 48)))[2]
        image, mask = source.read(2)
        np.testing.assert_array_equal(padded[0], np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect"))
        np.testing.assert_array_equal(padded[1], np.pad(mask, 4, mode="reflect"))

    def test_deep_images_stay_float(self, tmp_path):
        write_folder(tmp_path)
        for number in range(4):
            save(tmp_path / "images" / f"a{number}.png", color_image()[..., 0].astype("uint16") * 200)
        dataset = load(f"folder:{tmp_path}", batch_size=2, augment="microscopy", crop_size=8)
        image = dataset.element_spec[0]
        assert image.dtype == tf.float32 and image.shape.as_list() == [None, 8, 8, 1]
        assert all(part[0].min() >= 0 and part[0].max() <= 255 for part in arrays(dataset))

    def test_different_sizes(self, tmp_path):
        write_folder(tmp_path)
        save(tmp_path / "images" / "a1.png", color_image(1, (20, 14)))
        save(tmp_path / "masks" / "a1.png", class_mask(1, (20, 14)))
        spec = f"folder:{tmp_path}"
        for validate in (True, False):
            with pytest.raises(
                DataError,
                match=r"have 2 sizes, such as 12 x 17 and 20 x 14, .* of 2\. Set crop_size=.* batch_size=1",
            ):
                load(spec, batch_size=2, validate=validate)
        assert load(spec, batch_size=1).element_spec[0].shape.as_list() == [None, None, None, 3]
        assert [part[0].shape[1:3] for part in arrays(load(spec, batch_size=1))][:2] == [(12, 17), (20, 14)]
        assert arrays(load(spec, batch_size=4, crop_size=16))[0][0].shape == (4, 16, 16, 3)


class TestReproducibility:
    OPTIONS = {"crop_size": 24, "augment": "microscopy", "shuffle": True}

    def test_same_seed_same_batches(self):
        one, other = (
            arrays(load(SHAPES, batch_size=2, repeat=True, seed=4, **self.OPTIONS), 9) for _ in range(2)
        )
        assert_same(one, other)
        third = arrays(load(SHAPES, batch_size=2, repeat=True, seed=5, **self.OPTIONS), 9)
        assert not all((a[0] == b[0]).all() for a, b in zip(one, third, strict=True))

    def test_iterating_twice_gives_the_same_endless_stream(self):
        dataset = load(SHAPES, batch_size=2, repeat=True, **self.OPTIONS)
        assert_same(arrays(dataset, 5), arrays(dataset, 5))

    @pytest.mark.parametrize("start", [1, 6, 7, 20])
    def test_start_is_the_tail_of_the_stream(self, start):
        whole = arrays(load(SHAPES, repeat=True, seed=2, weights="border", **self.OPTIONS), 30)
        tail = load(SHAPES, repeat=True, seed=2, start=start, weights="border", **self.OPTIONS)
        assert_same(whole[start:], arrays(tail, 30 - start))

    def test_each_pass_has_every_item_in_another_order(self):
        source = open_source(SHAPES)
        items = [source.read(index)[0].tobytes() for index in range(7)]
        stream = [
            items.index(part[0].tobytes()) for part in arrays(load(SHAPES, shuffle=True, repeat=True), 28)
        ]
        passes = [tuple(stream[first : first + 7]) for first in range(0, 28, 7)]
        assert all(sorted(order) == list(range(7)) for order in passes)
        assert len(set(passes)) == 4

    def test_passes_of_a_finite_set_differ_and_repeat_by_seed(self):
        def passes(seed):
            dataset = load(SHAPES, seed=seed, **self.OPTIONS)
            assert len(dataset) == 7
            return [arrays(dataset) for _ in range(3)]

        one, other = passes(1), passes(1)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
        contents = {b"".join(part[0].tobytes() for part in a) for a in (*one, *passes(2))}
        assert len(contents) == 6

    def test_finite_pass_has_every_item_once(self):
        source = open_source(SHAPES)
        items = {source.read(index)[0].tobytes() for index in range(7)}
        dataset = load(SHAPES, shuffle=True)
        for _ in range(2):
            assert {part[0].tobytes() for part in arrays(dataset)} == items

    def test_unshuffled_stream_goes_round(self):
        stream = arrays(load(SHAPES, repeat=True, start=5), 4)
        source = open_source(SHAPES)
        for part, index in zip(stream, (5, 6, 0, 1), strict=True):
            np.testing.assert_array_equal(part[0], source.read(index)[0])

    def test_one_item(self):
        stream = arrays(load("shapes:count=1,size=32", repeat=True, shuffle=True), 3)
        assert (stream[0][0] == stream[2][0]).all()


class TestWeights:
    def test_border_moves_with_the_mask(self):
        source = ShapesSource(1, 32)
        mask = source.read(0)[1]
        weight = border_term(source.read_instances(0)) + class_balance(mask)
        dataset = load(source, augment=Augmentation(flip_horizontal=True), weights="border", repeat=True)
        flips = set()
        for _, new_mask, new_weight in arrays(dataset, 8):
            step = 1 if (new_mask == mask).all() else -1
            flips.add(step)
            np.testing.assert_array_equal(new_mask, mask[:, ::step])
            np.testing.assert_array_equal(new_weight, weight[:, ::step])
        assert flips == {1, -1}

    def test_binary_border_is_the_public_function(self, tmp_path):
        write_folder(tmp_path, num_classes=2)
        source = open_source(f"folder:{tmp_path}")
        for index, (_, mask, weight) in enumerate(arrays(load(source, weights="border"))):
            np.testing.assert_allclose(weight, border_weight_map(source.read(index)[1]), rtol=1e-5)
            assert mask.max() == 1

    def test_balance_is_median_frequency_and_ignores(self, tmp_path):
        write_folder(tmp_path, num_classes=4)
        (tmp_path / "classes.json").write_text('{"classes": ["a", "b", "c"], "ignore_index": 3}')
        report = check(f"folder:{tmp_path}", progress=False)
        frequency = report.class_pixels / report.class_areas
        for validate in (True, False):
            for _, mask, weight in arrays(load(f"folder:{tmp_path}", weights="balance", validate=validate)):
                expected = np.append(np.median(frequency) / frequency, 0)[mask]
                np.testing.assert_allclose(weight, expected, rtol=1e-6)

    def test_border_needs_cells(self, tmp_path):
        write_folder(tmp_path, num_classes=4)
        with pytest.raises(
            ValueError, match="`weights` must be 'balance' or None for data without instances"
        ):
            load(f"folder:{tmp_path}", weights="border")


class TestMemory:
    def test_files_are_read_once(self, tmp_path, monkeypatch):
        write_folder(tmp_path)
        source = open_source(f"folder:{tmp_path}")
        reads = []
        read = source._read
        monkeypatch.setattr(source, "_read", lambda row: reads.append(row) or read(row))
        kept = load(source, batch_size=2)
        first = arrays(kept)
        assert sorted(reads) == [0, 1, 2, 3]
        assert_same(first, arrays(kept))
        assert len(reads) == 4
        arrays(load(source, batch_size=2, cache=False))
        assert len(reads) == 12

    def test_what_is_kept_does_not_change(self, tmp_path):
        """float32 arrays go into TensorFlow without a copy, so nothing may write into them there."""
        write_folder(tmp_path, num_classes=2)
        save(tmp_path / "images" / "a0.png", color_image()[..., 0].astype("uint16") * 200)
        source = open_source(f"folder:{tmp_path}")
        assert source.dtype == "float32"
        for augment in (None, "road"):
            dataset = load(source, augment=augment, weights="border", repeat=True)
            assert_same(arrays(dataset, 12), arrays(dataset, 12))

    def test_limit(self):
        memory, made = Memory(100), []

        def make(size):
            return lambda: (made.append(size) or np.zeros(size, "uint8"),)

        for _ in range(2):
            for key, size in enumerate((60, 50, 40, 1)):
                memory.get(key, make(size))
        assert made == [60, 50, 40, 1, 50, 1]


def test_shapes_is_a_pipeline():
    images, masks = next(iter(shapes(6, size=32, num_classes=3, batch_size=4, shuffle=True)))
    assert images.shape == (4, 32, 32, 3) and masks.shape == (4, 32, 32)
    assert masks.dtype == tf.int32 and int(tf.reduce_max(masks)) == 2


def test_fit_takes_it():
    import keras

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, padding="same")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    history = model.fit(
        shapes(8, size=32, batch_size=4, weights="border"), epochs=2, shuffle=False, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


def test_bad_arguments():
    for arguments, message in (
        ({"start": 3}, "`start` must be 0 unless repeat=True"),
        ({"weights": "edges"}, "`weights` must be one of None, 'border', 'balance'"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"crop_size": (3, 0)}, "`crop_size` must be an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            load(SHAPES, **arguments)


@pytest.mark.data
def test_road_scenes_come_in_crops(real_data):
    spec = f"camvid:{real_data}/camvid/val#0:16"
    dataset = load(spec, batch_size=8, crop_size=(288, 384), augment="road", shuffle=True, repeat=True)
    for images, masks in dataset.take(2):
        assert images.shape == (8, 288, 384, 3) and images.dtype == tf.uint8
        assert set(np.unique(masks)) <= set(range(12))
