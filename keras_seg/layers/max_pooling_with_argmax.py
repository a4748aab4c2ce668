"""Max pooling that also gives the place of each maximum, for an unpooling layer further on."""

import keras

from keras_seg.ops.pooling_windows import check_windows, pooled_size
from keras_seg.ops.unpooling import max_pool_with_argmax
from keras_seg.utils.validation import bad_argument, check_choice, check_rank


@keras.saving.register_keras_serializable(package="keras_seg")
class MaxPoolingWithArgmax2D(keras.layers.Layer):
    """Maximum of each window, and where in the map it lay.

    The encoder's half of DeconvNet and SegNet; `MaxUnpooling2D` is the other. What the indices mean, and what
    happens to ties, padding and NaN, is said at `keras_seg.ops.max_pool_with_argmax`.

    Reference: Noh, Hong, Han 2015, "Learning deconvolution network for semantic segmentation", section 3.2.1.

    Args:
        pool_size: int or pair (height, width), at least 1. The window.
        strides: int or pair, at least 1. Distance between windows; default `pool_size`.
        padding: "valid", "same", or an int or pair: so many cells on both sides, at most half the window.
        data_format: "channels_last", "channels_first" or None, which is `keras.config.image_data_format()`.

    Call arguments:
        inputs: floating-point tensor (N, H, W, C), or (N, C, H, W) with "channels_first".

    Returns:
        Pair: values (N, h, w, C) in the layer's compute dtype, and indices of the same shape, `y * W + x`
        within one image and channel, int32 under any policy. Channels first if the input was.

    Raises:
        ValueError: an argument is out of range; the input is not of rank 4 or smaller than one window.

    Example:
        >>> images = keras.Input((32, 32, 3))
        >>> values, indices = keras_seg.layers.MaxPoolingWithArgmax2D()(images)
        >>> keras_seg.layers.MaxUnpooling2D()([values, indices]).shape
        (None, 32, 32, 3)
    """

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, **kwargs):
        super().__init__(**kwargs)
        self._windows = check_windows(pool_size, strides, padding)
        self.pool_size, self.strides = self._windows[:2]
        self.padding = padding
        self.data_format = check_choice(
            "data_format",
            data_format or keras.config.image_data_format(),
            ("channels_last", "channels_first"),
        )

    def call(self, inputs):
        return max_pool_with_argmax(inputs, self.pool_size, self.strides, self.padding, self.data_format)

    def compute_output_shape(self, input_shape):
        last = self.data_format == "channels_last"
        check_rank("inputs", input_shape, 4, "(N, H, W, C)" if last else "(N, C, H, W)")
        start = 1 if last else 2
        size = pooled_size(input_shape[start : start + 2], *self._windows)
        if any(count is not None and count < 1 for count in size):
            expected = f"at least as high and wide as pool_size={self.pool_size}"
            raise bad_argument("inputs.shape", expected, tuple(input_shape))
        shape = (*input_shape[:start], *size, *input_shape[start + 2 :])
        return shape, shape

    def compute_output_spec(self, inputs):
        values, indices = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(values, dtype=self.compute_dtype), keras.KerasTensor(indices, dtype="int32")

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }
