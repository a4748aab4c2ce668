"""A detector whose answers are known: it reads objects, classes and scores off the colours of the image.

A pixel belongs to object s of S where red is at least half of full and green / red is nearest to s / S, so
that a pixel which resizing has mixed with a black ground still belongs to its object. Blue / 255 is the
score, and s modulo K the label.
"""

import keras
import numpy as np
from keras import ops

from keras_seg.ops import crop_masks, masks_to_boxes


@keras.saving.register_keras_serializable(package="keras_seg_tests")
class ReadSlots(keras.layers.Layer):
    """Images to detections, the highest score first."""

    def __init__(self, slots=8, num_classes=3, mask_size=28, **kwargs):
        super().__init__(**kwargs)
        self.slots, self.num_classes, self.mask_size = slots, num_classes, mask_size

    def call(self, images):
        red, green, blue = ops.unstack(ops.cast(images, "float32"), axis=-1)
        read = ops.where(red >= 127.5, ops.round(green / ops.maximum(red, 1.0) * self.slots), 0.0)
        numbers = ops.arange(1, self.slots + 1, dtype="float32")[None, :, None, None]
        masks = ops.cast(ops.equal(ops.expand_dims(read, 1), numbers), "float32")
        pixels = ops.sum(masks, axis=(2, 3))
        present = pixels > 0
        scores = ops.sum(masks * ops.expand_dims(blue, 1), axis=(2, 3)) / ops.maximum(pixels, 1.0) / 255
        scores = ops.where(present, scores, 0.0)
        order = ops.argsort(-scores, axis=-1)
        boxes = ops.take_along_axis(masks_to_boxes(masks), order[..., None], axis=1)
        labels = ops.where(ops.take_along_axis(present, order, 1), (order + 1) % self.num_classes, -1)
        return {
            "boxes": boxes,
            "labels": ops.cast(labels, "int32"),
            "scores": ops.take_along_axis(scores, order, axis=1),
            "masks": crop_masks(masks, boxes, ops.cast(order, "int32"), self.mask_size),
            "num_detections": ops.sum(ops.cast(present, "int32"), axis=1),
        }

    def compute_output_spec(self, images):
        count, size = images.shape[0], self.mask_size
        shapes = {
            "boxes": ((self.slots, 4), "float32"),
            "labels": ((self.slots,), "int32"),
            "scores": ((self.slots,), "float32"),
            "masks": ((self.slots, size, size), "float32"),
            "num_detections": ((), "int32"),
        }
        return {
            name: keras.KerasTensor((count, *shape), dtype=dtype) for name, (shape, dtype) in shapes.items()
        }

    def get_config(self):
        own = {"slots": self.slots, "num_classes": self.num_classes, "mask_size": self.mask_size}
        return {**super().get_config(), **own}


def slot_detector(size=(64, 64), slots=8, num_classes=3, mask_size=28):
    """keras.Model with the outputs of a detector."""
    images = keras.Input((*size, 3))
    return keras.Model(images, ReadSlots(slots, num_classes, mask_size)(images), name="slots")


def draw_slots(size, objects, slots=8):
    """An image of `size`: `objects` is a list of (slot, score, bool mask or xyxy of whole pixels)."""
    image = np.zeros((*size, 3), "uint8")
    for slot, score, place in objects:
        if isinstance(place, tuple):
            x1, y1, x2, y2 = place
            place = (slice(y1, y2), slice(x1, x2))
        image[place] = (255, round(255 * slot / slots), round(255 * score))
    return image
