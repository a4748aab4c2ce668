"""RoIPool: the largest value in each bin of a box, with the box and its bins rounded to whole pixels."""

import keras
import numpy as np
from keras import ops

from keras_seg.ops.fast import native_form, on_accelerator
from keras_seg.ops.roi_bags import rectangle_bags
from keras_seg.ops.roi_chunks import boxes_at_once, map_over_alike, map_over_chunks
from keras_seg.ops.roi_regions import lay_on_map, lay_on_pyramid, output_of, wide_dtype
from keras_seg.ops.roi_samples import true_divide
from keras_seg.utils.validation import check_pair

# Boxes at a time in the portable loop, where a chunk goes on until the largest bin in it is done, on CPUs and
# on accelerators; and where the bins' pixels are written down.
LOOP_CHUNK = 16
LARGE_CHUNK = 256
BAG_CHUNK = 128
BAG_ENTRIES = 2**21
# Coordinates are limited to this many pixels, so that their sums are exact in float32.
_FARTHEST = 2.0**22
# Map pixels of the longest region whose bins are looked up: 4096 pixels of an image at stride 4.
_TABLED = 1024


def roi_pool(features, boxes, output_size, spatial_scale=1.0):
    """Features of each box, cut into bins: the largest value in each bin.

    A box is rounded to whole map pixels, both ends included, and is at least one pixel large; bins are
    rounded outwards, so neighbours overlap. A bin without pixels on the map is 0. The gradient goes to the
    largest value, the first in reading order where several are equal, and not to the boxes. A NaN is larger
    than nothing and nothing is larger than it: it is the result where it is the bin's first pixel, and is
    passed over elsewhere.

    Reference: Girshick 2015, Fast R-CNN, section 2.1. The rounding is that of torchvision.ops.roi_pool.

    Args:
        features: tensor (N, H, W, C), floating point.
        boxes: tensor (N, K, 4), xyxy in absolute pixels of the image; cast to float32. One with a NaN
            gives 0.
        output_size: int or pair (h, w). Bins along y and x.
        spatial_scale: float. Map pixels per image pixel: 1 / 16 for a map of stride 16. Defaults to 1.

    Returns:
        Tensor (N, K, h, w, C), the features' dtype.

    Raises:
        ValueError: for a wrong rank, a last axis of boxes that is not 4, batches that differ, features that
            are not floating point, or a setting out of range.
        TypeError: for an argument of a wrong type, or a KerasTensor: use `keras_seg.layers.RoIPool`.

    Example:
        >>> features = np.arange(16.0, dtype="float32").reshape(1, 4, 4, 1)
        >>> boxes = np.array([[[0.0, 0.0, 3.0, 3.0]]], "float32")
        >>> roi_pool(features, boxes, 2)[0, 0, :, :, 0]
        [[ 5.,  7.], [13., 15.]]
    """
    maxima = _RegionMaxima(check_pair("output_size", output_size))
    return output_of(maxima, *lay_on_map("roi_pool", features, boxes, spatial_scale))


def multilevel_roi_pool(features, boxes, output_size, canonical_size=224, canonical_level=4):
    """`roi_pool` from the one level of a pyramid that fits each box, as `multilevel_roi_align` reads it.

    Args:
        features: dict of level name to tensor (N, H_k, W_k, C), as in `multilevel_roi_align`.
        boxes: tensor (N, K, 4), xyxy in absolute pixels of the image.
        output_size: int or pair (h, w).
        canonical_size: float. Side of the box that belongs to `canonical_level`. Defaults to 224.
        canonical_level: int. Defaults to 4.

    Returns:
        Tensor (N, K, h, w, C), the features' dtype.

    Raises:
        ValueError, TypeError: as `roi_pool` and `multilevel_roi_align`.

    Example:
        >>> pyramid = {"P2": np.zeros((1, 64, 64, 8), "float32"), "P3": np.ones((1, 32, 32, 8), "float32")}
        >>> multilevel_roi_pool(pyramid, np.array([[[0.0, 0.0, 200.0, 200.0]]]), 7).shape
        (1, 1, 7, 7, 8)
    """
    maxima = _RegionMaxima(check_pair("output_size", output_size))
    return output_of(
        maxima, *lay_on_pyramid("multilevel_roi_pool", features, boxes, canonical_size, canonical_level)
    )


class _RegionMaxima:
    """Largest value in each bin of each region, differentiable with respect to the table."""

    def __init__(self, output_size):
        self.output_size = output_size

    def __call__(self, table, regions):
        """Table (T, C) and B regions to (B, h, w, C)."""
        largest_alone = native_form("bag_largest", table=table)
        if largest_alone:
            return self._by_bags(lambda *bags: (largest_alone(*bags),), table, regions)[0]

        @ops.custom_gradient
        def maxima(table):
            shape = ops.shape(table)
            compiled = native_form("compiled")
            if compiled:
                # Found again for the gradient: without the places the loop takes half the time.
                largest = compiled(_largest_alone)(table, regions, self.output_size)
            else:
                largest, sources = self._forward(table, regions)

            def gradient(*arguments, upstream=None):
                upstream = arguments[0] if upstream is None else upstream
                places = compiled(_places)(table, regions, self.output_size) if compiled else sources
                return self._scatter(upstream, places, shape)

            return largest, gradient

        return maxima(table)

    def _forward(self, table, regions):
        """As `_largest`."""
        maxima = native_form("bag_maxima")
        if not maxima:
            return _largest(table, regions, self.output_size)
        largest, sources = self._by_bags(maxima, ops.cast(table, wide_dtype(table)), regions)
        return ops.cast(largest, table.dtype), sources

    def _by_bags(self, function, table, regions):
        """What a function of the table and the bins' pixels gives, a tuple of (R, C), for each bin."""
        shape = (-1, *self.output_size, table.shape[-1])
        top, bottom, left, right = _limits(regions, self.output_size)
        pixels = ops.sum(bottom - top, axis=1) * ops.sum(right - left, axis=1)

        def of_bags(regions):
            bags = rectangle_bags(regions, *_limits(regions, self.output_size))
            return tuple(ops.reshape(result, shape) for result in function(table, bags))

        return map_over_chunks(of_bags, regions, boxes_at_once(pixels, BAG_ENTRIES, BAG_CHUNK))

    def _scatter(self, upstream, sources, shape):
        rows, channels = shape
        numbers = ops.where(sources < 0, 0.0, ops.cast(upstream, wide_dtype(upstream)))
        add = native_form("add_numbers") or _add_numbers
        total = add(
            ops.reshape(numbers, (-1, channels)),
            ops.reshape(ops.maximum(sources, 0), (-1, channels)),
            rows,
        )
        return ops.cast(total, upstream.dtype)


def _add_numbers(numbers, places, rows):
    """A table (rows, C) of sums: each number (R, C) is added in its own channel, in the row at its place."""
    channels = ops.shape(numbers)[1]
    # One number for row and channel. In int32 it bounds the table to 2**31 numbers, 8 GB.
    element = places * channels + ops.arange(channels, dtype="int32")
    total = ops.segment_sum(
        ops.reshape(numbers, (-1,)), ops.reshape(element, (-1,)), num_segments=rows * channels
    )
    return ops.reshape(total, (rows, channels))


def _largest(table, regions, output_size, written=False):
    """The largest values, (B, h, w, C), and the table rows that they come from, -1 for an empty bin.

    `written`: each chunk goes to its place, see `map_over_chunks`, as a compiler needs it.
    """
    top, bottom, left, right = _limits(regions, output_size)
    heights, widths = ops.max(bottom - top, axis=1), ops.max(right - left, axis=1)
    shape = (*output_size, table.shape[-1])
    return map_over_alike(
        lambda part: _largest_of_chunk(table, part, output_size),
        regions,
        LARGE_CHUNK if on_accelerator() else LOOP_CHUNK,
        heights,
        widths,
        ((shape, keras.backend.standardize_dtype(table.dtype)), (shape, "int32")) if written else None,
    )


def _largest_alone(table, regions, output_size):
    return _largest(table, regions, output_size, written=True)[0]


def _places(table, regions, output_size):
    return _largest(table, regions, output_size, written=True)[1]


def _largest_of_chunk(table, regions, output_size):
    top, bottom, left, right = _limits(regions, output_size)
    height, width = ops.max(bottom - top), ops.max(right - left)
    dtype = wide_dtype(table)

    def compare(tap, best):
        largest, sources = best
        y, x = top + tap // width, left + tap % width
        counts = ops.logical_and((y < bottom)[:, :, None], (x < right)[:, None, :])
        row = (
            regions.first_rows[:, None, None] + y[:, :, None] * regions.widths[:, None, None] + x[:, None, :]
        )
        row = ops.where(counts, row, 0)
        values = ops.cast(ops.take(table, row, axis=0), dtype)
        # Strictly larger: in reading order, the first of equal values stays. The first pixel, tap 0, is taken
        # whatever it is, also -inf.
        better = ops.logical_and(counts[..., None], ops.logical_or(values > largest, tap == 0))
        return ops.where(better, values, largest), ops.where(better, row[..., None], sources)

    shape = (ops.shape(regions.boxes)[0], *output_size, table.shape[-1])
    nothing = ops.zeros(shape, dtype=dtype), ops.full(shape, -1, dtype="int32")
    largest, sources = ops.fori_loop(0, ops.maximum(height, 0) * ops.maximum(width, 0), compare, nothing)
    return ops.cast(largest, table.dtype), sources


def _limits(regions, output_size):
    """First and last rows, then columns, of the bins, see `_bin_limits`."""
    x1, y1, x2, y2 = (_rounded(regions.boxes[:, side]) for side in range(4))
    rows = _bin_limits(y1, y2, output_size[0], regions.heights)
    return *rows, *_bin_limits(x1, x2, output_size[1], regions.widths)


def _rounded(coordinate):
    """To whole pixels, halves away from zero; a NaN stays."""
    nearest = ops.trunc(coordinate)
    away = ops.where(ops.absolute(coordinate - nearest) >= 0.5, ops.sign(coordinate), 0.0)
    return ops.clip(nearest + away, -_FARTHEST, _FARTHEST)


def _bin_limits(first, last, bins, size):
    """First pixel of each bin, and the one after its last, within the map: two tensors (B, bins), int32.

    Bins of a region with a NaN are empty.
    """
    size = ops.cast(size, "float32")[:, None]
    offsets = _bin_offsets(ops.maximum(last - first + 1.0, 1.0), bins)
    begin, end = (offset + first[:, None] for offset in offsets)
    lost = ops.isnan(begin + end)
    begin, end = (ops.where(lost, 0.0, ops.minimum(ops.maximum(limit, 0.0), size)) for limit in (begin, end))
    return ops.cast(begin, "int32"), ops.cast(end, "int32")


def _bin_offsets(length, bins):
    """The same from the region's first pixel on, for regions of `length` pixels (B,): float32 (B, bins).

    The products are rounded as torchvision's are, so a bin's end may be a pixel later than in exact
    arithmetic. Which of them are depends on the last bit of a division, and GPUs that divide by way of a
    reciprocal have others: so for all but the largest regions NumPy has done it, once for each length.
    """
    lengths = np.arange(_TABLED + 1, dtype="float32")
    table = np.stack(_rounded_offsets(lengths / np.float32(bins), bins, np), axis=1)
    # A NaN stays one, from the arithmetic.
    known = ops.cast(ops.where(length <= _TABLED, length, 0.0), "int32")
    begin, end = ops.unstack(ops.take(ops.convert_to_tensor(table), known, axis=0), 2, axis=1)
    others = _rounded_offsets(true_divide(length, bins), bins, ops)
    known = (length <= _TABLED)[:, None]
    return ops.where(known, begin, others[0]), ops.where(known, end, others[1])


def _rounded_offsets(bin_size, bins, xp):
    """By NumPy or by `keras.ops`, from sizes (B,): pair of (B, bins), float32."""
    edges = xp.arange(bins + 1, dtype="float32")
    return xp.floor(edges[:-1] * bin_size[:, None]), xp.ceil(edges[1:] * bin_size[:, None])
