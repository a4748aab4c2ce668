"""Upsampling by a whole factor with FCN's bilinear kernel, fixed or as the start of a learned one."""

import keras
import numpy as np
from keras import ops

from keras_seg.ops.resizing import resize_bilinear
from keras_seg.utils.validation import check_choice, check_integer, check_rank


@keras.saving.register_keras_serializable(package="keras_seg")
class BilinearUpsampling2D(keras.layers.Layer):
    """Enlarge a map by a whole factor, each channel by itself, with bilinear weights.

    The bilinear kernel of a transposed convolution of stride f has 2f pixels a side for an even f and 2f - 1
    for an odd one; the weight at a distance of d pixels from its centre is 1 - d / f, per axis (J. Long,
    E. Shelhamer and T. Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section
    3.3, and `surgery.interp` of the released code).

    - `padding="same"`: f times the input's size, half-pixel centres. Beyond the map its edge goes on, where a
      plain transposed convolution would fade the rim to half its value.
    - `padding="valid"`: everything that the kernel reaches, (size - 1) * f + kernel_size pixels, the caller
      crops: the form of the released FCNs.

    Fixed, it has no weights and costs what a resize costs: 7 ms for (4, 60, 45, 21) by 8 on two cores, where
    the transposed convolution takes 28 ms. The arithmetic is float32 under every policy, since it makes the
    logits.

    Args:
        factor: int, at least 1.
        padding: "same" (default) or "valid".
        learned: bool. True makes the kernel a weight (k, k, C, C) that starts as the bilinear one on the
            diagonal of the channels and may come to mix them.
        kernel_size: int or None for the kernel above. The released FCN-AlexNet has 63 at a factor of 32.

    Call arguments:
        inputs: tensor (N, H, W, C).

    Returns:
        Tensor (N, H', W', C), float32.

    Example:
        >>> BilinearUpsampling2D(32)(np.ones((1, 7, 7, 21))).shape
        TensorShape([1, 224, 224, 21])
    """

    def __init__(self, factor, padding="same", learned=False, kernel_size=None, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.factor = check_integer("factor", factor)
        self.padding = check_choice("padding", padding, ("same", "valid"))
        self.learned = bool(learned)
        default = 2 * self.factor - self.factor % 2
        fix = 'A kernel of another size is for padding="valid".' if padding == "same" else None
        self.kernel_size = default if kernel_size is None else check_integer("kernel_size", kernel_size)
        if padding == "same":
            check_choice("kernel_size", self.kernel_size, (default,), fix)

    def build(self, input_shape):
        check_rank("inputs", input_shape, 4, "(N, H, W, C)")
        if self.learned:
            channels = input_shape[-1]
            self.kernel = self.add_weight(
                shape=(self.kernel_size, self.kernel_size, channels, channels),
                initializer=BilinearKernel(),
                name="kernel",
            )

    def call(self, inputs):
        if self.learned:
            return self._transposed_convolution(inputs)
        if self.padding == "same":
            size = tuple(side * self.factor for side in ops.shape(inputs)[1:3])
            return resize_bilinear(inputs, size)
        return self._interpolate_all(inputs)

    def _transposed_convolution(self, x):
        # Symmetric padding by one pixel repeats the edge.
        padded = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric") if self.padding == "same" else x
        enlarged = ops.conv_transpose(
            padded, self.kernel, self.factor, padding="valid", data_format="channels_last"
        )
        if self.padding == "valid":
            return enlarged
        # Input pixel 0 is pixel 1 of the padded map; its kernel is centred 1.5 f after the map's own start.
        start = (3 * self.factor - self.factor % 2) // 2
        height, width = (side * self.factor for side in ops.shape(x)[1:3])
        return enlarged[:, start : start + height, start : start + width, :]

    def _interpolate_all(self, x):
        """The transposed convolution as one matrix product per axis: it does not mix channels."""
        batch, height, width, channels = ops.shape(x)
        rows, columns = self._weights(height), self._weights(width)
        x = ops.matmul(rows, ops.reshape(x, (batch, height, width * channels)))
        x = ops.matmul(columns, ops.reshape(x, (-1, width, channels)))
        return ops.reshape(x, (batch, self._reach(height), self._reach(width), channels))

    def _weights(self, side):
        """Matrix (output side, input side) of the kernel's weights."""
        positions = ops.cast(ops.arange(self._reach(side)), "float32")[:, None]
        centres = ops.cast(ops.arange(side) * self.factor, "float32")[None] + _centre(self.kernel_size)
        return ops.relu(1 - ops.abs(positions - centres) / _spread(self.kernel_size))

    def _reach(self, side):
        return (side - 1) * self.factor + self.kernel_size

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        enlarge = self._reach if self.padding == "valid" else lambda side: side * self.factor
        sides = (None if side is None else enlarge(side) for side in (height, width))
        return (batch, *sides, channels)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "factor": self.factor,
            "padding": self.padding,
            "learned": self.learned,
            "kernel_size": self.kernel_size,
        }


@keras.saving.register_keras_serializable(package="keras_seg")
class BilinearKernel(keras.initializers.Initializer):
    """Kernel (k, k, C, C) of a transposed convolution that interpolates each channel bilinearly."""

    def __call__(self, shape, dtype=None):
        height, width, outputs, inputs = shape
        positions = (np.arange(side) for side in (height, width))
        rows, columns = (
            1 - np.abs(position - _centre(side)) / _spread(side)
            for position, side in zip(positions, (height, width), strict=True)
        )
        kernel = np.outer(rows, columns)[:, :, None, None] * np.eye(outputs, inputs)
        return ops.cast(ops.convert_to_tensor(kernel), dtype or keras.config.floatx())

    def get_config(self):
        return {}


def _spread(kernel_size):
    """The distance from the centre at which a kernel's weight would be 0."""
    return (kernel_size + 1) // 2


def _centre(kernel_size):
    """The kernel's centre, in its own pixels."""
    spread = _spread(kernel_size)
    return spread - 1.0 if kernel_size % 2 else spread - 0.5
