"""The transforms of 3x3 convolutions by Winograd's minimal filtering: 16 products where there were 36.

A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1,
F(2x2, 3x3): the map is cut into tiles of 4 x 4 that overlap by two, and each gives 2 x 2 outputs. The
transforms are products with small matrices, whose sums are float32's, so that rounding grows about twofold.

A convolution of dilation d is one on each of the d x d maps of every d-th pixel; they are taken together.
Letters: N images of H x W pixels, C channels in and D out, T tiles of all images.
"""

import numpy as np
from keras import ops

from keras_seg.ops.row_gather import take_rows

# Along one axis: three weights to those of four products, four pixels to their inputs, four products to two
# outputs. The paper's G, B and A but for signs that cancel.
_OF_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OF_PIXELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_OF_PRODUCTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def output_side(side, pad, dilation):
    """Pixels of the output along a side of the map."""
    return side + 2 * (pad - dilation)


def tiles_along(side, dilation):
    """How many tiles, of each of the dilated maps, cover a side of the output."""
    return -(-side // (2 * dilation))


def padded_side(tiles, dilation):
    """Pixels of the input that so many tiles read, padding included."""
    return 2 * dilation * (tiles + 1)


def transformed_kernel(kernel):
    """A kernel as the products take it: (3, 3, C, D) to (16, C, D) of its dtype."""
    weights = ops.cast(kernel, "float32")  # its halves and quarters are rounded once, at the end
    return ops.cast(_along_both_axes(_OF_KERNEL, ops.reshape(weights, (9, *kernel.shape[2:]))), kernel.dtype)


def transformed_kernel_gradient(upstream):
    """The gradient of `transformed_kernel`: (16, C, D) to (3, 3, C, D)."""
    return ops.reshape(_along_both_axes(_OF_KERNEL.T, upstream), (3, 3, *upstream.shape[1:]))


def input_tiles(x, pad, dilation):
    """What the products take of a map.

    Args:
        x: tensor (N, H, W, C) of known H and W.
        pad: int. Pixels of zeros before it; after it there are as many as the last tiles want.
        dilation: int.

    Returns:
        Tensor (16, T, C) in the dtype of `x`, one row of it for each place in a tile.
    """
    images, *size, channels = ops.shape(x)
    tiles = [tiles_along(output_side(side, pad, dilation), dilation) for side in size]
    sides = [padded_side(count, dilation) for count in tiles]
    pixels = ops.reshape(_grown(x, pad, sides), (-1, channels))
    pixels = take_rows(pixels, _pixels_of_tiles(images, tiles, sides, dilation))
    return _along_both_axes(_OF_PIXELS, ops.reshape(pixels, (16, -1, channels)))


def output_map(products, size, dilation):
    """The convolution's output from the products.

    Args:
        products: tensor (16, T, D).
        size: pair of ints (H, W), pixels of the output.
        dilation: int.

    Returns:
        Tensor (N, H, W, D) in the products' dtype.
    """
    rows, columns = (tiles_along(side, dilation) for side in size)
    cells = _along_both_axes(_OF_PRODUCTS, products)
    cells = ops.reshape(cells, (2, 2, -1, rows, dilation, columns, dilation, products.shape[2]))
    cells = ops.transpose(cells, (2, 3, 0, 4, 5, 1, 6, 7))
    cells = ops.reshape(cells, (-1, 2 * rows * dilation, 2 * columns * dilation, products.shape[2]))
    return cells[:, : size[0], : size[1]]


def output_map_gradient(upstream, dilation):
    """The gradient of `output_map`: (N, H, W, D) to (16, T, D)."""
    _, *size, units = ops.shape(upstream)
    rows, columns = (tiles_along(side, dilation) for side in size)
    cells = _grown(upstream, 0, [2 * dilation * count for count in (rows, columns)])
    cells = ops.reshape(cells, (-1, rows, 2, dilation, columns, 2, dilation, units))
    cells = ops.reshape(ops.transpose(cells, (2, 5, 0, 1, 3, 4, 6, 7)), (4, -1, units))
    return _along_both_axes(_OF_PRODUCTS.T, cells)


def _along_both_axes(matrix, numbers):
    """(K, ...) to (J, ...), K and J places in rows of a square, by a matrix for one side of it."""
    both = ops.convert_to_tensor(np.kron(matrix, matrix), numbers.dtype)
    flat = ops.matmul(both, ops.reshape(numbers, (both.shape[1], -1)))
    return ops.reshape(flat, (both.shape[0], -1, *numbers.shape[2:]))


def _pixels_of_tiles(images, tiles, sides, dilation):
    """Which pixels of the batch tiles read, int32 (16 T,): by place in the tile, image, row and column."""
    rows, columns = (_first_pixels(count, dilation) for count in tiles)
    places = np.arange(4) * dilation
    height, width = sides
    firsts = (rows[:, None] * width + columns).ravel()
    pixels = ((places[:, None] * width + places).ravel()[:, None] + firsts).astype("int32")
    numbers = (np if isinstance(images, int) else ops).arange(images, dtype="int32")
    return ops.reshape(pixels[:, None] + numbers[:, None] * (height * width), (-1,))


def _first_pixels(tiles, dilation):
    """The first pixel of each tile along a side, those of the dilated maps side by side."""
    return (np.arange(tiles)[:, None] * 2 * dilation + np.arange(dilation)).ravel()


def _grown(x, pad, sides):
    """The map with `pad` zeros before it and as many after it as make it so large."""
    around = [(pad, side - pad - known) for side, known in zip(sides, x.shape[1:3], strict=True)]
    return ops.pad(x, [(0, 0), *around, (0, 0)]) if around != [(0, 0), (0, 0)] else x
