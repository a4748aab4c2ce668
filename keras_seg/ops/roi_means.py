"""RoIAlign's arithmetic: each bin is a weighted sum of table rows, and the gradient adds rows to the table.

Two ways to it. The portable one goes tap by tap, over all boxes or a chunk of them, and is what XLA compiles.
The other writes the taps down as one sparse matrix, for the backends whose `ops/fast` can multiply by it.
"""

import functools

import keras
from keras import ops

from keras_seg.ops.fast import native_form, on_accelerator
from keras_seg.ops.roi_bags import fixed_bags, window_bags
from keras_seg.ops.roi_chunks import (
    add_over_chunks,
    boxes_at_once,
    even_chunk,
    largest_of,
    map_over_chunks,
)
from keras_seg.ops.roi_regions import wide_dtype
from keras_seg.ops.roi_samples import region_axis, sample_tap, window_sizes, window_tap

# Boxes at a time in the portable loops on CPUs. Sixteen of 7 x 7 x 256 are 800 kB, which stay in a core's
# cache, and a chunk of adaptive boxes goes on until its largest box is done. Accelerators take all at once.
LOOP_CHUNK = 16
# Of halves there are few chunks: XLA on CPUs widens the whole result at each turn that writes a part of it.
HALVES_CHUNK = 32
# Boxes at a time where the taps are written down and their number is open: each bin has about as many
# entries, of 40 bytes, as it has pixels; and the gradient of each chunk is a whole table. Fewer at a time
# where one box has thousands of pixels in each bin.
BAG_CHUNK = 128
BAG_ENTRIES = 2**21
# The most taps for which the forward loop is unrolled: sampling_ratio 2 has (2 * 2) ** 2. XLA then fuses it
# into one pass that holds nothing but its output. The gradient is not faster unrolled, and compiles for
# longer; and of halves in chunks compiling took more memory than the op.
UNROLLED_TAPS = 16


class RegionMeans:
    """Mean of the bilinear samples in each bin of each region, differentiable with respect to the table.

    Args:
        output_size: pair (h, w).
        sampling_ratio: int. Samples per bin and axis, or -1 for one per begun map pixel.
        aligned: bool.
        compiles: bool. Whether a graph that runs as it is may have the forward loop compiled.
    """

    def __init__(self, output_size, sampling_ratio, aligned, compiles=True):
        self.output_size = output_size
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.compiles = compiles
        self.adaptive = sampling_ratio == -1
        self.taps = 2 * sampling_ratio  # per axis, where their number is fixed

    def __call__(self, table, regions):
        """Table (T, C), floating point, and B regions to (B, h, w, C) of the table's dtype."""
        bags_of, dtype = self._bags, table.dtype
        if not self.adaptive and self._native("bag_sums", table):
            bags = self._bags(regions)  # once for both directions

            def bags_of(_):
                return bags

        @ops.custom_gradient
        def means(table):
            rows = ops.shape(table)[0]

            def gradient(*arguments, upstream=None):
                upstream = arguments[0] if upstream is None else upstream
                return ops.cast(self._backward(upstream, rows, regions, bags_of), dtype)

            return self._forward(table, regions, bags_of), gradient

        return means(table)

    def _forward(self, table, regions, bags_of):
        few = not self.adaptive and self.taps**2 <= UNROLLED_TAPS
        known = None not in (*table.shape, *regions.boxes.shape)
        compiled = native_form("compiled_taps", known=known) if few and self.compiles else None
        if compiled:
            return compiled(functools.partial(self._loop_forward, unroll=True))(table, regions)
        product = self._native("bag_sums", table)
        if product is None:
            # A graph that nothing compiles may gather for all taps before it adds them: in chunks there too.
            if native_form("add_rows") and (few or on_accelerator()):
                return self._loop_forward(table, regions, unroll=few)
            return self._chunked_forward(table, regions, few)

        def shaped(sums):
            return ops.reshape(sums, (-1, *self.output_size, table.shape[-1]))

        if not self.adaptive:
            return shaped(product(table, bags_of(regions)))
        dtype, table = table.dtype, ops.cast(table, wide_dtype(table))  # once, not for each chunk

        def forward(regions):
            return shaped(ops.cast(product(table, bags_of(regions)), dtype))

        return map_over_chunks(forward, regions, self._boxes_at_once(regions))

    def _chunked_forward(self, table, regions, few):
        most, halves = LOOP_CHUNK, keras.backend.standardize_dtype(table.dtype) != wide_dtype(table)
        if halves and not self.adaptive:
            most = HALVES_CHUNK
        loop = functools.partial(self._loop_forward, table, unroll=few and not halves)
        return map_over_chunks(loop, regions, even_chunk(ops.shape(regions.boxes)[0], most))

    def _backward(self, upstream, rows, regions, bags_of):
        """The gradient to the table, (T, C), in the dtype of the arithmetic."""
        channels, dtype = upstream.shape[-1], wide_dtype(upstream)
        product = self._native("bag_sums_gradient", upstream)
        if product is None:
            total = ops.zeros((rows, channels), dtype=dtype)
            # Without an addition in place each tap costs a pass over the whole table: no chunks then.
            chunk = LOOP_CHUNK if native_form("add_rows") and not on_accelerator() else None
            return add_over_chunks(self._loop_backward, total, regions, chunk, upstream)

        def backward(regions, upstream):
            upstream = ops.cast(ops.reshape(upstream, (-1, channels)), dtype)
            return product(upstream, bags_of(regions), rows)

        if not self.adaptive:
            return backward(regions, upstream)
        return add_over_chunks(
            lambda total, *part: total + backward(*part),
            ops.zeros((rows, channels), dtype=dtype),
            regions,
            self._boxes_at_once(regions),
            upstream,
        )

    def _boxes_at_once(self, regions):
        height, width = (window_sizes(axis) for axis in self._axes(regions))
        bins = self.output_size[0] * self.output_size[1]
        return boxes_at_once(height * width * bins, BAG_ENTRIES, BAG_CHUNK)

    def _native(self, name, values):
        return native_form(name, sampling_ratio=self.sampling_ratio, channels=values.shape[-1])

    def _axes(self, regions):
        x1, y1, x2, y2 = ops.unstack(regions.boxes, 4, axis=1)
        y_axis = (y1, y2, self.output_size[0], regions.heights)
        x_axis = (x1, x2, self.output_size[1], regions.widths)
        return [region_axis(*axis, self.sampling_ratio, self.aligned) for axis in (y_axis, x_axis)]

    def _bags(self, regions):
        axes = self._axes(regions)
        return window_bags(regions, *axes) if self.adaptive else fixed_bags(regions, *axes, self.taps)

    def _loop_forward(self, table, regions, unroll):
        dtype, narrow = wide_dtype(table), keras.backend.standardize_dtype(table.dtype)
        # XLA widens what it takes rows of, all of it, and not the rows; of integers it does not.
        bits = table if narrow == dtype else ops.view(table, "int16")

        def add(total, index, weight):
            taken = ops.take(bits, index, axis=0)
            taken = taken if bits is table else ops.cast(ops.view(taken, narrow), dtype)
            return total + taken * ops.cast(weight, dtype)[..., None]

        shape = (ops.shape(regions.boxes)[0], *self.output_size, table.shape[-1])
        return ops.cast(self._over_taps(regions, add, ops.zeros(shape, dtype=dtype), unroll), table.dtype)

    def _loop_backward(self, total, regions, upstream):
        add_rows = native_form("add_rows") or _add_rows
        upstream = ops.cast(upstream, total.dtype)

        def add(total, index, weight):
            rows = upstream * ops.cast(weight, upstream.dtype)[..., None]
            return add_rows(total, ops.reshape(index, (-1,)), ops.reshape(rows, (-1, upstream.shape[-1])))

        return self._over_taps(regions, add, total, unroll=False)

    def _over_taps(self, regions, add, total, unroll):
        """Fold `add(total, index, weight)` over the taps, index and weight being (B, h, w)."""
        y_axis, x_axis = self._axes(regions)
        tap_of = window_tap if self.adaptive else sample_tap

        def add_tap(y_tap, x_tap, total):
            (y, y_weight), (x, x_weight) = tap_of(y_axis, y_tap), tap_of(x_axis, x_tap)
            row = regions.first_rows[:, None, None] + y * regions.widths[:, None, None]
            return add(total, row + ops.swapaxes(x, 1, 2), y_weight * ops.swapaxes(x_weight, 1, 2))

        height, width = self.taps, self.taps
        if self.adaptive:
            height, width = (largest_of(window_sizes(axis)) for axis in (y_axis, x_axis))
        if not unroll:
            return ops.fori_loop(
                0, height * width, lambda tap, total: add_tap(tap // width, tap % width, total), total
            )
        for tap in range(height * width):
            total = add_tap(tap // width, tap % width, total)
        return total


def _add_rows(total, index, rows):
    return total + ops.segment_sum(rows, index, num_segments=ops.shape(total)[0])
