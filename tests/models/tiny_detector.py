"""A Mask R-CNN of a few thousand weights and scenes that it can learn, for the tests of detectors."""

import keras
import numpy as np
from keras import layers

from keras_seg import mask_rcnn

SIDE = 64
LOSSES = ("objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss")


def small_backbone(channels=3, levels=5, first=None):
    """A halving a level, as every backbone has, each a convolution with batch normalization."""
    x = images = keras.Input((None, None, channels))
    if first is not None:
        x = first(x)
    for level in range(1, levels + 1):
        x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name=f"level{level}")(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"norm{level}")(x)
        x = layers.Activation("silu", name=f"silu{level}")(x)
    return keras.Model(images, x, name="small")


def tiny(num_classes=3, input_shape=(SIDE, SIDE, 3), **options):
    """`mask_rcnn` with every number small."""
    options = {
        "pyramid_filters": 16,
        "head_units": 64,
        "mask_filters": 8,
        "anchor_sizes": (8, 16, 24, 32, 48),
        "rpn_samples": 64,
        "pre_nms": (60, 40),
        "max_proposals": (60, 40),
        "roi_samples": 32,
        "max_detections": 10,
        "canonical_size": 48,
        **options,
    }
    if "backbone" not in options:
        options["backbone"] = small_backbone(input_shape[2])
    return mask_rcnn(num_classes, input_shape, **options)


def scenes(count=2, rows=3, side=SIDE, channels=3, mask_side=28):
    """Bright ellipses, two an image, on dark noise, and what is true of them; the last row is padding.

    Returns:
        images uint8 (N, side, side, C), and a dict of boxes float32 (N, rows, 4), labels int32 (N, rows) and
        masks uint8 (N, rows, m, m) that span their boxes, or the image where m is its side.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (count, side, side, channels))
    boxes, labels = np.zeros((count, rows, 4), "float32"), np.full((count, rows), -1, "int32")
    masks = np.zeros((count, rows, mask_side, mask_side), "uint8")
    y, x = np.indices((side, side)) + 0.5
    for image, row in np.ndindex(count, 2):
        width, height = rng.integers(14, 30, 2)
        left = rng.integers(0, side // 2 - 14) + row * (side // 2) - row * max(0, width - side // 2)
        left, top = min(left, side - width), rng.integers(0, side - height)
        boxes[image, row] = left, top, left + width, top + height
        labels[image, row] = (image + row) % 3
        inside = ((x - left - width / 2) * 2 / width) ** 2 + ((y - top - height / 2) * 2 / height) ** 2 <= 1
        images[image][inside] += 90 + 60 * labels[image, row]
        if mask_side == side:
            masks[image, row] = inside
        else:
            line = (np.arange(mask_side) + 0.5) * 2 / mask_side - 1
            masks[image, row] = line[:, None] ** 2 + line**2 <= 1
    return images.clip(0, 255).astype("uint8"), {"boxes": boxes, "labels": labels, "masks": masks}


def without_objects(count=2, rows=3):
    """Images of noise, and the truth of them: rows of padding."""
    images, truth = scenes(count, rows)
    images = np.random.default_rng(1).integers(0, 40, images.shape, dtype="uint8")
    return images, {
        "boxes": np.zeros_like(truth["boxes"]),
        "labels": np.full_like(truth["labels"], -1),
        "masks": np.zeros_like(truth["masks"]),
    }


def assert_detections_equal(received, expected):
    assert sorted(received) == sorted(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(received[key], values, err_msg=key)
