"""One channel of a 1x1 convolution for each map of a batch, without the cost of all."""

import keras
from keras import ops

from keras_seg.ops.row_gather import take_rows


class ChannelOfConv2D(keras.layers.Layer):
    """What a 1x1 convolution would give in one channel, another one for each map.

    The mask head of Mask R-CNN has a channel a class, and each box wants its own class's: with COCO's 91 that
    is a ninetieth of the products, and no map of 91 channels, 29 MB for 100 boxes and as much for its
    gradient. It has no weights of its own, and is not saved: the model that makes it keeps the convolution.

    Args:
        convolution: keras.layers.Conv2D, built, with a kernel of 1 x 1, stride 1, a bias and no activation.

    Call arguments:
        maps: (B, h, w, C), h and w known.
        channels: int32 (B,), within the convolution's.

    Returns:
        (B, h, w) in the convolution's dtype.
    """

    def __init__(self, convolution):
        super().__init__(dtype=convolution.dtype_policy, name=f"{convolution.name}_of_one_class")
        self._convolution = convolution

    def call(self, maps, channels):
        height, width, depth = maps.shape[1:]
        kernel = take_rows(ops.transpose(self._convolution.kernel[0, 0]), channels)
        products = ops.matmul(ops.reshape(maps, (-1, height * width, depth)), kernel[..., None])
        bias = take_rows(self._convolution.bias, channels)
        return ops.reshape(products, (-1, height, width)) + bias[:, None, None]

    @staticmethod
    def serves(layer):
        """Whether a layer is a convolution that this can stand for."""
        return (
            isinstance(layer, keras.layers.Conv2D)
            and (layer.kernel_size, layer.strides) == ((1, 1), (1, 1))
            and layer.use_bias
            and layer.activation is keras.activations.linear
            and layer.data_format == "channels_last"
        )
