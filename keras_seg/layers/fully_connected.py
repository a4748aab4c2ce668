"""Fully connected layers of a classifier, slid over a map: convolutions that are matrix products."""

import keras
from keras import ops

from keras_seg.layers.conv2d import Conv2D
from keras_seg.ops.window_products import conv_by_product, conv_transpose_by_product

_MOST_POSITIONS = 256


@keras.saving.register_keras_serializable("keras_seg")
class FullyConnectedConv2D(Conv2D):
    """`keras.layers.Conv2D` for kernels with many weights and maps with few positions, such as VGG16's fc6.

    The same numbers up to rounding, on a CPU in an eighth of the time where the map is a single window
    (TensorFlow, float32, `predict`; see `benchmarks.fully_connected` and docs/results.md for others).
    Arguments, weights, inputs and outputs are those of Keras's layer, and weights may be exchanged with it.
    Strides, dilation, groups, "channels_first" and maps of more than 256 positions, where arithmetic takes
    most of the time, are left to Keras.

    Reference: Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic segmentation",
    section 3.1: a classifier's dense layers as convolutions.
    """

    def convolution_op(self, inputs, kernel):
        if not _is_plain(self) or self.groups != 1 or not self._is_small(inputs):
            return super().convolution_op(inputs, kernel)
        if self.padding == "same" and max(self.kernel_size) > 1:
            # As TensorFlow does for stride 1: of an even kernel the odd pixel comes last.
            around = [((side - 1) // 2, side // 2) for side in self.kernel_size]
            inputs = ops.pad(inputs, [(0, 0), *around, (0, 0)])
        return conv_by_product(inputs, kernel)

    def _is_small(self, inputs):
        """Whether the map has few positions; one of free sides counts as small."""
        _, height, width, _ = inputs.shape
        return None in (height, width) or height * width <= _MOST_POSITIONS


@keras.saving.register_keras_serializable("keras_seg")
class FullyConnectedConv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` for kernels with many weights and maps with few positions.

    DeconvNet's first layer of the decoder, a vector to a map of 7 x 7. The same numbers up to rounding, there
    on a CPU in a sixth of the time (TensorFlow, float32, `predict`). Arguments, weights, inputs and outputs
    are those of Keras's layer, and weights may be exchanged with it. Strides, dilation, padding and
    "channels_first" are left to Keras.
    """

    def call(self, inputs):
        if not _is_plain(self) or self.padding != "valid" or self.output_padding is not None:
            return super().call(inputs)
        outputs = conv_transpose_by_product(inputs, self.kernel)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)


def _is_plain(layer):
    return (
        layer.data_format == "channels_last" and set(layer.strides) == {1} and set(layer.dilation_rate) == {1}
    )
