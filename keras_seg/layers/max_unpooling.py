"""Unpooling: the values of a pooled map back at the places that they came from."""

import keras
from keras import ops

from keras_seg.ops.pooling_windows import check_indices, check_output_size, check_windows, unpooled_size
from keras_seg.ops.unpooling import max_unpool
from keras_seg.utils.validation import bad_argument, check_choice, check_pair, check_rank


@keras.saving.register_keras_serializable(package="keras_seg")
class MaxUnpooling2D(keras.layers.Layer):
    """Put each value at its index in a larger map that is zero elsewhere.

    The decoder's half of DeconvNet and SegNet, to `MaxPoolingWithArgmax2D` with the same windows. Where
    images may have any size, call it with the map that was pooled as the third input: its height and width
    become the output's, so an odd size comes back too, and indices are read with the width they were made
    with. What happens where windows overlap is said at `keras_seg.ops.max_unpool`.

    Reference: Noh, Hong, Han 2015, "Learning deconvolution network for semantic segmentation", section 3.2.1.

    Args:
        pool_size: int or pair (height, width), at least 1. The window of the pool to undo.
        strides: int or pair, at least 1. Distance between windows; default `pool_size`.
        padding: "valid", "same", or an int or pair, as the pool had it.
        output_size: pair (height, width) or None. Default: the third input's size, or without one
            `(h - 1) * stride + pool_size - 2 * padding`, and `h * stride` with "same".
        data_format: "channels_last", "channels_first" or None, which is `keras.config.image_data_format()`.

    Call arguments:
        inputs: list of values (N, h, w, C), indices, integers of the same shape, and optionally a tensor of
            rank 4 that gives the output's height and width and nothing else. With "channels_first" the
            channels come before the rows in all of them.

    Returns:
        Tensor (N, H, W, C) in the layer's compute dtype; channels first if the inputs are.

    Raises:
        ValueError: an argument is out of range; the inputs do not fit one another or the size.

    Example:
        >>> images = keras.Input((None, None, 3))
        >>> values, indices = keras_seg.layers.MaxPoolingWithArgmax2D()(images)
        >>> keras_seg.layers.MaxUnpooling2D()([values, indices, images]).shape
        (None, None, None, 3)
    """

    def __init__(
        self, pool_size=2, strides=None, padding="valid", output_size=None, data_format=None, **kwargs
    ):
        super().__init__(**kwargs)
        self._windows = check_windows(pool_size, strides, padding)
        self.pool_size, self.strides = self._windows[:2]
        self.padding = padding
        self.output_size = None if output_size is None else check_pair("output_size", output_size)
        self.data_format = check_choice(
            "data_format",
            data_format or keras.config.image_data_format(),
            ("channels_last", "channels_first"),
        )

    def call(self, inputs):
        values, indices, reference = self._unpack(inputs)
        size = self.output_size if reference is None else self._size_in(ops.shape(reference))
        return max_unpool(values, indices, self.pool_size, self.strides, self.padding, size, self.data_format)

    def compute_output_shape(self, input_shape):
        values, indices, reference = self._unpack(input_shape)
        layout = "(N, H, W, C)" if self.data_format == "channels_last" else "(N, C, H, W)"
        for name, shape in (("values", values), ("indices", indices), ("reference", reference)):
            if shape is not None:
                check_rank(name, shape, 4, layout)
        pooled = self._size_in(values)
        size = self.output_size if reference is None else self._size_in(reference)
        if size is None:
            size = unpooled_size(pooled, *self._windows)
        elif None not in size:
            size = check_output_size(size, pooled, *self._windows)
        start = 1 if self.data_format == "channels_last" else 2
        return (*values[:start], *size, *values[start + 2 :])

    def compute_output_spec(self, inputs):
        parts = [part for part in self._unpack(inputs) if part is not None]
        shape = self.compute_output_shape([part.shape for part in parts])
        check_indices(*parts[:2])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def _unpack(self, parts):
        """The inputs or their shapes, None where there is no third."""
        if not isinstance(parts, (list, tuple)) or len(parts) not in (2, 3):
            raise bad_argument("inputs", "a list [values, indices] or [values, indices, reference]", parts)
        if len(parts) == 3 and self.output_size is not None:
            fix = "Leave out `output_size` or the third input: both give the size."
            raise bad_argument("output_size", "None for a call on three inputs", self.output_size, fix)
        return (*parts, None)[:3]

    def _size_in(self, shape):
        start = 1 if self.data_format == "channels_last" else 2
        return tuple(shape[start : start + 2])

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "output_size": self.output_size,
            "data_format": self.data_format,
        }
