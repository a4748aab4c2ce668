"""The portable form of unpooling: what lies at each place of the larger map, and the gradient.

It takes any index, as PyTorch does, not only those of a pool with the same windows: else the values of other
indices would be lost without a word. Where every index lies in its own window, which is checked at the cost
of reading the indices once, no scatter is needed: each output cell looks at the windows that cover it.
"""

import itertools
import math

from keras import ops

from keras_seg.ops.pooling_windows import cells_before, larger


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
    windows = (pool_size, strides, padding, output_size)

    @ops.custom_gradient
    def unpool(values):
        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            _, h, w, _ = ops.shape(indices)
            order = ops.reshape(ops.arange(1, h * w + 1, dtype="int32"), (h, w, 1))
            order = ops.broadcast_to(order, ops.shape(indices))
            stays = _fetch(_place(order, indices, *windows), indices) == order
            return ops.where(stays, _fetch(upstream, indices), ops.zeros((), dtype=upstream.dtype))

        return _place(values, indices, *windows), gradient

    return unpool(values)


def _fetch(unpooled, indices):
    """What lies at each index, (N, h, w, C); for an index outside, what lies at the first place."""
    images, height, width, channels = ops.shape(unpooled)
    places = height * width
    indices = ops.where((indices >= 0) & (indices < places), indices, 0)
    image = ops.reshape(ops.arange(images, dtype="int32"), (images, 1, 1, 1))
    flat = (image * places + indices) * channels + ops.arange(channels, dtype="int32")
    return ops.take(ops.reshape(unpooled, (-1,)), flat, axis=0)


def _place(values, indices, pool_size, strides, padding, output_size):
    height, width = output_size
    counts = ops.shape(values)[1:3]
    before = cells_before(output_size, counts, pool_size, strides, padding)
    rows, columns = (
        ops.arange(count, dtype="int32") * stride - start
        for count, stride, start in zip(counts, strides, before, strict=True)
    )
    rows, columns = rows[:, None, None], columns[:, None]
    row = indices // width
    down, right = row - rows, indices - row * width - columns
    inside = (indices >= 0) & (indices < height * width)
    inside = inside & (down >= 0) & (down < pool_size[0]) & (right >= 0) & (right < pool_size[1])
    first = rows * width + columns
    return ops.cond(
        ops.all(inside),
        lambda: _place_by_window(values, indices - first, pool_size, strides, before, output_size),
        lambda: _place_by_claim(values, indices, output_size),
    )


def _place_by_window(values, offsets, pool_size, strides, before, output_size):
    """Each output cell looks at the windows that cover it, and takes the value that points to it.

    The output is cut into blocks of one stride. A block is covered by the window that starts with it and,
    where windows overlap, by the ones before. The later window is looked at later, so it wins.

    Args:
        values: (N, h, w, C).
        offsets: int32 of the same shape. Index less that of the window's first cell.
        before: pair. Rows and columns of the first window that lie before the output.
    """
    (images, *counts, channels), width = ops.shape(values), output_size[1]
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
        unpooled = ops.where(offset == cells, value, unpooled)
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
