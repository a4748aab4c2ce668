"""A detector on an image too large for it: overlapping windows, and their detections as one image's.

Letters: D detections of a window or of the image.
"""

import math

import numpy as np

from keras_seg.inference.detection_views import suppressed

# Pixels of the canvas. A box that ends so near to a window's border was cut by it.
_RIM = 2.0


def windows_of(image_size, canvas_size, min_scale, overlap):
    """Where to look at an image so that it is never shrunk below a scale.

    Args:
        image_size: (height, width), pixels.
        canvas_size: (height, width) that the detector takes, pixels.
        min_scale: float or None. Canvas pixels per image pixel, at least; None for one window whatever the
            scale.
        overlap: float within 0..1, below 1. The part of a window that its neighbour sees too.

    Returns:
        int array (V, 4): the windows' (top, left, bottom, right) in pixels of the image, row by row. The
        whole image alone where it fits at `min_scale`.
    """
    height, width = image_size
    if min_scale is None or all(
        side * min_scale <= part for side, part in zip(image_size, canvas_size, strict=True)
    ):
        return np.array([[0, 0, height, width]])
    rows, columns = (
        _spans(side, max(1, int(part / min_scale)), overlap)
        for side, part in zip(image_size, canvas_size, strict=True)
    )
    return np.array([[top, left, bottom, right] for top, bottom in rows for left, right in columns])


def merged(found, windows, image_size, scale, iou_threshold):
    """Detections of all windows as those of the image: none twice, none that a border cut in two.

    A box that ends at a border inside the image goes where the neighbour, by the overlap, sees the object
    whole; of boxes of one class that overlap more than the threshold, the best score stays.

    Args:
        found: list of dict, one a window: "boxes" float32 (D, 4), xyxy in pixels of the image, "labels",
            "scores" and "masks".
        windows: int array (V, 4), as `windows_of` gives.
        image_size: (height, width), pixels.
        scale: float, canvas pixels per image pixel.
        iou_threshold: float within 0..1.

    Returns:
        dict of the same arrays, the highest score first.
    """
    shared = _overlaps(windows)
    kept = [
        {
            name: values[_whole(rows["boxes"], window, image_size, shared, _RIM / scale)]
            for name, values in rows.items()
        }
        for rows, window in zip(found, windows, strict=True)
    ]
    together = {name: np.concatenate([rows[name] for rows in kept]) for name in kept[0]}
    best = suppressed(together, iou_threshold)
    return {name: values[best] for name, values in together.items()}


def _spans(side, part, overlap):
    """(start, stop) of equal parts that cover a side, each sharing at least `overlap` with the next."""
    part = min(part, side)
    step = max(1, math.floor(part * (1 - overlap)))
    count = 1 + math.ceil((side - part) / step)
    starts = np.round(np.linspace(0, side - part, count)).astype(int)
    return [(int(start), int(start) + part) for start in starts]


def _overlaps(windows):
    """Pixels that neighbouring windows share at least, (down, across); 0 where there is one only."""
    shared = []
    for low, high in ((0, 2), (1, 3)):
        starts, stops = np.unique(windows[:, low]), np.unique(windows[:, high])
        shared.append(int((stops[:-1] - starts[1:]).min()) if len(starts) > 1 else 0)
    return shared


def _whole(boxes, window, image_size, shared, rim):
    """Rows of boxes that the window shows whole, or that are too large for its neighbour to, bool (D,)."""
    whole = np.ones(len(boxes), bool)
    for axis in (0, 1):
        start, stop = window[axis], window[axis + 2]
        low, high = boxes[:, 1 - axis], boxes[:, 3 - axis]
        cut = (start > 0) & (low < start + rim) | (stop < image_size[axis]) & (high > stop - rim)
        whole &= ~(cut & (high - low < shared[axis] - rim))
    return whole
