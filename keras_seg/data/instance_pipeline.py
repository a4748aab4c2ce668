"""From a data set to batches of images and objects, as Mask R-CNN is trained on: boxes, classes and masks.

Order and reproducibility are those of `pipeline.py`.
"""

import numpy as np
import tensorflow as tf

from keras_seg.data.color import change_color, color_amounts
from keras_seg.data.letterbox import Letterbox
from keras_seg.data.memory import Memory, default_limit
from keras_seg.data.object_augmentation import find_object_augmentation, visible_objects
from keras_seg.data.object_report import usable_rows
from keras_seg.data.placement import Placement
from keras_seg.data.python_calls import call_python
from keras_seg.data.sample_order import batches, check_order, sample_order
from keras_seg.data.specs import open_source
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_pair


def load_instances(
    spec_or_source,
    *,
    image_size,
    batch_size=None,
    augment=None,
    shuffle=False,
    repeat=False,
    seed=0,
    start=0,
    max_objects=100,
    mask_size=56,
    validate=True,
    bad="refuse",
    cache=True,
    drop_remainder=False,
):
    """A tf.data pipeline of images and their objects, ready for Mask R-CNN's `model.fit`.

    Images lie on a canvas of `image_size` (`keras_seg.data.Letterbox`), or wherever the augmentation puts
    them. Each object's mask is kept for its box alone, `mask_size` pixels each way, every pixel the mean of
    what it covers; so memory depends neither on the images' size nor on the objects'. On 400 nuclei, 1.7 % of
    the bins of 28 x 28 training targets differed from those of masks of the whole image, on 12 objects of
    COCO's layout 0.85 % (`python -m benchmarks.box_masks --data nuclei:DIR coco:FILE`).

    Args:
        spec_or_source: str as for `open_source`, or a Source; one that has objects.
        image_size: int or (height, width) of the canvas.
        batch_size: int or None, which gives single samples.
        augment: None, True, the name of a preset ("light", "road", "microscopy", "large-scale", "default"),
            or an `ObjectAugmentation`.
        shuffle, repeat, seed, start, cache, drop_remainder: as for `load`.
        max_objects: int. Rows for objects, G. Of an image with more, as many are kept, chosen at random by
            `seed`: for each sample anew with `augment` or `shuffle`, and else always the same.
        mask_size: int or (height, width) of the masks, m.
        validate: bool. Read every file first, and raise with a list of all that cannot be used.
        bad: "refuse" raises where an image or an annotation cannot be used. "skip" leaves out such
            annotations, and images that cannot be read, and prints how many; needs `validate=True`.

    Returns:
        tf.data.Dataset of (images, objects): uint8 or float32 (N, H, W, C), and a dict of

            "boxes": float32 (N, G, 4), xyxy in pixels of the canvas; 0 in rows without an object,
            "labels": int32 (N, G), 0..classes-1; -1 in rows without an object,
            "masks": float32 (N, G, m, m), within 0..1, each spanning its box,
            "crowd": bool (N, G), only where the data have crowd regions.

        Shapes are static. Images without objects are part of the data.

    Raises:
        DataError: data without objects, or files that cannot be used.

    Example:

        train = load_instances("coco:annotations.json,images", image_size=512, batch_size=4, augment=True,
                               shuffle=True, repeat=True)
        model.fit(train, steps_per_epoch=500, epochs=10)
    """
    source = open_source(spec_or_source)
    check_order(batch_size, seed, start, repeat)
    canvas_size = check_pair("image_size", image_size)
    mask_size = check_pair("mask_size", mask_size)
    check_integer("max_objects", max_objects)
    check_choice("bad", bad, ("refuse", "skip"))
    augmentation = find_object_augmentation(augment)
    if bad == "skip" and not validate:
        raise bad_argument("bad", "'refuse' with validate=False, which finds nothing to skip", bad)
    if not source.has_objects:
        source.read_objects(0)  # raises, and says which data have
    memory = Memory(default_limit() if cache else 0)
    reader = _Reader(source, memory, bad == "skip", canvas_size, mask_size, max_objects, augmentation)
    rows = np.arange(len(source))
    if validate and not source.drawn:
        rows = usable_rows(source, reader.read, bad)
    fixed = augmentation is None and not shuffle
    kinds = [source.dtype, "float32", "int32", "float32", "bool", "int32"]
    shapes = [
        (*canvas_size, source.channels),
        (max_objects, 4),
        (max_objects,),
        (max_objects, *mask_size),
        (max_objects,),
        (2,),
    ]

    def sample(position, key):
        index = tf.gather(tf.constant(rows, "int64"), position)
        if fixed:
            key = tf.stack([tf.constant(seed, "int64"), index])
        tensors = call_python(reader.arrays, [index, key], kinds)
        for tensor, shape in zip(tensors, shapes, strict=True):
            tensor.set_shape(shape)
        image, boxes, labels, masks, crowd, content = tensors
        if augmentation is not None and augmentation.changes_color:
            image = _recolored(image, content, key, augmentation)
        objects = {"boxes": boxes, "labels": labels, "masks": masks}
        if source.has_crowds:
            objects["crowd"] = crowd
        return image, objects

    order = sample_order(len(rows), seed=seed, shuffle=shuffle, repeat=repeat, start=start)
    return batches(order, sample, batch_size, drop_remainder)


class _Reader:
    """Samples as arrays of fixed shapes."""

    def __init__(self, source, memory, skip, canvas_size, mask_size, max_objects, augmentation):
        self._source = source
        self._memory = memory
        self._skip = skip
        self._canvas_size = canvas_size
        self._mask_size = mask_size
        self._max_objects = max_objects
        self._augmentation = augmentation

    def read(self, index, problems=None):
        """`source.read_objects`, decoded once where there is memory for it."""
        return self._memory.get(index, lambda: self._source.read_objects(index, problems))

    def arrays(self, index, key):
        """Image, boxes, labels, masks, crowd, and the size of the image on the canvas."""
        image, objects = self.read(int(index), [] if self._skip else None)
        random = np.random.default_rng([int(part) for part in key])
        size, least = image.shape[:2], ()
        if self._augmentation is None:
            content = Letterbox(size, self._canvas_size).content_size
            placement = Placement(size, self._canvas_size, content)
        else:
            placement = self._augmentation.place(size, self._canvas_size, random)
            least = self._augmentation.min_visible, self._augmentation.min_area
        rows, places, visible = visible_objects(objects, placement, *least)
        if len(rows) > self._max_objects:
            order = random.permutation(len(rows))
            # Crowd regions first: without one its people would be background.
            order = order[np.argsort(~objects.crowd[rows[order]], kind="stable")]
            chosen = np.sort(order[: self._max_objects])
            rows, places, visible = rows[chosen], places[chosen], visible[chosen]
        count = len(rows)
        boxes = np.zeros((self._max_objects, 4), "float32")
        labels = np.full(self._max_objects, -1, "int32")
        masks = np.zeros((self._max_objects, *self._mask_size), "float32")
        crowd = np.zeros(self._max_objects, bool)
        boxes[:count], labels[:count], crowd[:count] = visible, objects.labels[rows], objects.crowd[rows]
        for place, row in enumerate(rows):
            masks[place] = placement.soft_mask(
                objects.masks[row], places[place], visible[place], self._mask_size
            )
        content = np.array(placement.visible_size, "int32")
        return placement.image(image), boxes, labels, masks, crowd, content


def _recolored(image, content, key, augmentation):
    """The image in other colours, its padding as it was."""
    # A seed of its own: the place was drawn from this sample's.
    draws = tf.unstack(tf.random.stateless_uniform((5,), tf.random.fold_in(key, 1)))
    changed = change_color(tf.cast(image, "float32"), *color_amounts(draws, augmentation))
    if image.dtype == tf.uint8:
        changed = tf.cast(tf.round(changed), "uint8")
    rows = tf.range(image.shape[0])[:, None, None] < content[0]
    columns = tf.range(image.shape[1])[:, None] < content[1]
    return tf.where(rows & columns, changed, image)
