"""The transforms of 3x3 convolutions by Winograd's minimal filtering: 16 products where there were 36.

A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1,
F(2x2, 3x3): the map is cut into tiles of 4 x 4 that overlap by two, and each gives 2 x 2 outputs. Differences
are taken before the products and sums after, in float32, so that rounding grows about twofold.

A convolution of dilation d is one on each of the d x d maps of every d-th pixel; they are taken together.
Letters: N images of H x W pixels, C channels in and D out, T tiles of all images.
"""

from keras import ops

# The places in a tile that change with each other when the kernel is turned by half a turn.
_TURNED = [4 * row + column for row in (3, 1, 2, 0) for column in (3, 1, 2, 0)]


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
    """A kernel as the products take it: (3, 3, C, D) to a list of 16 tensors (C, D) of its dtype."""
    weights = ops.cast(kernel, "float32")
    lines = [_interpolated([weights[row, column] for row in range(3)]) for column in range(3)]
    return [
        ops.cast(product, kernel.dtype) for row in zip(*lines, strict=True) for product in _interpolated(row)
    ]


def transformed_kernel_gradient(upstream):
    """The gradient of `transformed_kernel`: a list of 16 tensors (C, D) to (3, 3, C, D)."""
    lines = [_interpolated_gradient(upstream[column::4]) for column in range(4)]
    return ops.stack([ops.stack(_interpolated_gradient(row)) for row in zip(*lines, strict=True)])


def turned(products):
    """The list of 16 tensors (C, D) for the same kernel turned by half a turn."""
    return [products[place] for place in _TURNED]


def input_tiles(x, pad, dilation):
    """What the products take of a map.

    Args:
        x: tensor (N, H, W, C) of known H and W.
        pad: int. Pixels of zeros before it; after it there are as many as the last tiles want.
        dilation: int.

    Returns:
        List of 16 tensors (T, C) in the dtype of `x`, one for each place in a tile.
    """
    images, *size, channels = ops.shape(x)
    rows, columns = (tiles_along(output_side(side, pad, dilation), dilation) for side in size)
    x = _grown(x, pad, [padded_side(count, dilation) for count in (rows, columns)])
    x = ops.reshape(x, (images, rows + 1, 2, dilation, columns + 1, 2, dilation, channels))

    def cell(row, column):
        down = slice(row // 2, row // 2 + rows)
        right = slice(column // 2, column // 2 + columns)
        return ops.cast(x[:, down, row % 2, :, right, column % 2], "float32")

    lines = [_differences([cell(row, column) for row in range(4)]) for column in range(4)]
    tiles = [tile for row in zip(*lines, strict=True) for tile in _differences(row)]
    return [ops.reshape(ops.cast(tile, x.dtype), (-1, channels)) for tile in tiles]


def output_map(products, size, dilation):
    """The convolution's output from the products.

    Args:
        products: list of 16 tensors (T, D).
        size: pair of ints (H, W), pixels of the output.
        dilation: int.

    Returns:
        Tensor (N, H, W, D) in the products' dtype.
    """
    dtype, units = products[0].dtype, products[0].shape[1]
    rows, columns = (tiles_along(side, dilation) for side in size)
    products = [
        ops.cast(ops.reshape(product, (-1, rows, dilation, columns, dilation, units)), "float32")
        for product in products
    ]
    lines = [_sums(products[column::4]) for column in range(4)]
    cells = [ops.stack(_sums(line), axis=4) for line in zip(*lines, strict=True)]
    cells = ops.reshape(ops.stack(cells, axis=2), (-1, 2 * rows * dilation, 2 * columns * dilation, units))
    return ops.cast(cells[:, : size[0], : size[1]], dtype)


def output_map_gradient(upstream, dilation):
    """The gradient of `output_map`: (N, H, W, D) to a list of 16 tensors (T, D)."""
    images, *size, units = ops.shape(upstream)
    rows, columns = (tiles_along(side, dilation) for side in size)
    cells = _grown(upstream, 0, [2 * dilation * count for count in (rows, columns)])
    cells = ops.reshape(cells, (images, rows, 2, dilation, columns, 2, dilation, units))

    def cell(row, column):
        return ops.cast(cells[:, :, row, :, :, column], "float32")

    lines = [_spread([cell(row, column) for row in range(2)]) for column in range(2)]
    products = [product for row in zip(*lines, strict=True) for product in _spread(row)]
    return [ops.reshape(ops.cast(product, upstream.dtype), (-1, units)) for product in products]


def _grown(x, pad, sides):
    """The map with `pad` zeros before it and as many after it as make it so large."""
    around = [(pad, side - pad - known) for side, known in zip(sides, x.shape[1:3], strict=True)]
    return ops.pad(x, [(0, 0), *around, (0, 0)]) if around != [(0, 0), (0, 0)] else x


def _interpolated(weights):
    """Three weights to those of four products, along one axis: the paper's G."""
    first, second, third = weights
    ends = first + third
    return first, (ends + second) / 2, (ends - second) / 2, third


def _interpolated_gradient(upstream):
    first, second, third, fourth = upstream
    less = (second + third) * -0.5  # subtracted, as in `_sums`
    return first - less, (second - third) / 2, fourth - less


def _differences(cells):
    """Four pixels to the inputs of four products, along one axis: the paper's B."""
    first, second, third, fourth = cells
    return first - third, second + third, third - second, second - fourth


def _sums(products):
    """Four products to two outputs, along one axis: the paper's A."""
    first, second, third, fourth = products
    # No sum of three: TensorFlow makes an `AddN` of it, which its clustering for XLA leaves out, and there
    # are several programs with maps between them where there was one, which takes twice the time.
    return first - (-second - third), second - third - fourth


def _spread(outputs):
    """The gradient of `_sums`."""
    first, second = outputs
    return first, first + second, first - second, -second
