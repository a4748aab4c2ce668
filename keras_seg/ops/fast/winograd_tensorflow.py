"""3x3 convolutions by Winograd's minimal filtering on CPUs, by TensorFlow's matrix products.

A part of the batch, or a band of an image, at a time: its tiles, four times the map, and their products
then stay in the processor's cache, and a large map costs no more memory than a small one.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_seg.ops import winograd
from keras_seg.ops.fast.processor import multiplies_bfloat16_faster
from keras_seg.ops.fast.updates_tensorflow import converted_after, used_together

_PART_BYTES = 2 * 2**20  # of a part's input; with its pixels, tiles and products it is thirteen times as much


def conv_3x3(x, kernel, pad, dilation):
    """A convolution of stride 1, `tf.nn.conv2d` up to rounding.

    Args:
        x: tensor (N, H, W, C) of known H, W and C.
        kernel: tensor (3, 3, C, D) of x's dtype, or a variable that becomes one.
        pad: int. Pixels of zeros around the map, 0 to 2 `dilation`.
        dilation: int.

    Returns:
        Tensor (N, H + 2 pad - 2 dilation, W + 2 pad - 2 dilation, D).
    """

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradient(upstream):
            back = 2 * dilation - pad
            return (
                _convolved(upstream, kernel, back, dilation, backwards=True),
                _for_kernel(x, upstream, pad, dilation),
            )

        return _convolved(x, kernel, pad, dilation, backwards=False), gradient

    return convolve(*used_together(x, converted_after(x, kernel)))


def _shared(function):
    """A function of the graph that layers of one shape share, and that starts when its map is there.

    Else the transformed kernels of all layers, 16 / 9 of their weights, would be made at the start and kept
    until used.
    """
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


class _Cut(NamedTuple):
    """How a batch is cut: whole images together, or each image into bands of rows.

    Attributes:
        images: int. Images of a part; 1 where there are bands.
        bands: int. Of an image.
        size: pair of ints. Pixels (H, W) of the output of a part.
        dilation: int.
    """

    images: int
    bands: int
    size: tuple
    dilation: int

    def parts(self, x):
        """How many parts there are: an int, or a scalar tensor for a batch of unknown size."""
        images = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
        return self.bands * -(-images // self.images)

    def of_input(self, x, pad):
        """A function from a part's number to what it reads of `x`, and how much that is to be padded."""
        if self.bands == 1:
            return self._of_images(x), pad
        height = self.size[0] + 2 * self.dilation
        width = winograd.padded_side(winograd.tiles_along(self.size[1], self.dilation), self.dilation)
        return self._of_bands(x, pad, height, width), 0

    def of_output(self, upstream):
        """A function from a part's number to that part of the output's gradient."""
        if self.bands == 1:
            return self._of_images(upstream)
        return self._of_bands(upstream, 0, *self.size)

    def room(self, x, units, dtype):
        """Where the parts' outputs go, (N * bands, *size, units), not yet written."""
        shape = (tf.shape(x)[0] * self.bands, *self.size, units)
        return tf.ensure_shape(tf.raw_ops.Empty(shape=shape, dtype=dtype), (None, *shape[1:]))

    def put(self, room, part, output):
        """The same memory, where the loop over parts alone holds it, with a part's output in its place.

        A list of parts is joined by a copy: at the end there would be two outputs.
        """
        first = part * self.images
        places = tf.range(first, first + tf.shape(output)[0])
        return tf.ensure_shape(tf.raw_ops.InplaceUpdate(x=room, i=places, v=output), room.shape)

    def joined(self, room, shape):
        """The output, of this shape, when all parts are in their places."""
        rows = self.bands * self.size[0]
        whole = tf.reshape(room, (-1, rows, *self.size[1:], shape[3]))
        return tf.ensure_shape(whole[:, : shape[1]] if rows > shape[1] else whole, shape)

    def _of_images(self, x):
        return lambda part: x[part * self.images : (part + 1) * self.images]

    def _of_bands(self, x, pad, height, width):
        """Bands with their own zeros around them: a padded copy of the whole map is as large as it."""

        def band(part):
            image, first = part // self.bands, part % self.bands * self.size[0] - pad
            known = x[image : image + 1, tf.maximum(first, 0) : tf.minimum(first + height, x.shape[1])]
            above = tf.maximum(-first, 0)
            below = height - above - tf.shape(known)[1]
            around = [(0, 0), (above, below), (pad, width - pad - x.shape[2]), (0, 0)]
            return tf.ensure_shape(tf.pad(known, around), (1, height, width, x.shape[3]))

        return band


def _cut(x, pad, dilation):
    _, height, width, channels = x.shape
    size = _output_size(x, pad, dilation)
    image_bytes = height * width * channels * _dtype_of_products(x).size
    tiles = winograd.tiles_along(size[0], dilation)
    rows = -(-tiles // -(-image_bytes // _PART_BYTES))
    bands = -(-tiles // rows)
    if bands == 1:
        return _Cut(max(1, _PART_BYTES // image_bytes), 1, size, dilation)
    return _Cut(1, bands, (2 * dilation * rows, size[1]), dilation)


def _dtype_of_products(x):
    """That of `x`, or float32 where the processor multiplies 16-bit numbers no faster."""
    return x.dtype if multiplies_bfloat16_faster() else tf.float32


def _is_one(parts):
    return isinstance(parts, int) and parts == 1


def _output_size(x, pad, dilation):
    return tuple(winograd.output_side(side, pad, dilation) for side in x.shape[1:3])


@_shared
def _convolved(x, kernel, pad, dilation, backwards):
    """The convolution by a kernel (3, 3, C, D), or for a gradient by its transpose."""
    kernel = tf.cast(kernel, _dtype_of_products(x))
    kernels = winograd.transformed_kernel(kernel[::-1, ::-1] if backwards else kernel)
    cut = _cut(x, pad, dilation)
    read, pad_of_part = cut.of_input(x, pad)
    shape = (x.shape[0], *_output_size(x, pad, dilation), kernels.shape[1 if backwards else 2])

    def output_of(pixels):
        tiles = winograd.input_tiles(tf.cast(pixels, kernels.dtype), pad_of_part, dilation)
        products = tf.matmul(tiles, kernels, transpose_b=backwards)
        return tf.cast(winograd.output_map(products, cut.size, dilation), x.dtype)

    def write(part, room):
        return part + 1, cut.put(room, part, output_of(read(part)))

    parts = cut.parts(x)
    if _is_one(parts):
        return output_of(x)
    room = cut.room(x, shape[3], x.dtype)
    _, room = tf.while_loop(lambda part, _: part < parts, write, (0, room), parallel_iterations=1)
    return cut.joined(room, shape)


@_shared
def _for_kernel(x, upstream, pad, dilation):
    cut = _cut(x, pad, dilation)
    read, pad_of_part = cut.of_input(x, pad)
    read_upstream, dtype = cut.of_output(upstream), _dtype_of_products(x)

    def products_of(pixels, gradients):
        tiles = winograd.input_tiles(tf.cast(pixels, dtype), pad_of_part, dilation)
        gradients = winograd.output_map_gradient(tf.cast(gradients, dtype), dilation)
        return tf.cast(tf.matmul(tiles, gradients, transpose_a=True), "float32")

    def add(part, total):
        return part + 1, total + products_of(read(part), read_upstream(part))

    parts = cut.parts(x)
    if _is_one(parts):
        total = products_of(x, upstream)
    else:
        # `tf.zeros` of a known shape is made into a constant, which holds its memory between the steps.
        nothing = tf.raw_ops.Empty(shape=(16, x.shape[3], upstream.shape[3]), dtype=tf.float32, init=True)
        _, total = tf.while_loop(lambda part, _: part < parts, add, (0, nothing), parallel_iterations=1)
    return tf.cast(winograd.transformed_kernel_gradient(total), x.dtype)
