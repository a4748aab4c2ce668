"""ReLU and zeros around its map, for a strided layer behind it."""

import keras
from keras import layers, ops

from keras_seg.utils.validation import check_integer


@keras.saving.register_keras_serializable(package="keras_seg")
class PaddedReLU(layers.Layer):
    """max(x, 0) with zeros around it.

    In training the zeros come first: ReLU's output is kept for its own gradient and for that of the layer
    behind it, and padded in between it would be kept twice. Otherwise they come last, where a convolution
    before it and ReLU are one operation.

    Args:
        pad: int. Pixels on each side.

    Call arguments:
        x: (N, H, W, C).

    Returns:
        (N, H + 2 pad, W + 2 pad, C) in x's dtype.

    Raises:
        ValueError: `pad` below 1.

    Example:
        >>> PaddedReLU(1)(-np.ones((1, 2, 2, 3), "float32")).shape
        (1, 4, 4, 3)
    """

    def __init__(self, pad, **kwargs):
        super().__init__(**kwargs)
        self.pad = check_integer("pad", pad)

    def call(self, x, training=None):
        around = [(0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0)]
        return ops.relu(ops.pad(x, around)) if training else ops.pad(ops.relu(x), around)

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else side + 2 * self.pad for side in sides), channels)

    def get_config(self):
        return {**super().get_config(), "pad": self.pad}
