"""AlexNet: the smallest network of the FCN paper, and its classifier as convolutions.

A. Krizhevsky, I. Sutskever and G. Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012, in the form of A. Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014, https://arxiv.org/abs/1404.5997, as torchvision has it.

Differences from the network of 2012, and from CaffeNet, which FCN took: one tower of 64, 192, 384, 256 and
256 channels, where those have 96, 256, 384, 384 and 256 with conv2, conv4 and conv5 in two groups; no local
response normalization; conv1 is padded by 2; dropout stands before fc6 and before fc7, where those have it
after each.
"""

import keras
from keras import layers

from keras_seg.backbones.explicit_padding import (
    ROUND_UP,
    at_least,
    conv,
    dense_scores,
    max_pool,
    refuse_weights,
)
from keras_seg.backbones.preprocessing import images_input, mode_affine
from keras_seg.layers.fully_connected import FullyConnectedConv2D
from keras_seg.utils.validation import check_choice, check_integer

# fc6's window on pool5.
_FC_WINDOW = 6


def alexnet(
    input_shape=(None, None, 3),
    *,
    include_top=False,
    num_classes=1000,
    weights=None,
    first_padding=2,
    round_up=False,
    name="alexnet",
):
    """Build AlexNet: its trunk to `pool5`, or the dense classifier.

    Images are preprocessed already, see `preprocessing`. The pools aren't padded, so maps are a little
    smaller than the image's 32nd part: 6 x 6 at 224 x 224.

    Args:
        input_shape: (height, width, channels), None for free sides.
        include_top: bool. True: fc6, fc7 and fc8 as convolutions, a score for every window of 224 x 224, with
            32 pixels from window to window. Zeros stand around the image only: inside it, a window's score
            sees its surroundings where the classifier on a crop would see zeros. torchvision's adaptive
            pooling before them does nothing at 224 x 224, and has no place here.
        num_classes: int. Channels of the score map.
        weights: None.
        first_padding: int. Zeros around the image before conv1. FCN's authors take 100.
        round_up: bool. The sizes of pooled maps: False rounds down, as torchvision; True rounds up, as Caffe,
            on which the crops of the released FCNs count.
        name: str. Name of the model.

    Returns:
        keras.Model: (N, H, W, C) to (N, h, w, 256), or with `include_top` to logits (N, h - 5, w - 5,
        num_classes), float32: 1 x 1 for an image of 224 x 224.

    Raises:
        ValueError: weights other than None; or an image of less than 63 pixels a side, 223 with
            `include_top`.

    Example:
        >>> alexnet(include_top=True).compute_output_shape((1, 224, 256, 3))
        (1, 1, 2, 1000)
    """
    refuse_weights(weights, "alexnet")
    images = images_input(input_shape, "torch")
    first_padding = check_integer("first_padding", first_padding, minimum=0)
    x = at_least(images, _smallest_side(_FC_WINDOW if include_top else 1, first_padding, round_up), name)
    x = _conv_relu(x, 64, 11, 1, strides=4, pad=first_padding)
    pool_pad = ROUND_UP if round_up else 0
    x = max_pool(x, 3, 2, "pool1", pad=pool_pad)
    x = _conv_relu(x, 192, 5, 2, pad=2)
    x = max_pool(x, 3, 2, "pool2", pad=pool_pad)
    x = _conv_relu(x, 384, 3, 3, pad=1)
    x = _conv_relu(x, 256, 3, 4, pad=1)
    x = _conv_relu(x, 256, 3, 5, pad=1)
    x = max_pool(x, 3, 2, "pool5", pad=pool_pad)
    if include_top:
        x = dense_scores(classifier_features(x), num_classes, "fc8")
    return keras.Model(images, x, name=name)


def preprocessing(channels, weights=None):
    """(matrix, offset) from pixels 0..255 to what torchvision's weights want."""
    return mode_affine("torch", channels)


def classifier_features(x, padding="valid", dropout=0.5):
    """fc6 and fc7 as convolutions, each after dropout and with ReLU: the map that fc8 makes scores of.

    Args:
        x: tensor (N, H, W, C), pool5.
        padding: "valid", every fc6 window lies within the map, or "same", the size is kept. The window of 6
            is even: it reaches 2 pixels up and left, 3 down and right.
        dropout: float, 0 to 1.

    Returns:
        Tensor (N, H - 5, W - 5, 4096), or (N, H, W, 4096) with "same".
    """
    check_choice("padding", padding, ("valid", "same"))
    x = layers.Dropout(dropout, name="drop5")(x)
    pad = ((2, 3), (2, 3)) if padding == "same" else 0
    x = conv(x, 4096, _FC_WINDOW, "fc6", pad=pad, kind=FullyConnectedConv2D)
    x = layers.ReLU(name="relu6")(x)
    x = layers.Dropout(dropout, name="drop6")(x)
    x = conv(x, 4096, 1, "fc7", kind=FullyConnectedConv2D)
    return layers.ReLU(name="relu7")(x)


def _smallest_side(size, first_padding, round_up):
    """The image's side from which on pool5 has `size` units."""
    for _ in range(3):
        size = 2 * size + (not round_up)
    return max(1, 4 * (size - 1) + 11 - 2 * first_padding)


def _conv_relu(x, filters, kernel_size, index, strides=1, pad=0):
    x = conv(x, filters, kernel_size, f"conv{index}", strides=strides, pad=pad)
    return layers.ReLU(name=f"relu{index}")(x)
