"""What the native forms of suppression share: a grid that tells which boxes may overlap a given one enough.

Two boxes whose IoU exceeds t are alike in size and near each other. Along x they share more than
(w1 + w2) t / (1 + t) of their widths, or their areas would not do, so their centres are less than
(w1 + w2) (1 - t) / (2 (1 + t)) apart; and as w2 < w1 / t, that is at most w1 (1 - t) / (2 t). The same holds
along y. Sorted by strip of y and then by x, the boxes that may overlap a given one enough lie in a few
contiguous runs, one for each strip, and a binary search finds their ends.
"""

from typing import Any, NamedTuple

from keras import ops

# A key is made of image, class, strip and column, and leaves 2**21 images to 63 bits.
STRIDE = 2**20  # columns of a strip, and so the distance in keys from strip to strip
STRIPS = 64
CLASSES = 2**16  # more classes than that share groups, which costs pairs, not exactness
# Reaches and centres come from float32: wrong by a few roundings (6e-8) of the size and of the coordinate.
SIZE_MARGIN = 1e-4
COORDINATE_MARGIN = 1e-6


class Rows(NamedTuple):
    """R = K * N boxes. Row r * N + i is the r-th best of image i: the earlier of two rows is the better one.

    Attributes:
        boxes: float32 (R, 5), corners and area.
        image: int32 (R,).
        label: the class, integers (R,), or None.
        active: bool (R,): valid, with positive sides and a finite area. The other rows overlap nothing.
        key: int64 (R,), the cell of the box's centre.
        lowest: int64 (R,), the first key of the first window. The next windows start `STRIDE` further each.
        span: int64 (R,), the last key of a window less its first.
        strips: int64 (R,), the number of windows.
    """

    boxes: Any
    image: Any
    label: Any
    active: Any
    key: Any
    lowest: Any
    span: Any
    strips: Any


def pair_rows(boxes, valid, classes, iou_threshold):
    """Rows of all images with their windows; the arguments are those of `kept_by_tiles`.

    A box that overlaps another of its image and class enough to drop it has its key in that one's windows.
    """
    images, total = ops.shape(valid)
    boxes = ops.reshape(ops.transpose(boxes, (1, 0, 2)), (-1, 4))
    image = ops.tile(ops.arange(images, dtype="int32"), (total,))
    group = ops.cast(image, "int64") * CLASSES
    if classes is not None:
        classes = ops.reshape(ops.transpose(classes), (-1,))
        group = group + ops.cast(classes, "int64") % CLASSES
    corner, end = ops.split(boxes, 2, axis=1)
    size = end - corner
    area = ops.prod(size, axis=1)
    active = ops.logical_and(ops.reshape(ops.transpose(valid), (-1,)), ops.all(size > 0, axis=1))
    active = ops.logical_and(active, ops.isfinite(area))
    first, own, last = _cells(corner, size, active, iou_threshold)
    row = group * STRIPS
    return Rows(
        boxes=ops.concatenate([boxes, area[:, None]], axis=1),
        image=image,
        label=classes,
        active=active,
        key=(row + own[1]) * STRIDE + own[0],
        lowest=(row + first[1]) * STRIDE + first[0],
        span=last[0] - first[0],
        strips=last[1] - first[1] + 1,
    )


def _cells(corner, size, active, iou_threshold):
    """Column and strip of the first place, the centre and the last place to look at, for boxes (R, 2)."""
    # A row of zeros in front, so that there is a largest also of no boxes. It moves no bound the wrong way.
    active, corner, size = (ops.pad(part, [[1, 0], [0, 0]]) for part in (active[:, None], corner, size))
    size = ops.where(active, size, 0.0)
    center = ops.where(active, corner + size / 2, 0.0)
    factor = (1 - iou_threshold) / max(2 * iou_threshold, 1e-30)
    by_ratio = size * (factor * (1 + SIZE_MARGIN) + SIZE_MARGIN)
    # For small thresholds, half of both widths is the closer bound.
    by_largest = (size + ops.max(size, axis=0)) * (0.5 + SIZE_MARGIN)
    reach = ops.minimum(by_ratio, by_largest) + COORDINATE_MARGIN * ops.max(ops.abs(center))

    low, high = ops.min(center, axis=0), ops.max(center, axis=0)
    # Strips as high as the mean window: a box then has two windows on average.
    count = ops.maximum(ops.sum(ops.cast(active, "float32")), 1.0)
    mean = ops.sum(ops.where(active, 2 * reach, 0.0), axis=0) / count
    # Only strips have a least height: columns cost nothing, and may be as narrow as they get.
    most = ops.convert_to_tensor([STRIDE - 1, STRIPS - 1], "float32")
    least = ops.where(ops.convert_to_tensor([False, True]), mean, 0.0)
    side = ops.maximum(ops.maximum((high - low) / most, least), 1e-30)

    def cell(point):
        cells = ops.clip((point[1:] - low) / side, 0, most)
        return ops.unstack(ops.cast(cells, "int64"), 2, axis=1)

    return cell(center - reach), cell(center), cell(center + reach)


def places_of(kept, images, max_output):
    """`(places, count)`, as `kept_by_tiles` returns them, from bool (R,): which rows are kept."""
    kept = ops.transpose(ops.reshape(kept, (-1, images)))
    position = ops.cumsum(ops.cast(kept, "int32"), axis=1) - 1
    # What is not kept goes to one entry more, which is cut off.
    entry = ops.where(ops.logical_and(kept, position < max_output), position, max_output)
    image = ops.broadcast_to(ops.expand_dims(ops.arange(images, dtype="int32"), 1), ops.shape(entry))
    rank = ops.broadcast_to(ops.arange(ops.shape(kept)[1], dtype="int32"), ops.shape(entry))
    places = ops.scatter_update(
        ops.full((images, max_output + 1), -1, dtype="int32"),
        ops.reshape(ops.stack([image, entry], axis=2), (-1, 2)),
        ops.reshape(rank, (-1,)),
    )[:, :max_output]
    return places, ops.minimum(ops.sum(ops.cast(kept, "int32"), axis=1), max_output)
