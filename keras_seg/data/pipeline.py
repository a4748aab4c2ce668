"""From a data set to batches of images and masks, by a tf.data pipeline where a sample depends on a seed and
its position only: same seed, same batches, and a killed run goes on with those that it would have had.
"""

import numpy as np
import tensorflow as tf

from keras_seg.data.augmentation import Augmentation, find_augmentation
from keras_seg.data.errors import DataError
from keras_seg.data.memory import Memory, default_limit
from keras_seg.data.python_calls import call_python
from keras_seg.data.report import survey
from keras_seg.data.sample_order import batches, check_order, sample_order
from keras_seg.data.specs import open_source
from keras_seg.data.synthetic import ShapesSource
from keras_seg.data.weight_maps import border_term, class_balance, median_frequency_weights
from keras_seg.utils.validation import bad_argument, check_choice, check_pair


def load(
    spec_or_source,
    *,
    batch_size=None,
    crop_size=None,
    augment=None,
    shuffle=False,
    repeat=False,
    seed=0,
    start=0,
    cache=True,
    weights=None,
    validate=True,
    drop_remainder=False,
):
    """A tf.data pipeline of images and masks, ready for `model.fit`.

    Images keep the source's dtype, uint8 for all ordinary files, so that little is copied to an accelerator;
    models bring them to their own range. Augmented values are rounded back to it.

    Args:
        spec_or_source: str as for `open_source`, or a Source.
        batch_size: int or None, which gives single samples.
        crop_size: int, (height, width) or None, which keeps each image's size. The place is random where
            `shuffle` or `augment` is set, and the middle otherwise. Smaller images are mirrored beyond their
            border, image and mask alike.
        augment: None, True, the name of a preset ("light", "road", "microscopy", "paper", "default"), or an
            `Augmentation`.
        shuffle: bool. A new permutation of all items in each pass.
        repeat: bool. True goes on without end, a pass after the other, and batches may span two passes. False
            ends after one pass; each iteration over the data set is then another pass, shuffled and augmented
            anew, and the sequence of passes is the same for the same seed.
        seed: int, for order and augmentation.
        start: int. Samples that an earlier run has used already; with `repeat=True` only.
        cache: bool. Keep decoded items in memory, up to 4 GiB or a quarter of the machine's.
        weights: None, "border" (U-Net's border weight map; for data with instances or of two classes, where
            class 1 are the cells) or "balance" (median frequency of classes). Ignored pixels weigh 0.
        validate: bool. Read every file first, and raise with a list of all that cannot be used.
        drop_remainder: bool. Leave out a last batch that is not full.

    Returns:
        tf.data.Dataset of (images, masks) or (images, masks, weights): uint8 or float32 (N, H, W, C), int32
        (N, H, W), float32 (N, H, W). Shapes are static where the size is known.

    Raises:
        DataError: files that cannot be used, or images of several sizes that cannot make one batch.

    Example:

        train = load("camvid:data/camvid/train", batch_size=8, crop_size=(288, 384), augment="road",
                     shuffle=True, repeat=True)
        model.fit(train, steps_per_epoch=45, epochs=10)
    """
    source = open_source(spec_or_source)
    check_order(batch_size, seed, start, repeat)
    crop_size = None if crop_size is None else check_pair("crop_size", crop_size)
    augmentation = find_augmentation(augment)
    check_choice("weights", weights, (None, "border", "balance"))
    reader = _Reader(source, weights, Memory(default_limit() if cache else 0))
    report = None
    if weights == "balance" or (validate and not source.drawn):
        report = survey(source, reader.read, progress=True)
        report.raise_if_bad()
        reader.set_class_weights(report)
    shape = crop_size or _common_size(source, report, batch_size)
    move = augmentation or Augmentation()
    random_crop = shuffle or augmentation is not None

    def sample(index, key):
        image, mask, *weight = reader.tensors(index)
        if augmentation is not None or crop_size is not None:
            image, mask, *weight = move(
                image, mask, *weight, seed=key, crop_size=crop_size, random_crop=random_crop
            )
        image.set_shape((*shape, source.channels))
        for plane in (mask, *weight):
            plane.set_shape(shape)
        return (image, tf.cast(mask, "int32"), *weight)

    order = sample_order(len(source), seed=seed, shuffle=shuffle, repeat=repeat, start=start)
    return batches(order, sample, batch_size, drop_remainder)


def shapes(count=200, *, size=(128, 128), num_classes=4, seed=0, **load_options):
    """Drawn shapes with known truth, as a pipeline: no files, no download.

    Args:
        count: int. Number of images.
        size: int or (height, width).
        num_classes: int, 2 to 255, background counted.
        seed: int, for the drawing, the order and the augmentation.
        **load_options: as for `load`.

    Returns:
        tf.data.Dataset, as from `load`.

    Example:

        model.fit(keras_seg.data.shapes(200, batch_size=8), epochs=5)
    """
    return load(ShapesSource(count, size, num_classes, seed), seed=seed, **load_options)


class _Reader:
    """Items as tensors of arrays, decoded once where there is memory for them."""

    def __init__(self, source, weights, memory):
        self._source = source
        self._weights = weights
        self._memory = memory
        self._class_weights = None
        if weights == "border" and source.num_classes != 2 and source.read_instances(0) is None:
            raise bad_argument(
                "weights",
                "'balance' or None for data without instances and of more than two classes",
                weights,
            )

    def set_class_weights(self, report):
        if self._weights == "balance":
            table = np.zeros(256, "float32")
            table[: self._source.num_classes] = median_frequency_weights(
                report.class_pixels, report.class_areas
            )
            self._class_weights = table

    def read(self, index):
        return self._memory.get(("item", index), lambda: self._source.read(index))

    def read_weight(self, index):
        return self._memory.get(("weight", index), lambda: (self._make_weight(index),))[0]

    def tensors(self, index):
        kinds = [self._source.dtype, "uint8"] + ["float32"] * (self._weights is not None)
        tensors = call_python(self._arrays, [index], kinds)
        tensors[0].set_shape((None, None, self._source.channels))
        for plane in tensors[1:]:
            plane.set_shape((None, None))
        return tensors

    def _arrays(self, index):
        index = int(index)
        image, mask = self.read(index)
        if self._weights is None:
            return image, mask
        return image, mask, self.read_weight(index)

    def _make_weight(self, index):
        mask = self.read(index)[1]
        if self._weights == "balance":
            return self._class_weights[mask]
        ignore = self._source.ignore_class
        weight = border_term(self._source.cells(index, mask)) + class_balance(mask, ignore)
        return weight if ignore is None else np.where(mask == ignore, np.float32(0), weight)


def _common_size(source, report, batch_size):
    """(height, width) of all images, as checked or else by their headers; (None, None) where they differ."""
    sizes = set(report.sizes) if report else {source.size(index) for index in range(len(source))}
    if len(sizes) == 1 and None not in sizes:
        return sizes.pop()
    if batch_size not in (None, 1) and len(sizes - {None}) > 1:
        small, large = min(sizes - {None}), max(sizes - {None})
        raise DataError(
            f"The images of `{source.name}` have {len(sizes)} sizes, such as {small[0]} x {small[1]} and "
            f"{large[0]} x {large[1]}, and cannot make batches of {batch_size}. "
            "Set crop_size=(height, width), or batch_size=1."
        )
    return None, None
