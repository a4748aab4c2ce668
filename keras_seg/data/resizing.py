"""Resizing arrays as pictures: images bilinearly, masks by the area that each new pixel covers.

Boxes are xyxy in pixels, continuous: pixel i spans i..i+1.
"""

import functools
import math

import numpy as np
from PIL import Image


def resize_image(image, size, box=None, transpose=False, flips=(False, False)):
    """An image, or a box of it, resized bilinearly, then turned.

    Where it shrinks, each new pixel is the weighted mean of all pixels that it covers, so that nothing is
    skipped. A box of whole pixels that keeps its size is copied as it is.

    Args:
        image: uint8 or float32 array (H, W, C); any C.
        size: (height, width) of the resized image, before it is turned.
        box: four numbers within the image, xyxy, or None for all of it.
        transpose: bool. Rows become columns.
        flips: (bool, bool). Then upside down, left to right.

    Returns:
        Array (height, width, C), or (width, height, C) with `transpose`, of the image's dtype.
    """
    moves = [Image.Transpose.TRANSPOSE] * transpose
    moves += [Image.Transpose.FLIP_TOP_BOTTOM] * flips[0] + [Image.Transpose.FLIP_LEFT_RIGHT] * flips[1]
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return resize_plane(image, size, Image.Resampling.BILINEAR, box, moves)
    planes = [
        resize_plane(image[..., channel], size, Image.Resampling.BILINEAR, box, moves)
        for channel in range(image.shape[2])
    ]
    return np.stack(planes, axis=-1)


def resize_plane(array, size, resampling, box=None, moves=()):
    """`PIL.Image.resize` of an array that Pillow has a mode for: uint8 (H, W, 3), or 8 or 32 bits (H, W).

    Args:
        array, size, box: as in `resize_image`.
        resampling: PIL.Image.Resampling, NEAREST or BILINEAR.
        moves: sequence of PIL.Image.Transpose, done one after the other. Pillow moves pixels of three bytes
            several times faster than NumPy, and lets other threads run.
    """
    if box is not None:
        array, box = _neighbourhood(array, size, box)
    picture = Image.fromarray(np.ascontiguousarray(array)).resize(size[::-1], resampling, box=box)
    for move in moves:
        picture = picture.transpose(move)
    return np.asarray(picture)


def _neighbourhood(array, size, box):
    """The part of an array that is read for a box, and the box in it: Pillow copies all that it is given."""
    spans = []
    for low, high, side, pixels in zip(box[1::-1], box[:1:-1], size, array.shape, strict=False):
        reach = math.ceil(max((high - low) / side, 1)) + 1
        spans.append((max(math.floor(low) - reach, 0), min(math.ceil(high) + reach, pixels)))
    (top, bottom), (left, right) = spans
    inner = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return array[top:bottom, left:right], inner


def resize_areas(mask, size, box=None):
    """A mask, or a box of it, resized so that each new pixel is the exact mean of what it covers.

    Pillow's and OpenCV's area filters give a pixel to one bin or the other where it lies in both; here it
    counts in each by the part that lies there, so that no edge moves.

    Args:
        mask: bool or number array (h, w).
        size: (height, width) of the result.
        box: four numbers, xyxy, or None for all of it. What reaches beyond the mask is 0 there.

    Returns:
        float32 array (height, width).
    """
    height, width = mask.shape
    if box is None:
        rows, columns = _whole_shares(height, size[0]), _whole_shares(width, size[1])
    else:
        x1, y1, x2, y2 = box
        rows, columns = _shares(y1, y2, height, size[0]), _shares(x1, x2, width, size[1])
    areas = rows @ mask.astype("float32") @ columns.T
    # Rounding leaves means of 1.000001.
    return np.minimum(areas, mask.max(initial=0), out=areas)


# Whole masks come in few sizes, again and again.
@functools.lru_cache(maxsize=256)
def _whole_shares(pixels, bins):
    return _shares(0, pixels, pixels, bins)


def _shares(start, stop, pixels, bins):
    """How much of each bin between `start` and `stop` is each pixel, float32 (bins, pixels)."""
    edges = start + np.arange(bins + 1)[:, None] * ((stop - start) / bins)
    # The length of pixel j that lies before an edge; its differences are the pixel's parts in each bin.
    before = np.minimum(np.maximum(edges - np.arange(pixels), 0), 1)
    return ((before[1:] - before[:-1]) * (bins / (stop - start))).astype("float32")
