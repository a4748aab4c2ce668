"""The portable form of pooling with indices: the largest cell of each window, and the gradient.

The gradient is given by hand: each value's share lies at its index, an unpooling that adds up. Left to the
backends it goes back through one selection for each cell of the window, and keeps what each had decided.
"""

import keras
from keras import ops

from keras_seg.ops.pooling_windows import cells_before, cells_of_windows, pooled_size
from keras_seg.ops.unpooled_places import add_by_window


def max_pool_anywhere(x, pool_size, strides, padding):
    """Maximum of each window, and where in the map it lay.

    Args:
        x: (N, H, W, C).
        pool_size, strides, padding: pairs, as of `check_windows`.

    Returns:
        Pair: values (N, h, w, C) in the dtype of `x`, and indices, int32 of the same shape.
    """
    size = ops.shape(x)[1:3]
    values, indices = largest_cells(ops.stop_gradient(x), pool_size, strides, padding)

    @ops.custom_gradient
    def with_gradient(x):
        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            return add_by_window(upstream, indices, pool_size, strides, padding, size)

        return values, gradient

    return with_gradient(x), indices


def largest_cells(x, pool_size, strides, padding):
    """`max_pool_anywhere` without a gradient of its own: a running maximum over the window's cells.

    Each of these is a strided view of the map. Of bfloat16 they are widened, which changes no number: XLA, on
    CPUs, else widens and rounds at every comparison and choice, which takes three times as long.
    """
    size, dtype = ops.shape(x)[1:3], x.dtype
    if keras.backend.standardize_dtype(dtype) == "bfloat16":
        x = ops.cast(x, "float32")
    counts = pooled_size(size, pool_size, strides, padding)
    before = cells_before(size, counts, pool_size, strides, padding)
    spans = [
        (count - 1) * stride + pool for count, stride, pool in zip(counts, strides, pool_size, strict=True)
    ]
    # A padding cell repeats the edge cell, index included. That one lies in the window too, so it wins only
    # where it may; a lowest number put there would win among cells of -inf.
    lines = [
        ops.clip(ops.arange(span, dtype="int32") - start, 0, length - 1)
        for span, start, length in zip(spans, before, size, strict=True)
    ]
    for axis in (1, 2):
        start, span, length = before[axis - 1], spans[axis - 1], size[axis - 1]
        padded = not isinstance(span, int) or start > 0 or span > length
        if padding[axis - 1] != 0 and padded:
            x = ops.take(x, lines[axis - 1], axis=axis)
    places = (lines[0][:, None] * size[1] + lines[1])[None, :, :, None]
    windows = (pool_size, strides, counts)
    values = indices = None
    for (_, value), (_, place) in zip(
        cells_of_windows(x, *windows), cells_of_windows(places, *windows), strict=True
    ):
        if values is None:
            values, indices = value, ops.broadcast_to(place, ops.shape(value))
            continue
        wins = ops.logical_or(value > values, ops.isnan(value))
        values, indices = ops.where(wins, value, values), ops.where(wins, place, indices)
    return ops.cast(values, dtype), indices
