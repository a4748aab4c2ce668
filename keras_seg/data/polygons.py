"""Outlines as masks, by COCO's rasteriser, in memory that follows the outline and not the image."""

import numpy as np

from keras_seg.utils.optional import import_optional


def checked_polygon(points):
    """The points of a polygon, float64 (P, 2), x and y in pixels.

    Args:
        points: what an annotation holds: x, y, x, y, ... or (x, y) pairs.

    Raises:
        ValueError: fewer than three points, or none that are numbers. The message is a phrase that goes on
            from the annotation's name.
    """
    try:
        array = np.asarray(points, "float64")
    except (TypeError, ValueError, OverflowError):
        raise ValueError("has a polygon whose points are no numbers") from None
    if array.ndim == 1 and array.size % 2 == 0:
        array = array.reshape(-1, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError("has a polygon that is no list of x and y")
    if not np.isfinite(array).all():
        raise ValueError("has a polygon with NaN or infinite points")
    if len(array) < 3:
        raise ValueError(f"has a polygon of {len(array)} points, which has no area: it needs at least 3")
    return array


def polygon_mask(polygons, image_size):
    """The union of polygons, cut to its outer box.

    Pixels are those that pycocotools gives for the polygons at the image's size.

    Args:
        polygons: list of float arrays (P, 2) as from `checked_polygon`.
        image_size: (height, width).

    Returns:
        Pair: bool array (h, w), and its (top, left). It may have no pixel.

    Raises:
        ValueError: polygons that lie outside the image, or points far outside it.
    """
    height, width = image_size
    points = np.concatenate(polygons)
    limits = np.array([width, height])
    low, high = points.min(axis=0), points.max(axis=0)
    if (high <= 0).any() or (low >= limits).any():
        raise ValueError(f"lies outside its image of {height} x {width} pixels (height x width)")
    # The rasteriser walks along each edge in fifths of a pixel, so a wild point costs time and memory.
    if (low < -2 * limits).any() or (high > 3 * limits).any():
        raise ValueError(f"has points far outside its image of {height} x {width} pixels (height x width)")
    # A pixel more on each side: only where the image ends may the rasteriser clip.
    left, top = (np.floor(low).astype(int) - 1).clip(0)
    right, bottom = np.minimum(np.ceil(high).astype(int) + 1, limits)
    coder = import_optional("pycocotools.mask", "Polygons as masks", extra="coco")
    size = int(bottom - top), int(right - left)
    outlines = [(polygon - (left, top)).ravel().tolist() for polygon in polygons]
    mask = coder.decode(coder.merge(coder.frPyObjects(outlines, *size)))
    return mask.astype(bool), (int(top), int(left))


def circle_polygon(center, edge, corners=64):
    """A circle through `edge` around `center`, both (x, y), as a polygon, float64 (corners, 2)."""
    radius = np.hypot(*np.subtract(edge, center))
    angles = np.arange(corners) * (2 * np.pi / corners)
    # Of the circle's own area: the polygon with its corners on the circle would be a little small.
    radius *= np.sqrt(2 * np.pi / (corners * np.sin(2 * np.pi / corners)))
    return np.asarray(center) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
