"""A detector on flipped and turned copies of an image, and what is found in all of them as one image's.

As test-time augmentation of maps of classes is a mean of probabilities, so here boxes, scores and masks of
one object are averaged over the copies: boxes as in R. Solovyev, W. Wang and T. Gabruseva, "Weighted boxes
fusion", 2021, section 3, masks alike. Letters: V views of an image, D detections.
"""

import numpy as np
from keras import ops

from keras_seg.inference.augmentation import moved, moved_back
from keras_seg.ops.suppression import batched_nms


def found_in_views(detect, images, views, iou_threshold):
    """Detections of each image of a batch from all of its views.

    Args:
        detect: function from a batch (N, H, W, C) to a list of N dicts of rows, as `Detector.detect`.
        images: array (N, H, W, C).
        views: list of (quarter turns, mirrored), as `moves_for` gives.
        iou_threshold: float within 0..1. Boxes of one class that overlap more are one object.

    Returns:
        list of N dicts of the same arrays, the highest score first.
    """
    if views == [(0, False)]:
        return detect(images)
    found = [
        [_rows_back(rows, view, images.shape[1:3]) for rows in detect(moved(images, view))] for view in views
    ]
    return [fused(some, iou_threshold) for some in zip(*found, strict=True)]


def fused(found, iou_threshold):
    """Detections of an image from those of its views.

    An object's score is the sum of its best in each view over the number of views, so that what most views
    do not show counts little; its box and mask are the means, weighted by the scores.

    Args:
        found: sequence of V dicts: "boxes" float32 (D, 4), xyxy, "labels" (D,), "scores" (D,) and "masks"
            (D, m, n), probabilities of a grid over each box.
        iou_threshold: float within 0..1.

    Returns:
        dict of the same arrays, the highest score first.
    """
    rows = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    view = np.repeat(np.arange(len(found)), [len(one["scores"]) for one in found])
    leaders = suppressed(rows, iou_threshold)
    if not len(leaders):
        return {name: values[leaders] for name, values in rows.items()}
    object_of = _nearest(rows, leaders, iou_threshold)
    member = np.nonzero(object_of >= 0)[0]
    object_of, scores = object_of[member], rows["scores"][member]

    def mean(values):
        total = np.zeros((len(leaders), *values.shape[1:]))
        weights = scores.reshape(-1, *(1,) * (values.ndim - 1))
        np.add.at(total, object_of, weights * values)
        return total / np.bincount(object_of, scores, len(leaders)).reshape(-1, *weights.shape[1:])

    boxes = mean(rows["boxes"][member])
    masks = mean(_over(rows["masks"][member], rows["boxes"][member], boxes[object_of]))
    best = np.zeros((len(leaders), len(found)))
    np.maximum.at(best, (object_of, view[member]), scores)
    total = best.mean(axis=1)
    order = np.argsort(-total, kind="stable")
    together = {"boxes": boxes, "labels": rows["labels"][leaders], "scores": total, "masks": masks}
    return {name: values[order].astype(rows[name].dtype) for name, values in together.items()}


def suppressed(rows, iou_threshold):
    """Indices of the detections that no better one of their class overlaps by more, best first.

    Args:
        rows: dict of arrays "boxes" (D, 4), "scores" (D,) and "labels" (D,).
        iou_threshold: float within 0..1.
    """
    count = len(rows["scores"])
    if not count:
        return np.zeros(0, int)
    # A power of two: backends that compile for each number of boxes do so a few times only.
    padded = 1 << (count - 1).bit_length()
    boxes, scores, labels = (
        np.zeros((padded, 4), "float32"),
        np.full(padded, -np.inf, "float32"),
        np.zeros(padded, "int32"),
    )
    boxes[:count], scores[:count], labels[:count] = rows["boxes"], rows["scores"], rows["labels"]
    indices, kept = batched_nms(boxes, scores, labels, iou_threshold, padded)
    return ops.convert_to_numpy(indices)[: int(kept)]


def _rows_back(rows, view, size):
    """Rows of a view in pixels of the image, whose (height, width) is `size`."""
    turns, mirrored = view
    boxes = rows["boxes"]
    height = size[turns % 2]  # of the view
    for _ in range(turns):
        left, top, right, bottom = boxes.T
        boxes = np.stack([height - bottom, left, height - top, right], axis=1)
        height = sum(size) - height
    if mirrored:
        left, top, right, bottom = boxes.T
        boxes = np.stack([size[1] - right, top, size[1] - left, bottom], axis=1)
    return {**rows, "boxes": boxes, "masks": moved_back(rows["masks"], view)}


def _nearest(rows, leaders, iou_threshold):
    """For each detection, the place in `leaders` of that of its class which it overlaps most; -1 for none."""
    # In NumPy: JAX would compile `ops.box_iou` anew for each number of boxes.
    boxes, chosen = rows["boxes"], rows["boxes"][leaders]
    low = np.maximum(boxes[:, None, :2], chosen[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], chosen[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas, chosen_areas = ((part[:, 2:] - part[:, :2]).prod(axis=1) for part in (boxes, chosen))
    iou = shared / np.maximum(areas[:, None] + chosen_areas[None] - shared, 1e-9)
    iou[rows["labels"][:, None] != rows["labels"][leaders][None]] = -1
    nearest = iou.argmax(axis=1)
    nearest = np.where(iou.max(axis=1) > iou_threshold, nearest, -1)
    nearest[leaders] = np.arange(len(leaders))
    return nearest


def _over(masks, boxes, targets):
    """Masks (D, m, n) of boxes, resampled bilinearly over other boxes; 0 beyond their own."""
    weights = []
    for axis, bins in ((1, masks.shape[1]), (0, masks.shape[2])):
        start, stop = (boxes[:, [side]] for side in (axis, axis + 2))
        first, last = (targets[:, [side]] for side in (axis, axis + 2))
        centers = first + (np.arange(bins) + 0.5) / bins * (last - first)
        places = (centers - start) / np.maximum(stop - start, 1e-9) * bins - 0.5
        weights.append((1 - np.abs(places[:, :, None] - np.arange(bins))).clip(0))
    return weights[0] @ masks @ weights[1].transpose(0, 2, 1)
