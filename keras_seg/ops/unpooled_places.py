"""The portable form of unpooling: what lies at each place of the larger map, and the gradient.

It takes any index, as PyTorch does, not only those of a pool with the same windows: else the values of other
indices would be lost without a word. Where every index lies in its own window, which is checked at the cost
of reading the indices once, no scatter is needed: each output cell looks at the windows that cover it, and
for the gradient each window looks at its cells.
"""

import itertools
import math

from keras import ops

from keras_seg.ops.pooling_windows import cells_before, cells_of_windows, larger, overlap_none


def unpool_anywhere(values, indices, pool_size, strides, padding, output_size):
    """Each value at its index; of several that claim a place the last in row-major order.

    The gradient is given by hand because XLA, as TensorFlow calls it, cannot differentiate a condition unless
    all sizes are known, the number of images too.

    Args:
        values: (N, h, w, C).
        indices: int32 of the same shape.
        pool_size, strides, padding: pairs, as of `check_windows`.
        output_size: pair of ints or scalar tensors.

    Returns:
        Tensor (N, H, W, C) in the dtype of `values`.
    """
    if values.shape[0] == 0:  # JAX takes nothing from an empty array
        return ops.reshape(values, (0, *output_size, values.shape[3]))
    windows = (pool_size, strides, padding, output_size)
    own = ops.all(in_own_windows(indices, *windows))

    @ops.custom_gradient
    def unpool(values):
        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            return ops.cond(
                own,
                lambda: fetch_by_window(upstream, indices, *windows),
                lambda: _fetch_by_claim(upstream, indices),
            )

        unpooled = ops.cond(
            own,
            lambda: place_by_window(values, indices, *windows),
            lambda: _place_by_claim(values, indices, output_size),
        )
        return unpooled, gradient

    return unpool(values)


def in_own_windows(indices, pool_size, strides, padding, output_size):
    """Whether each index is a place of the output that its own window covers: bools of the same shape."""
    height, width = output_size
    rows, columns = _first_cells(indices, pool_size, strides, padding, output_size)
    offsets = indices - (rows * width + columns)
    left, right = ops.maximum(-columns, 0), ops.minimum(width - columns, pool_size[1])
    # Without a division, which would take longer than to read the indices does.
    own = False
    for row in range(pool_size[0]):
        column = offsets - row * width
        own = own | ((column >= left) & (column < right))
    return own & (indices >= 0) & (indices < height * width)


def place_by_window(values, indices, pool_size, strides, padding, output_size):
    """Each output cell looks at the windows that cover it, and takes the value that points to it.

    The later window is looked at later, so it wins.

    Args:
        values: (N, h, w, C).
        indices: int32 of the same shape, each in its own window.
        pool_size, strides, padding: pairs, as of `check_windows`.
        output_size: pair of ints or scalar tensors.

    Returns:
        Tensor (N, H, W, C) in the dtype of `values`.
    """
    return _by_window(ops.where, values, indices, pool_size, strides, padding, output_size)


def add_by_window(values, indices, pool_size, strides, padding, output_size):
    """As `place_by_window`, but each output cell takes the sum of the values that point to it."""

    def add(points, value, total):
        return total + ops.where(points, value, ops.zeros((), dtype=value.dtype))

    return _by_window(add, values, indices, pool_size, strides, padding, output_size)


def fetch_by_window(upstream, indices, pool_size, strides, padding, output_size):
    """The gradient of `place_by_window`: what lies at each index, 0 where a later value lies.

    Args:
        upstream: (N, H, W, C).
        indices, pool_size, strides, padding, output_size: as in `place_by_window`.

    Returns:
        Tensor (N, h, w, C) in the dtype of `upstream`.
    """
    windows = (pool_size, strides, padding, output_size)
    fetched = _read_by_window(upstream, indices, *windows)
    if overlap_none(pool_size, strides):
        return fetched
    order = _order(indices)
    stays = _read_by_window(place_by_window(order, indices, *windows), indices, *windows) == order
    return ops.where(stays, fetched, ops.zeros((), dtype=fetched.dtype))


def _first_cells(indices, pool_size, strides, padding, output_size):
    """Output row, (h, 1, 1), and column, (w, 1), of each window's first cell."""
    counts = ops.shape(indices)[1:3]
    before = cells_before(output_size, counts, pool_size, strides, padding)
    rows, columns = (
        ops.arange(count, dtype="int32") * stride - start
        for count, stride, start in zip(counts, strides, before, strict=True)
    )
    return rows[:, None, None], columns[:, None]


def _offsets(indices, pool_size, strides, padding, output_size):
    """Index less that of the window's first cell, the same for a cell of any window."""
    rows, columns = _first_cells(indices, pool_size, strides, padding, output_size)
    return indices - (rows * output_size[1] + columns)


def _by_window(combine, values, indices, pool_size, strides, padding, output_size):
    """The output cut into blocks of one stride, each covered by few windows.

    They are the one that starts with the block and, where windows overlap, some before.
    """
    (images, *counts, channels), width = ops.shape(values), output_size[1]
    before = cells_before(output_size, counts, pool_size, strides, padding)
    offsets = _offsets(indices, pool_size, strides, padding, output_size)
    reach = [math.ceil(pool / stride) for pool, stride in zip(pool_size, strides, strict=True)]
    blocks = [
        larger(count + steps - 1, -(-(start + length) // stride))
        for count, steps, start, length, stride in zip(
            counts, reach, before, output_size, strides, strict=True
        )
    ]
    grid = (images * blocks[0], 1, blocks[1], 1, channels)
    unpooled = ops.zeros((), dtype=values.dtype)
    for back in itertools.product(*(reversed(range(steps)) for steps in reach)):
        cells = _block_offsets(back, pool_size, strides, width)
        edges = [
            (steps, block - count - steps) for steps, block, count in zip(back, blocks, counts, strict=True)
        ]
        value, offset = values, offsets
        if any(not isinstance(side, int) or side > 0 for edge in edges for side in edge):
            edges = [(0, 0), *edges, (0, 0)]
            value, offset = ops.pad(values, edges), ops.pad(offsets, edges, constant_values=-1)
        value, offset = ops.reshape(value, grid), ops.reshape(offset, grid)
        unpooled = combine(offset == cells, value, unpooled)
    rows, columns = (block * stride for block, stride in zip(blocks, strides, strict=True))
    unpooled = ops.reshape(unpooled, (images, rows, columns, channels))
    (top, left), (height, width) = before, output_size
    return unpooled[:, top : top + height, left : left + width, :]


def _block_offsets(back, pool_size, strides, width):
    """Offsets of a block's cells in the window that starts `back` blocks before: (1, rows, 1, columns, 1).

    -2 for a cell beyond the window, which no value's offset is: where there is no value it is -1.
    """
    rows, columns = (
        [steps * stride + cell for cell in range(stride)] for steps, stride in zip(back, strides, strict=True)
    )
    offsets = [
        [row * width + column if row < pool_size[0] and column < pool_size[1] else -2 for column in columns]
        for row in rows
    ]
    return ops.reshape(ops.convert_to_tensor(offsets, "int32"), (1, len(rows), 1, len(columns), 1))


def _read_by_window(unpooled, indices, pool_size, strides, padding, output_size):
    """What lies at each index, (N, h, w, C), where each lies in its own window."""
    counts = ops.shape(indices)[1:3]
    before = cells_before(output_size, counts, pool_size, strides, padding)
    edges = [
        (start, larger((count - 1) * stride + pool - start - length, 0))
        for start, count, stride, pool, length in zip(
            before, counts, strides, pool_size, output_size, strict=True
        )
    ]
    if any(not isinstance(side, int) or side > 0 for edge in edges for side in edge):
        unpooled = ops.pad(unpooled, [(0, 0), *edges, (0, 0)])
    offsets = _offsets(indices, pool_size, strides, padding, output_size)
    fetched = nothing = ops.zeros((), dtype=unpooled.dtype)
    # In a map narrower than the window, a cell beyond it may have the offset of one within. It holds 0.
    narrow = not isinstance(output_size[1], int) or output_size[1] < pool_size[1]
    for (row, column), cell in cells_of_windows(unpooled, pool_size, strides, counts):
        points = offsets == row * output_size[1] + column
        fetched = fetched + ops.where(points, cell, nothing) if narrow else ops.where(points, cell, fetched)
    return fetched


def _order(indices):
    """The values' numbers in row-major order from 1, as int32 in the shape of the indices."""
    _, h, w, _ = ops.shape(indices)
    order = ops.reshape(ops.arange(1, h * w + 1, dtype="int32"), (h, w, 1))
    return ops.broadcast_to(order, ops.shape(indices))


def _place_by_claim(values, indices, output_size):
    """For any indices: the last claimant of each place is found first, then each place fetches its value."""
    (images, h, w, channels), places = ops.shape(values), output_size[0] * output_size[1]
    # No axes are exchanged: XLA would give the other branch's output such a layout too, and copy it back.
    image = ops.arange(images, dtype="int32")[:, None, None]
    channel = ops.arange(channels, dtype="int32")
    claims = ops.reshape(indices, (images, h * w, channels))
    outside = (claims < 0) | (claims >= places)
    # One segment more takes the claims from outside.
    segments = ops.where(outside, images * places * channels, (image * places + claims) * channels + channel)
    order = ops.broadcast_to(ops.arange(h * w, dtype="int32")[:, None], ops.shape(claims))
    last = ops.segment_max(
        ops.reshape(order, (-1,)), ops.reshape(segments, (-1,)), images * places * channels + 1
    )
    last = ops.reshape(last[:-1], (images, places, channels))
    source = (image * (h * w) + ops.maximum(last, 0)) * channels + channel
    fetched = ops.take(ops.reshape(values, (-1,)), source, axis=0)
    unpooled = ops.where(last >= 0, fetched, ops.zeros((), dtype=values.dtype))
    return ops.reshape(unpooled, (images, *output_size, channels))


def _fetch_by_claim(upstream, indices):
    """The gradient of `_place_by_claim`."""
    order = _order(indices)
    stays = _read_anywhere(_place_by_claim(order, indices, ops.shape(upstream)[1:3]), indices) == order
    return ops.where(stays, _read_anywhere(upstream, indices), ops.zeros((), dtype=upstream.dtype))


def _read_anywhere(unpooled, indices):
    """What lies at each index, (N, h, w, C); for an index outside, what lies at the first place."""
    images, height, width, channels = ops.shape(unpooled)
    places = height * width
    indices = ops.where((indices >= 0) & (indices < places), indices, 0)
    image = ops.reshape(ops.arange(images, dtype="int32"), (images, 1, 1, 1))
    flat = (image * places + indices) * channels + ops.arange(channels, dtype="int32")
    return ops.take(ops.reshape(unpooled, (-1,)), flat, axis=0)
