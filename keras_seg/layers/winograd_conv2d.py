"""3x3 convolutions with fewer multiplications."""

import keras

from keras_seg.layers.conv2d import Conv2D
from keras_seg.ops.fast import native_form


def conv2d(filters, kernel_size, strides=1, **options):
    """A convolution of the class that suits it: `WinogradConv2D` for 3x3 of stride 1, else `Conv2D`.

    Arguments are those of `keras.layers.Conv2D`.
    """
    kind = WinogradConv2D if (kernel_size, strides) == (3, 1) else Conv2D
    return kind(filters, kernel_size, strides, **options)


@keras.saving.register_keras_serializable("keras_seg")
class WinogradConv2D(Conv2D):
    """`keras.layers.Conv2D` that takes Winograd's minimal filtering where that is the faster.

    Where it is: on TensorFlow on a CPU, in a graph of one image size without `jit_compile`, which is not
    traced for `keras_seg.export`; for kernels of 3 x 3, stride 1, and so many channels that the products
    outweigh the transforms, 200 in and out. There a convolution of 256 channels on a map of 64 x 64 or more
    takes 0.6 to 0.7 of its time, wider ones 0.6 to 0.8, a mask head's many small maps 0.7 to 0.8; a single
    small map gains little (`benchmarks.winograd`, docs/results.md).
    Everywhere else it is Keras's own layer, on a GPU too, where cuDNN chooses. Numbers are Keras's up to
    rounding, of about twice the size.

    Arguments, weights, inputs and outputs are those of Keras's layer, and weights may be exchanged with it.

    Reference: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section
    4.1.
    """

    def convolution_op(self, inputs, kernel):
        conv = self._is_plain() and native_form(
            "conv_3x3", shape=inputs.shape, units=self.filters, dtype=self.compute_dtype
        )
        if not conv:
            return super().convolution_op(inputs, kernel)
        dilation = self.dilation_rate[0]
        return conv(inputs, kernel, dilation if self.padding == "same" else 0, dilation)

    def _is_plain(self):
        return (
            self.kernel_size == (3, 3)
            and self.strides == (1, 1)
            and self.dilation_rate[0] == self.dilation_rate[1]
            and self.groups == 1
            and self.data_format == "channels_last"
        )
