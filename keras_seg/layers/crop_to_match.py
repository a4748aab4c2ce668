"""Cuts one map to another's height and width: the skip connections of U-Net and of any odd-sized input."""

import keras
from keras import ops

from keras_seg.utils.validation import bad_argument, check_choice, check_integer


@keras.saving.register_keras_serializable(package="keras_seg")
class CropToMatch(keras.layers.Layer):
    """Crop the first map to the height and width of the second.

    Three places need it. A map that was halved with rounding up and doubled again is one pixel too large
    where the size was odd; the surplus lies at the end (`align="start"` keeps the start). The skips of the
    unpadded U-Net are larger on all four sides (`align="center"`; Ronneberger et al. 2015, figure 1). And
    the released FCNs cut a window at an offset that follows from their padding of 100 pixels.

    Args:
        align: "start" or "center". Which part is kept. With "center" and an odd surplus, the end loses the
            extra pixel.
        offset: int, pixels. Where the window begins with `align="start"`, on both axes.

    Call arguments:
        inputs: pair of tensors (N, H, W, C) and (N, h, w, C'), with offset + h <= H and offset + w <= W.

    Returns:
        Tensor (N, h, w, C), the first input's dtype.

    Raises:
        ValueError: the window reaches beyond the first map. Sizes are checked wherever they are known; in a
            graph traced with free sizes they are not.

    Example:
        >>> import numpy as np
        >>> CropToMatch()([np.ones((1, 8, 8, 3)), np.ones((1, 7, 8, 5))]).shape
        TensorShape([1, 7, 8, 3])
    """

    def __init__(self, align="start", offset=0, **kwargs):
        super().__init__(**kwargs)
        self.align = check_choice("align", align, ("start", "center"))
        self.offset = check_integer("offset", offset, 0)

    def call(self, inputs):
        x, reference = inputs
        self._check(x.shape, reference.shape)
        (height, width), (new_height, new_width) = ops.shape(x)[1:3], ops.shape(reference)[1:3]
        top, left = self.offset, self.offset
        if self.align == "center":
            top, left = (height - new_height) // 2, (width - new_width) // 2
        return x[:, top : top + new_height, left : left + new_width, :]

    def compute_output_shape(self, input_shape):
        shape, reference = input_shape
        self._check(shape, reference)
        return (shape[0], reference[1], reference[2], shape[3])

    def _check(self, shape, reference):
        """Raise where the window ends beyond the map: a slice would be shorter without a word."""
        for side, size, window in zip(("height", "width"), shape[1:3], reference[1:3], strict=True):
            if None not in (size, window) and self.offset + window > size:
                beyond = f" from pixel {self.offset} on" if self.offset else ""
                raise bad_argument(
                    "inputs",
                    f"a pair of which the first has the second's {side} of {window} pixels{beyond}",
                    [tuple(shape), tuple(reference)],
                )

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape([tensor.shape for tensor in inputs])
        return keras.KerasTensor(shape, dtype=inputs[0].dtype)

    def get_config(self):
        return {**super().get_config(), "align": self.align, "offset": self.offset}
