"""GoogLeNet (Inception v1), with the layer names of torchvision's checkpoints.

C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, https://arxiv.org/abs/1409.4842, table 1. A
layer is named by its path in torchvision, with "_" for ".": "inception3a_branch2_1_conv".

Differences from the paper, as in torchvision: batch normalization after every convolution, in place of biases
and of local response normalization; the branch of 5x5 convolutions has 3x3 ones of as many channels (a slip
that its checkpoint has kept); the fourth pool has a window of 2; dropout is 0.2, where the table has 40 %.
The two auxiliary classifiers serve training only and are left out, so their weights in a checkpoint have no
place here.
"""

import keras
from keras import layers

from keras_seg.backbones.explicit_padding import (
    ROUND_UP,
    at_least,
    averaged_scores,
    batch_norm,
    conv,
    max_pool,
    refuse_weights,
)
from keras_seg.backbones.preprocessing import images_input, mode_affine

# Channels of each module: 1x1; 3x3 and the 1x1 before it; "5x5" and the 1x1 before it; 1x1 after the pool.
_MODULES = {
    "inception3a": (64, (96, 128), (16, 32), 32),
    "inception3b": (128, (128, 192), (32, 96), 64),
    "inception4a": (192, (96, 208), (16, 48), 64),
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),
    "inception5a": (256, (160, 320), (32, 128), 128),
    "inception5b": (384, (192, 384), (48, 128), 128),
}


def googlenet(
    input_shape=(None, None, 3),
    *,
    include_top=False,
    num_classes=1000,
    weights=None,
    name="googlenet",
):
    """Build GoogLeNet: its trunk to `inception5b`, or the dense classifier.

    Images are preprocessed already, see `preprocessing`.

    Args:
        input_shape: (height, width, channels), None for free sides.
        include_top: bool. True: the mean over a window of 7 x 7 and a 1x1 convolution, a score for every
            window of 224 x 224 pixels, with 32 pixels from window to window. Zeros stand around the image
            only: inside it, a window's score sees its surroundings where the classifier on a crop would see
            zeros.
        num_classes: int. Channels of the score map.
        weights: None. Use `keras_seg.weights.from_torchvision` for a checkpoint.
        name: str. Name of the model.

    Returns:
        keras.Model: (N, H, W, C) to (N, h, w, 1024), or with `include_top` to logits (N, h - 6, w - 6,
        num_classes), float32: 1 x 1 for an image of 224 x 224. h is H / 32 for multiples of 32.

    Raises:
        ValueError: weights other than None; or an image of less than 15 pixels a side, 207 with
            `include_top`.

    Example:
        >>> googlenet(include_top=True).compute_output_shape((1, 224, 256, 3))
        (1, 1, 2, 1000)
    """
    refuse_weights(weights, "googlenet")
    images = images_input(input_shape, "torch")
    # From there on the last map has one unit, or one window of the classifier.
    x = at_least(images, 207 if include_top else 15, name)
    x = _conv_norm_relu(x, 64, 7, "conv1", strides=2)
    x = max_pool(x, 3, 2, "maxpool1", pad=ROUND_UP)
    x = _conv_norm_relu(x, 64, 1, "conv2")
    x = _conv_norm_relu(x, 192, 3, "conv3")
    x = max_pool(x, 3, 2, "maxpool2", pad=ROUND_UP)
    for module, channels in _MODULES.items():
        x = _inception(x, *channels, module)
        if module == "inception3b":
            x = max_pool(x, 3, 2, "maxpool3", pad=ROUND_UP)
        elif module == "inception4e":
            # "same" rounds up and pads at the end.
            x = layers.MaxPooling2D(2, padding="same", data_format="channels_last", name="maxpool4")(x)
    if include_top:
        x = averaged_scores(x, num_classes, pool_size=7, dropout=0.2)
    return keras.Model(images, x, name=name)


def preprocessing(channels, weights=None):
    """(matrix, offset) from pixels 0..255 to what torchvision's network wants: mean and deviation taken away.

    torchvision's own checkpoint was trained on x / 127.5 - 1. Its builder brings images that were normalized
    by mean and deviation back to that inside the network (`transform_input=True`), only for that checkpoint.
    """
    return mode_affine("torch", channels)


def classifier_features(x, padding="valid", dropout=0.5):
    """The map that the classifier makes scores of: the last one itself, whatever the padding and dropout."""
    return x


def _inception(x, wide, middle, large, pooled, name):
    """Four branches side by side (the paper's figure 2b)."""
    branch1 = _conv_norm_relu(x, wide, 1, f"{name}_branch1")
    branch2 = _conv_norm_relu(x, middle[0], 1, f"{name}_branch2_0")
    branch2 = _conv_norm_relu(branch2, middle[1], 3, f"{name}_branch2_1")
    branch3 = _conv_norm_relu(x, large[0], 1, f"{name}_branch3_0")
    branch3 = _conv_norm_relu(branch3, large[1], 3, f"{name}_branch3_1")
    branch4 = layers.MaxPooling2D(
        3, strides=1, padding="same", data_format="channels_last", name=f"{name}_branch4_0"
    )(x)
    branch4 = _conv_norm_relu(branch4, pooled, 1, f"{name}_branch4_1")
    return layers.Concatenate(name=name)([branch1, branch2, branch3, branch4])


def _conv_norm_relu(x, filters, kernel_size, name, strides=1):
    x = conv(x, filters, kernel_size, f"{name}_conv", strides=strides, pad=kernel_size // 2, use_bias=False)
    x = batch_norm(x, f"{name}_bn", 1e-3)
    return layers.ReLU(name=f"{name}_relu")(x)
