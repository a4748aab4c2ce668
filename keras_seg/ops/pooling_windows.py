"""The windows of a pool: arguments checked, how many there are, how large a map they can have come from.

Padding is a pair here, cells before and after each axis: `(0, 0)` for "valid", `SAME` for "same", whose cells
depend on the map. A length is an int, a scalar tensor or, where only a shape is known, None.
"""

import itertools
import operator

import keras
from keras import ops

from keras_seg.utils.validation import bad_argument, check_choice, check_pair

SAME = (None, None)


def check_windows(pool_size, strides, padding):
    """The three arguments as a user gives them, as three pairs.

    Args:
        pool_size: int or pair (height, width), at least 1.
        strides: int or pair, at least 1, or None for `pool_size`.
        padding: "valid", "same", or an int or pair within 0 and half the window.

    Returns:
        Tuple (pool_size, strides, padding) of pairs.
    """
    pool_size = check_pair("pool_size", pool_size)
    strides = pool_size if strides is None else check_pair("strides", strides)
    if isinstance(padding, str):
        check_choice("padding", padding, ("valid", "same"), "Or give the number of cells on each side.")
        return pool_size, strides, SAME if padding == "same" else (0, 0)
    cells = check_pair("padding", padding, minimum=0)
    # More would make windows of nothing but padding.
    if any(2 * pad > pool for pad, pool in zip(cells, pool_size, strict=True)):
        raise bad_argument("padding", f"at most half of pool_size={pool_size}", padding)
    return pool_size, strides, cells


def larger(first, second):
    """Maximum of two lengths, an int where both are."""
    known = isinstance(first, int) and isinstance(second, int)
    return max(first, second) if known else ops.maximum(first, second)


def overlap_none(pool_size, strides):
    """Whether no two windows share a cell."""
    return all(pool <= stride for pool, stride in zip(pool_size, strides, strict=True))


def pooled_size(size, pool_size, strides, padding):
    """Number of windows along each axis of a map; None where the map's length is."""
    return tuple(
        None if length is None
        else -(-length // stride) if pad is None
        else (length + 2 * pad - pool) // stride + 1
        for length, pool, stride, pad in zip(size, pool_size, strides, padding, strict=True)
    )  # fmt: skip


def cells_before(size, windows, pool_size, strides, padding):
    """Cells of the first window that lie before the map; "same" splits its padding and rounds down here."""
    return tuple(
        larger((count - 1) * stride + pool - length, 0) // 2 if pad is None else pad
        for length, count, pool, stride, pad in zip(size, windows, pool_size, strides, padding, strict=True)
    )


def cells_of_windows(x, pool_size, strides, counts):
    """For each cell of the window, in row-major order, what all windows have there: strided views of a map.

    Args:
        x: (N, rows, columns, C), which the windows fill: the first starts at the first cell.
        pool_size, strides: pairs, as of `check_windows`.
        counts: pair (h, w). Number of windows along each axis.

    Returns:
        Iterator of pairs: the cell (row, column) and a tensor (N, h, w, C).
    """
    for cell in itertools.product(*(range(pool) for pool in pool_size)):
        rows, columns = (
            slice(start, start + (count - 1) * stride + 1, stride)
            for start, count, stride in zip(cell, counts, strides, strict=True)
        )
        yield cell, x[:, rows, columns, :]


def unpooled_size(windows, pool_size, strides, padding):
    """Size that so many windows fill: PyTorch's default, and one stride for each window for SAME."""
    return tuple(
        None if count is None
        else count * stride if pad is None
        else (count - 1) * stride + pool - 2 * pad
        for count, pool, stride, pad in zip(windows, pool_size, strides, padding, strict=True)
    )  # fmt: skip


def check_output_size(output_size, windows, pool_size, strides, padding):
    """The pair of a user, or a ValueError if no map of that size, where it is known, has so many windows.

    One stride less than the default is too small and one stride more too large, which is PyTorch's rule. It
    lets the sizes pass that a pool with rounding up read. SAME rounds up itself: nothing above the default.
    """
    expected = "a pair (height, width)"
    if not isinstance(output_size, (tuple, list)) or len(output_size) != 2:
        raise bad_argument("output_size", expected, output_size)
    size = tuple(_length(side) for side in output_size)
    default = unpooled_size(windows, pool_size, strides, padding)
    for length, usual, stride, pad in zip(size, default, strides, padding, strict=True):
        if usual is None or not isinstance(length, int):
            continue
        lowest, highest = max(usual - stride + 1, 1), usual + (0 if pad is None else stride - 1)
        if not lowest <= length <= highest:
            side = "at most the default" if pad is None else "less than one stride away from the default"
            fix = f"{length} is not within {lowest}..{highest}."
            raise bad_argument("output_size", f"{side}, {default}", output_size, fix)
    return size


def _length(side):
    """A side of a user's size as an int, or as it is where its value is known at run time only."""
    if not ops.is_tensor(side):
        return check_pair("output_size", side)[0]
    dtype = keras.backend.standardize_dtype(side.dtype)
    if len(side.shape) or not keras.backend.is_int_dtype(dtype):
        received = f"{dtype} {tuple(side.shape)}"
        raise bad_argument("output_size", "a pair of integers or of integer scalar tensors", received)
    try:
        length = operator.index(side)  # of `int`, AutoGraph makes a cast
    except TypeError:  # of a graph or a trace
        return side
    return check_pair("output_size", length)[0]


def check_indices(values, indices):
    """Raise unless `indices` are integers of the shape of `values`, as far as shapes are known."""
    if not keras.backend.is_int_dtype(indices.dtype):
        dtype = keras.backend.standardize_dtype(indices.dtype)
        raise bad_argument("indices.dtype", "an integer dtype", dtype)
    shape, given = tuple(values.shape), tuple(indices.shape)
    differ = len(shape) != len(given) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(shape, given, strict=True)
    )
    if differ:
        raise bad_argument("indices.shape", f"that of `values`, {shape}", given)
