"""Pooling with indices and unpooling as loops over cells in float64, and the windows and maps to try."""

import itertools

import keras
import numpy as np

from tests.ops.box_cases import compiled

# pool_size, strides, padding, size: exact grids, leftover cells, overlap, gaps, windows that padding cuts.
WINDOWS = [
    ((2, 2), (2, 2), "valid", (4, 6)),
    ((2, 2), (2, 2), "valid", (5, 7)),
    ((2, 2), (2, 2), "same", (5, 4)),
    ((2, 2), (2, 2), "same", (1, 7)),
    ((3, 2), (3, 2), "valid", (7, 4)),
    ((3, 3), (2, 2), "valid", (7, 8)),
    ((3, 3), (1, 2), "same", (5, 6)),
    ((2, 3), (3, 1), "same", (8, 3)),
    ((4, 5), (2, 2), "same", (3, 2)),
    ((3, 3), (2, 2), (1, 1), (6, 5)),
    ((2, 4), (3, 1), (1, 2), (7, 3)),
    ((1, 1), (2, 3), "valid", (5, 7)),
    ((5, 4), (5, 4), "valid", (5, 4)),
]


def spans(length, pool, stride, padding):
    """For each window along one axis: the cells of the map that it covers."""
    if padding == "same":
        count = -(-length // stride)
        before = max((count - 1) * stride + pool - length, 0) // 2
    else:
        before = padding
        count = (length + 2 * padding - pool) // stride + 1
    starts = [index * stride - before for index in range(count)]
    return [[cell for cell in range(start, start + pool) if 0 <= cell < length] for start in starts]


def reference_pool(x, pool_size, strides, padding):
    """Window by window, cell by cell, in float64."""
    x = np.asarray(x, "float64")
    images, height, width, channels = x.shape
    pads = (0, 0) if padding == "valid" else ("same", "same") if padding == "same" else padding
    rows, columns = (spans(*facts) for facts in zip((height, width), pool_size, strides, pads, strict=True))
    values = np.empty((images, len(rows), len(columns), channels))
    indices = np.empty(values.shape, "int64")
    for place in np.ndindex(values.shape):
        image, i, j, channel = place
        plane = x[image, :, :, channel]
        cells = list(itertools.product(rows[i], columns[j]))
        best = cells[0]
        for cell in cells[1:]:
            if plane[cell] > plane[best]:
                best = cell
        values[place], indices[place] = plane[best], best[0] * width + best[1]
    return values, indices


def reference_unpool(values, indices, size, upstream=None):
    """Value by value; with `upstream` also the gradient, for those values that were not overwritten."""
    images, _, _, channels = values.shape
    unpooled = np.zeros((images, size[0] * size[1], channels))
    writer = {}
    for image, i, j, channel in np.ndindex(values.shape):
        index = indices[image, i, j, channel]
        unpooled[image, index, channel] = values[image, i, j, channel]
        writer[image, index, channel] = (image, i, j, channel)
    if upstream is None:
        return unpooled.reshape(images, *size, channels)
    gradient = np.zeros(values.shape)
    for (image, index, channel), place in writer.items():
        gradient[place] = upstream.reshape(images, -1, channels)[image, index, channel]
    return gradient


def tied(shape, seed=0, lowest=0.0):
    """Few distinct numbers, so that ties abound, and a share of -inf."""
    generator = np.random.default_rng(seed)
    x = generator.integers(-3, 3, shape).astype("float32")
    x[generator.random(shape) < lowest] = -np.inf
    return x


def distinct(shape, seed=0):
    """Integers, each once."""
    return np.random.default_rng(seed).permutation(np.prod(shape)).reshape(shape).astype("float32")


def run(function, *arrays):
    """`function` of arrays to arrays."""
    outputs = compiled(function)(*(keras.ops.convert_to_tensor(array) for array in arrays))
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
