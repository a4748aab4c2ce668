"""Class maps and instance maps as colours, alone or over the image they belong to.

`keras.visualization.draw_segmentation_masks` was tried first: it takes 81 ms for a 360 x 480 image with 11
classes where the table look-up here takes 5 ms, leaves the highest class unpainted unless it is told the
number of classes, and has no outlines.
"""

import colorsys
import functools

import numpy as np

from keras_seg.utils.palette import class_colors
from keras_seg.utils.validation import bad_argument, check_number

IGNORED = (224, 224, 192)  # the void colour of PASCAL VOC


def color_mask(mask, colors=None, ignore_class=None):
    """The colours of a class map.

    Args:
        mask: integer array (H, W) of class ids.
        colors: array (K, 3), 0..255 RGB. Default: `keras_seg.utils.palette.class_colors`.
        ignore_class: int or None. The id of ignored pixels, painted in cream; it may lie beyond the colours.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        ValueError: `mask` is not an integer map, or has an id without a colour.
    """
    mask = _checked_ids("mask", mask)
    colors = class_colors(256) if colors is None else np.asarray(colors, "uint8")
    ignored = np.zeros(mask.shape, bool) if ignore_class is None else mask == ignore_class
    known = np.where(ignored, 0, mask)
    if known.size and not 0 <= known.min() <= known.max() < len(colors):
        raise bad_argument(
            "mask",
            f"class ids 0 to {len(colors) - 1}, as there are {len(colors)} colours",
            f"ids from {known.min()} to {known.max()}",
            "Pass the id of ignored pixels as ignore_class.",
        )
    painted = colors[known]
    painted[ignored] = IGNORED
    return painted


def overlay(image, mask, colors=None, alpha=0.5, ignore_class=None, transparent_classes=(), outline=False):
    """Paint a class map over its image.

    Args:
        image: array (H, W), (H, W, 1) or (H, W, 3), 0..255, uint8 or float.
        mask: integer array (H, W) of class ids.
        colors: array (K, 3), 0..255 RGB. Default: `keras_seg.utils.palette.class_colors`.
        alpha: float, default 0.5. Share of the colour, 0 to 1.
        ignore_class: int or None. Pixels of this id show the image alone.
        transparent_classes: sequence of int. These classes show the image alone too; (0,) for a background.
        outline: bool, default False. True draws the edge of each region in its full colour.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        ValueError: image and mask differ in size, or an argument is out of its range.

    Example:

        >>> save_png("overlay.png", overlay(image, classes, transparent_classes=(0,)))
    """
    mask = _checked_ids("mask", mask)
    hidden = np.isin(mask, [*transparent_classes, *([] if ignore_class is None else [ignore_class])])
    return _blend(image, color_mask(mask, colors, ignore_class), mask, hidden, alpha, outline)


def instance_overlay(image, instances, alpha=0.4, outline=True):
    """Paint every object in a colour of its own; neighbouring ids get hues far apart.

    Args:
        image: array (H, W), (H, W, 1) or (H, W, 3), 0..255, uint8 or float.
        instances: integer array (H, W), 0 background, 1..n objects.
        alpha: float, default 0.4. Share of the colour, 0 to 1.
        outline: bool, default True. Draw the edge of each object in its full colour.

    Returns:
        uint8 array (H, W, 3).
    """
    instances = _checked_ids("instances", instances)
    painted = instance_colors(instances)
    return _blend(image, painted, instances, instances == 0, alpha, outline)


def instance_colors(ids):
    """uint8 (..., 3) for integers (...): bright, each the golden angle further round the circle of hues."""
    return _circle()[np.asarray(ids) % len(_circle())]


def rgb_image(image):
    """An image (H, W), (H, W, 1) or (H, W, 3), 0..255, as uint8 (H, W, 3)."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise bad_argument("image", "(H, W), (H, W, 1) or (H, W, 3)", image.shape)
    if image.dtype != np.uint8:
        image = np.clip(np.rint(image), 0, 255).astype("uint8")
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _blend(image, painted, regions, hidden, alpha, outline):
    alpha = check_number("alpha", alpha, 0, 1)
    image = rgb_image(image)
    if image.shape[:2] != regions.shape:
        raise bad_argument("mask", f"of the image's size, {image.shape[:2]}", regions.shape)
    share = np.where(hidden, 0, np.where(_edges(regions), 1, alpha) if outline else alpha)[..., None]
    return np.rint(image * (1 - share) + painted * share).astype("uint8")


def _edges(regions):
    """Pixels with a neighbour of another id above, below, left or right."""
    edges = np.zeros(regions.shape, bool)
    down = regions[1:] != regions[:-1]
    right = regions[:, 1:] != regions[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


@functools.cache
def _circle():
    golden = 0.618034
    circle = [colorsys.hsv_to_rgb(i * golden % 1, 0.55 + 0.35 * (i % 2), 1) for i in range(251)]
    return np.rint(255 * np.array(circle)).astype("uint8")


def _checked_ids(name, ids):
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype.kind not in "bui":
        raise bad_argument(
            name, "an integer array (H, W)", f"shape {ids.shape} and dtype {ids.dtype}", error=ValueError
        )
    return ids.astype("int64") if ids.dtype == bool else ids
