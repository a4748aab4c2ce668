"""Convolutions of large kernels on small maps, each as one matrix product.

A kernel of 7 x 7 x 512 x 4096 has 103 million weights, and on a map of a few positions the time goes into
them and not into arithmetic: convolution kernels lay weights out anew at each call. A matrix product takes
them as they are: `benchmarks.fully_connected` times both.
"""

import keras
from keras import ops

from keras_seg.ops.fast import native_form
from keras_seg.ops.kernel_updates import used_together
from keras_seg.utils.validation import bad_argument


def conv_by_product(x, kernel):
    """A convolution of stride 1 without padding.

    Costs memory for the windows: the kernel's area times the map, kept for the gradient.

    Args:
        x: tensor (N, H, W, C).
        kernel: tensor (h, w, C, D) of x's dtype.

    Returns:
        Tensor (N, H - h + 1, W - w + 1, D).

    Raises:
        ValueError: a map that is smaller than the kernel.
    """
    height, width, _, units = kernel.shape
    for side, least in zip(x.shape[1:3], (height, width), strict=True):
        if side is not None and side < least:
            raise bad_argument("x", f"a map of at least {height} x {width}, the kernel's size", x.shape)
    windows = _windows(_windows(x, width, axis=2), height, axis=1)
    product = _matmul(_rows(windows), kernel)
    return ops.reshape(product, (*ops.shape(windows)[:3], units))


def conv_transpose_by_product(x, kernel):
    """The transposed convolution of stride 1 without padding: the gradient of the above for its map.

    Args:
        x: tensor (N, H, W, C).
        kernel: tensor (h, w, D, C) of x's dtype.

    Returns:
        Tensor (N, H + h - 1, W + w - 1, D).
    """
    height, width, units, channels = kernel.shape
    product = ops.matmul(_rows(x), ops.transpose(ops.reshape(kernel, (-1, channels))))
    if tuple(x.shape[1:3]) == (1, 1):
        return ops.reshape(product, (-1, height, width, units))
    windows = ops.reshape(product, (*ops.shape(x)[:3], height * width * units))
    # Sums of 16-bit numbers would be rounded at each step.
    summed = _overlapped(ops.cast(windows, "float32"), height, axis=1)
    return ops.cast(_overlapped(summed, width, axis=2), product.dtype)


def _matmul(x, kernel):
    """(R, K) by the weights (..., D) of K windows' numbers."""
    wider = native_form(
        "matmul_in_float32",
        dtype=keras.backend.standardize_dtype(x.dtype),
        inputs=x.shape,
        kernel=kernel.shape,
        outputs=(x.shape[0], kernel.shape[-1]),
    )
    if wider:
        return wider(x, kernel)
    x, kernel = used_together(x, kernel)
    return ops.matmul(x, ops.reshape(kernel, (-1, kernel.shape[-1])))


def _windows(x, length, axis):
    """`length` neighbours along an axis of a (N, H, W, C) tensor, side by side in the channels."""
    if length == 1:
        return x
    if x.shape[axis] == length and (axis == 2 or x.shape[2] == 1):
        # The whole side is one window, and lies in memory as it should.
        return ops.reshape(x, (-1, *_sides(x)[: axis - 1], *(1,) * (3 - axis), length * x.shape[3]))
    parts = []
    for start in range(length):
        part = [slice(None)] * 4
        part[axis] = slice(start, start - length + 1 or None)
        parts.append(x[tuple(part)])
    return ops.concatenate(parts, axis=3)


def _overlapped(windows, length, axis):
    """The sum of windows at their places along an axis: what `_windows` took apart."""
    if length == 1:
        return windows
    total = 0
    for start, part in enumerate(ops.split(windows, length, axis=3)):
        around = [(0, 0)] * 4
        around[axis] = (start, length - 1 - start)
        total = total + ops.pad(part, around)
    return total


def _rows(x):
    return ops.reshape(x, (-1, x.shape[3]))


def _sides(x):
    return ops.shape(x)[1:3]
