"""Which table rows each bin reads, and with which weights, as one flat list: RoIAlign as a sparse matrix.

For the backends that have a fast sum or maximum over such a list (see `ops/fast`). Its length depends on the
boxes, unless sampling is fixed, so it is not for compilers that need static shapes.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_seg.ops.roi_chunks import largest_of
from keras_seg.ops.roi_samples import sample_tap, window_sizes, window_tap
from keras_seg.ops.row_gather import take_rows


class Bags(NamedTuple):
    """R bags of entries, in the bags' order.

    Attributes:
        sources: tensor (E,), int32. The table row that each entry reads.
        weights: tensor (E,), float32, or None.
        targets: tensor (E,), int32. The bag that each entry belongs to.
        starts: tensor (R,), int32. The first entry of each bag.
    """

    sources: Any
    weights: Any
    targets: Any
    starts: Any


def fixed_bags(regions, y_axis, x_axis, taps):
    """The bags of a fixed number of taps per axis: `taps ** 2` entries in each.

    Args:
        regions: Regions, B of them.
        y_axis, x_axis: Axis of the same regions.
        taps: int.

    Returns:
        Bags, one for each bin: R = B * bins of y * bins of x.
    """
    rows, row_weights, columns, column_weights = _on_both_axes(
        regions, y_axis, x_axis, sample_tap, np.arange(taps), np.arange(taps)
    )
    sources = ops.reshape(rows[:, :, None, :, None] + columns[:, None, :, None, :], (-1,))
    weights = ops.reshape(row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :], (-1,))
    bags, entries = ops.shape(regions.boxes)[0] * y_axis.bins * x_axis.bins, taps * taps
    bag = ops.arange(bags, dtype="int32")
    # A zero that only the boxes tell: of a known number of boxes the targets would be a constant, as long as
    # all samples, which TensorFlow keeps and copies in each of its passes over a graph.
    zero = ops.sum(ops.minimum(sources[:1], 0))
    targets = ops.reshape(ops.broadcast_to((bag + zero)[:, None], (bags, entries)), (-1,))
    return Bags(sources, weights, targets, bag * entries)


def window_bags(regions, y_axis, x_axis):
    """The bags of adaptive sampling: an entry for each pixel of the region's widest window.

    Args and Returns: as `fixed_bags`.
    """
    heights, widths = window_sizes(y_axis), window_sizes(x_axis)
    most = largest_of(heights), largest_of(widths)
    rows, row_weights, columns, column_weights = (
        ops.reshape(part, (-1,))
        for part in _on_both_axes(regions, y_axis, x_axis, window_tap, *(ops.arange(side) for side in most))
    )
    bins = y_axis.bins * x_axis.bins
    bag = ops.arange(ops.shape(regions.boxes)[0] * bins, dtype="int32")
    box = bag // bins
    targets, starts, entry = _entries(take_rows(heights * widths, box))
    width = take_rows(take_rows(widths, box), targets)
    first_row = (box * y_axis.bins + bag % bins // x_axis.bins) * most[0]
    first_column = (box * x_axis.bins + bag % x_axis.bins) * most[1]
    row = take_rows(first_row, targets) + entry // width
    column = take_rows(first_column, targets) + entry % width
    sources = take_rows(rows, row) + take_rows(columns, column)
    return Bags(sources, take_rows(row_weights, row) * take_rows(column_weights, column), targets, starts)


def rectangle_bags(regions, top, bottom, left, right):
    """The bags of whole pixels, row by row.

    Args:
        regions: Regions, B of them.
        top, bottom: tensors (B, h), int32. First row of each bin, and the row after its last.
        left, right: tensors (B, w), int32. The same along x.

    Returns:
        Bags, one for each bin, without weights.
    """
    heights, widths = ops.maximum(bottom - top, 0), ops.maximum(right - left, 0)
    targets, starts, entry = _entries(ops.reshape(heights[:, :, None] * widths[:, None, :], (-1,)))
    map_width = regions.widths[:, None, None]
    corner = regions.first_rows[:, None, None] + top[:, :, None] * map_width + left[:, None, :]
    shape = ops.shape(corner)
    corner, width, map_width = (
        take_rows(ops.reshape(ops.broadcast_to(part, shape), (-1,)), targets)
        for part in (corner, widths[:, None, :], map_width)
    )
    return Bags(corner + entry // width * map_width + entry % width, None, targets, starts)


def _entries(counts):
    """For bags of so many entries: each entry's bag, each bag's first entry, each entry's place in it."""
    starts = ops.cumsum(counts) - counts
    targets = ops.repeat(ops.arange(ops.shape(counts)[0], dtype="int32"), counts)
    return targets, starts, ops.arange(ops.shape(targets)[0], dtype="int32") - take_rows(starts, targets)


def _on_both_axes(regions, y_axis, x_axis, tap_of, y_taps, x_taps):
    """Table rows and weights of y's taps, (B, bins, taps), then offsets and weights of x's."""
    y, row_weights = tap_of(y_axis, y_taps)
    x, column_weights = tap_of(x_axis, x_taps)
    rows = ops.reshape(regions.first_rows, (-1, 1, 1)) + y * ops.reshape(regions.widths, (-1, 1, 1))
    return rows, row_weights, x, column_weights
