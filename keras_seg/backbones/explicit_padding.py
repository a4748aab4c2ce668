"""Layers of the classification networks as PyTorch pads them: the same number of pixels on either side.

Keras's "same" puts the odd pixel of a strided layer at the end, which shifts the grid by one pixel: weights
of torchvision would give other numbers. Layers of stride 1 agree, so they keep "same", which needs no padded
copy of the map.
"""

from keras import initializers, layers

from keras_seg.layers.batch_normalization import BatchNormalization
from keras_seg.layers.conv_block import he_normal
from keras_seg.layers.size_check import SizeCheck
from keras_seg.layers.winograd_conv2d import conv2d
from keras_seg.utils.validation import bad_argument, check_integer

# As `pad` of `max_pool` with 3 by 2: zeros below and to the right, so that rounding down is rounding up.
ROUND_UP = ((0, 1), (0, 1))


def conv(x, filters, kernel_size, name, *, strides=1, pad=0, dilation=1, use_bias=True, kind=conv2d):
    """Convolution with zeros around the map.

    Args:
        x: tensor (N, H, W, C).
        filters: int. Output channels.
        kernel_size: int, pixels.
        name: str. Of the layer; a padding layer before it is `{name}_pad`.
        strides: int.
        pad: int, pixels on each side, or ((top, bottom), (left, right)).
        dilation: int. Distance of neighbouring kernel weights, pixels.
        use_bias: bool. False where a normalization follows.
        kind: a layer class, or a function that makes a layer, with the arguments of `keras.layers.Conv2D`.

    Returns:
        Tensor (N, h, w, filters), h = floor((H + 2 pad - dilation (kernel_size - 1) - 1) / strides) + 1.
    """
    same = strides == 1 and pad == dilation * (kernel_size - 1) / 2
    if pad and not same:
        x = layers.ZeroPadding2D(pad, data_format="channels_last", name=f"{name}_pad")(x)
    return kind(
        filters,
        kernel_size,
        strides,
        padding="same" if same else "valid",
        dilation_rate=dilation,
        use_bias=use_bias,
        kernel_initializer=he_normal(),
        data_format="channels_last",
        name=name,
    )(x)


def max_pool(x, pool_size, strides, name, *, pad=0):
    """Max pooling of a map that is nowhere negative, such as after ReLU.

    Args:
        x: tensor (N, H, W, C), at least 0: padding with zeros is then padding with minus infinity.
        pool_size: int, pixels.
        strides: int.
        name: str. Of the layer; a padding layer before it is `{name}_pad`.
        pad: int, pixels on each side, or ((top, bottom), (left, right)).

    Returns:
        Tensor (N, h, w, C), h rounded down after padding.
    """
    if pad:
        x = layers.ZeroPadding2D(pad, data_format="channels_last", name=f"{name}_pad")(x)
    return layers.MaxPooling2D(pool_size, strides, data_format="channels_last", name=name)(x)


def at_least(images, side, network):
    """The images, unless their height or width is known to be below `side` pixels: a map would be empty.

    Args:
        images: tensor (N, H, W, C).
        side: int, pixels. The smallest from which the network's last map, or score map, has a unit.
        network: str. Its name, for the message.

    Returns:
        Tensor, the same.
    """
    advice = f"{network} halves them until nothing is left of smaller ones: enlarge them, or pad them."
    return SizeCheck(1, minimum=side, advice=advice, name="size_check")(images)


def dense_scores(x, num_classes, name):
    """The last layer of a dense classifier: a 1x1 convolution to one logit per class, in float32."""
    return layers.Conv2D(
        check_integer("num_classes", num_classes),
        1,
        data_format="channels_last",
        # Under every policy: bfloat16 logits have 8 bits, too few for the differences that count.
        dtype="float32",
        name=name,
    )(x)


def averaged_scores(x, num_classes, pool_size, dropout=0.0):
    """Global average and dense layer of a classifier, made fully convolutional.

    The global average becomes one over a window, of stride 1 and of the size that the map has at 224 x 224.

    Args:
        x: tensor (N, H, W, C).
        num_classes: int.
        pool_size: int. Side of the window: 7 where the map is 32 times smaller than the image.
        dropout: float, 0 to 1. Rate between the two.

    Returns:
        Tensor (N, H - pool_size + 1, W - pool_size + 1, num_classes), logits.
    """
    x = layers.AveragePooling2D(pool_size, strides=1, data_format="channels_last", name="avgpool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return dense_scores(x, num_classes, "fc")


def batch_norm(x, name, epsilon, shift=0.0):
    """Batch normalization; torch's momentum of 0.1 is 0.9 as Keras counts it. The shift starts at `shift`."""
    return BatchNormalization(
        momentum=0.9, epsilon=epsilon, beta_initializer=initializers.Constant(shift), name=name
    )(x)


def refuse_weights(weights, network, other=None):
    """Raise unless `weights` is None: for networks that keras.applications has no file for.

    Args:
        weights: the builder's argument.
        network: str. The builder's name.
        other: str or None. The nearest network of keras.applications.
    """
    if weights is None:
        return
    fix = f"Use `keras_seg.weights.from_torchvision({network!r}, checkpoint)`"
    raise bad_argument(
        "weights",
        f"None with {network}: keras.applications has no file in torchvision's layout",
        weights,
        f'{fix}, or backbone="{other}" of keras.applications.' if other else f"{fix}.",
    )
