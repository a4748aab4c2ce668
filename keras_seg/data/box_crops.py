"""What lies in a box, resized to one size: crops of image and mask, also of boxes that reach over the border.

Boxes are xyxy in pixels of the image, continuous: pixel i spans i..i+1. Beyond the border lies black, and a
value of the caller's in masks. DeconvNet is trained and run on such crops.
"""

import math

import numpy as np
from PIL import Image

from keras_seg.data.resizing import resize_image, resize_plane
from keras_seg.utils.validation import bad_argument, check_pair

# A crop of a box is read out of its whole pixels first; larger ones are a mistake in the boxes.
_MOST_PIXELS = 2**28


def crop_box(image, box, size, fill=0):
    """The part of an image in a box, resized bilinearly.

    Where it shrinks, each new pixel is the weighted mean of all pixels that it covers, so that nothing is
    skipped.

    Args:
        image: uint8 or float32 array (H, W, C), C 1 or 3 for uint8.
        box: four numbers, xyxy in pixels.
        size: int or (height, width) of the result.
        fill: number. What lies beyond the border.

    Returns:
        Array (height, width, C) of the image's dtype.

    Raises:
        ValueError: a box without area, or one that isn't finite.

    Example:
        >>> crop_box(np.zeros((100, 80, 3), "uint8"), (-10, 20, 50, 80), 224).shape
        (224, 224, 3)
    """
    part, inner = _whole_pixels(image, box, fill)
    return resize_image(part, check_pair("size", size), inner)


def crop_box_mask(mask, box, size, fill=0):
    """The part of a mask in a box, resized by nearest neighbour: no new value appears.

    Args:
        mask: uint8 or int32 array (H, W).
        box, size: as for `crop_box`.
        fill: int. The value beyond the border.

    Returns:
        Array (height, width) of the mask's dtype.
    """
    part, inner = _whole_pixels(mask, box, fill)
    resized = resize_plane(part.astype("int32"), check_pair("size", size), Image.Resampling.NEAREST, inner)
    return resized.astype(mask.dtype)


def enlarged(boxes, factor):
    """Boxes made larger around their centres.

    Args:
        boxes: float array (..., 4), xyxy.
        factor: float, of both sides.

    Returns:
        float32 array of the same shape.
    """
    boxes = np.asarray(boxes, "float32")
    centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    return np.concatenate([centre - factor * half, centre + factor * half], axis=-1)


def _whole_pixels(array, box, fill):
    """The pixels that a box touches, filled beyond the border, and the box within them."""
    x1, y1, x2, y2 = (float(side) for side in box)
    if not all(map(math.isfinite, (x1, y1, x2, y2))) or x2 <= x1 or y2 <= y1:
        raise bad_argument("box", "(x1, y1, x2, y2) with x1 < x2 and y1 < y2", tuple(box))
    left, top, right, bottom = math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)
    if (right - left) * (bottom - top) > _MOST_PIXELS:
        raise bad_argument("box", f"a box of at most {_MOST_PIXELS} pixels", tuple(box))
    part = np.full((bottom - top, right - left, *array.shape[2:]), fill, array.dtype)
    rows, columns = (
        slice(max(start, 0), max(min(stop, length), 0))
        for start, stop, length in ((top, bottom, array.shape[0]), (left, right, array.shape[1]))
    )
    inside = array[rows, columns]
    part[rows.start - top :, columns.start - left :][: inside.shape[0], : inside.shape[1]] = inside
    return part, (x1 - left, y1 - top, x2 - left, y2 - top)
