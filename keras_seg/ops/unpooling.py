"""Max pooling that says where each maximum lay, and the unpooling that puts values back there.

An index is spatial, per channel and without batch offset: `y * W + x` of the map that the pool read, as
PyTorch has it. Letters: N images, H rows, W columns, C channels; h, w are the pooled map's rows and columns.
"""

import keras
import numpy as np
from keras import ops

from keras_seg.ops.fast import native_form, refuse_symbolic
from keras_seg.ops.pooled_maxima import max_pool_anywhere
from keras_seg.ops.pooling_windows import (
    check_indices,
    check_output_size,
    check_windows,
    pooled_size,
    unpooled_size,
)
from keras_seg.ops.unpooled_places import unpool_anywhere
from keras_seg.utils.validation import bad_argument, check_choice, check_rank

_FARTHEST = 2**31 - 1
_LAYOUTS = {"channels_last": "(N, H, W, C)", "channels_first": "(N, C, H, W)"}


def max_pool_with_argmax(x, pool_size=2, strides=None, padding="valid", data_format="channels_last"):
    """Maximum of each window, and where in the map it lay.

    An index is `y * W + x` in the map `x`, counted within one image and one channel. Of equal values the
    first in row-major order wins. Padding never wins, whatever the values: it stands for cells that are not
    there. The gradient of `values` reaches the winning cells only.

    In a window that holds a NaN the NaN wins (the last, of several), as in PyTorch. TensorFlow's kernels,
    used outside XLA but for graphs of one size, pass over it, as they do in `keras.ops.max_pool`; that for
    windows other than 2 x 2 with a stride of 2 keeps one that comes first. The index lies in the window in
    any case.

    Reference: Noh, Hong, Han 2015, "Learning deconvolution network for semantic segmentation", section 3.2.1
    (the "switch variables").

    Args:
        x: floating-point tensor (N, H, W, C), or (N, C, H, W) with `data_format="channels_first"`.
        pool_size: int or pair (height, width), at least 1. The window.
        strides: int or pair, at least 1. Distance between windows; default `pool_size`. May be smaller, then
            windows overlap, or larger, then cells between them are not read.
        padding: "valid", "same", or an int or pair: so many cells on both sides, at most half the window.
            "valid" leaves out what fills no whole window. "same" gives ceil(H / stride) rows and puts the odd
            cell at the end.
        data_format: "channels_last" or "channels_first".

    Returns:
        Pair: values (N, h, w, C), the dtype of `x`, and indices, int32 of the same shape; channels first if
        `x` was.

    Raises:
        ValueError: `x` is not floating-point or not of rank 4, is smaller than one window, or an argument is
            out of range.

    Example:
        >>> x = np.array([[1.0, 5.0], [2.0, 5.0]]).reshape(1, 2, 2, 1)
        >>> values, indices = keras_seg.ops.max_pool_with_argmax(x)
        >>> float(values[0, 0, 0, 0]), int(indices[0, 0, 0, 0])
        (5.0, 1)
    """
    refuse_symbolic("max_pool_with_argmax", "keras_seg.layers.MaxPoolingWithArgmax2D", x)
    windows = check_windows(pool_size, strides, padding)
    x = _channels_last(_floating_map("x", x, data_format), data_format)
    size = tuple(x.shape[1:3])
    if any(count is not None and count < 1 for count in pooled_size(size, *windows)):
        raise bad_argument("x.shape", f"at least as high and wide as pool_size={windows[0]}", tuple(x.shape))
    pool = native_form("max_pool_with_argmax", windows=windows, size=size) or max_pool_anywhere
    return tuple(_as_given(part, data_format) for part in pool(x, *windows))


def max_unpool(
    values, indices, pool_size=2, strides=None, padding="valid", output_size=None, data_format="channels_last"
):
    """Put each value at its index in a larger map that is zero elsewhere.

    Indices are read with the width of the output. So wherever pooling left something out, as with odd sizes,
    pass the size of the map that was pooled as `output_size`.

    Where several values claim one place, as those of overlapping windows do, the last in row-major order of
    the pooled map lies there, on every backend. The gradient reaches that one alone, for the others have no
    part in the output. (PyTorch's `max_unpool2d` keeps the last with the channels first only, and hands the
    gradient to every claimant.)

    An index outside the output is an error where the kernel can raise one: on CPUs with PyTorch, and with
    TensorFlow outside XLA. Elsewhere its value is left out.

    Reference: Noh, Hong, Han 2015, "Learning deconvolution network for semantic segmentation", section 3.2.1.

    Args:
        values: floating-point tensor (N, h, w, C), or (N, C, h, w) with `data_format="channels_first"`.
        indices: integer tensor of the same shape, `y * W + x` in the output. Any place is taken; those of
            `max_pool_with_argmax` with the same windows are the fast case.
        pool_size: int or pair (height, width), at least 1. The window of the pool to undo.
        strides: int or pair, at least 1; default `pool_size`.
        padding: "valid", "same", or an int or pair, as the pool had it.
        output_size: pair (H, W) of ints or scalar integer tensors, each less than one stride away from the
            default, and with "same" not above it. Default: `(h - 1) * stride + pool_size - 2 * padding`; with
            "same" `h * stride`.
        data_format: "channels_last" or "channels_first".

    Returns:
        Tensor (N, H, W, C) in the dtype of `values`; channels first if they were.

    Raises:
        ValueError: `indices` is not an integer tensor of the shape of `values`, `output_size` is not the size
            of a map that such a pool could have read, or an argument is out of range.

    Example:
        >>> values, indices = np.ones((1, 1, 1, 1)), np.array([[[[2]]]])
        >>> keras_seg.ops.max_unpool(values, indices)[0, :, :, 0]
        [[0.0, 0.0], [1.0, 0.0]]
    """
    refuse_symbolic("max_unpool", "keras_seg.layers.MaxUnpooling2D", values, indices)
    windows = check_windows(pool_size, strides, padding)
    values = _floating_map("values", values, data_format)
    indices = _as_tensor_of_places(indices)
    check_indices(values, indices)
    values = _channels_last(values, data_format)
    indices = _channels_last(ops.cast(indices, "int32"), data_format)
    if output_size is None:
        output_size = unpooled_size(ops.shape(values)[1:3], *windows)
    else:
        output_size = check_output_size(output_size, values.shape[1:3], *windows)
    unpool = native_form("max_unpool", windows=windows) or unpool_anywhere
    return _as_given(unpool(values, indices, *windows, output_size), data_format)


def _floating_map(name, x, data_format):
    check_choice("data_format", data_format, tuple(_LAYOUTS))
    x = ops.convert_to_tensor(x)
    check_rank(name, x.shape, 4, _LAYOUTS[data_format])
    if not keras.backend.is_float_dtype(x.dtype):
        dtype = keras.backend.standardize_dtype(x.dtype)
        raise bad_argument(f"{name}.dtype", "a floating-point dtype", dtype, "Cast it first.")
    return x


def _as_tensor_of_places(indices):
    """The indices as a tensor, those that int32 cannot hold as a place that no output has.

    NumPy's first: JAX would wrap them on the way to a tensor.
    """
    if isinstance(indices, np.ndarray) and indices.dtype.kind in "iu":
        return ops.convert_to_tensor(np.clip(indices, -1, _FARTHEST).astype("int32"))
    indices = ops.convert_to_tensor(indices)
    dtype = keras.backend.standardize_dtype(indices.dtype)
    if dtype == "int64":
        return ops.clip(indices, -1, _FARTHEST)
    return ops.minimum(indices, _FARTHEST) if dtype in ("uint32", "uint64") else indices


def _channels_last(x, data_format):
    return x if data_format == "channels_last" else ops.transpose(x, (0, 2, 3, 1))


def _as_given(x, data_format):
    return x if data_format == "channels_last" else ops.transpose(x, (0, 3, 1, 2))
