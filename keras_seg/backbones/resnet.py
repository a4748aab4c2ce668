"""ResNet 18, 34, 50 and 101, with the layer names of torchvision's checkpoints.

K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
https://arxiv.org/abs/1512.03385, table 1. A layer is named by its path in torchvision, with "_" for ".":
"layer1_0_downsample_0".

Difference from the paper, as in torchvision: where a bottleneck block halves the map, its 3x3 convolution has
the stride, not the first 1x1. keras.applications' ResNet50 has the paper's, so neither takes the other's
weights.
"""

import keras
from keras import layers

from keras_seg.backbones.explicit_padding import (
    at_least,
    averaged_scores,
    batch_norm,
    conv,
    max_pool,
    refuse_weights,
)
from keras_seg.backbones.preprocessing import features_input, images_input, mode_affine
from keras_seg.layers.conv_block import normalize
from keras_seg.layers.padded_relu import PaddedReLU
from keras_seg.utils.validation import check_choice

# Output stride to the dilation of layer1 to layer4 where the stride would have been.
_DILATIONS = {32: (1, 1, 1, 1), 16: (1, 1, 1, 2), 8: (1, 1, 2, 4)}


def resnet18(
    input_shape=(None, None, 3),
    *,
    include_top=False,
    num_classes=1000,
    weights=None,
    output_stride=32,
    normalization="batch",
    name="resnet18",
):
    """Build ResNet18, of basic blocks and 512 channels in `layer4`; arguments as in `resnet50`."""
    refuse_weights(weights, "resnet18")
    return _resnet(
        _SPECS["resnet18"], input_shape, include_top, num_classes, output_stride, normalization, name
    )


def resnet34(
    input_shape=(None, None, 3),
    *,
    include_top=False,
    num_classes=1000,
    weights=None,
    output_stride=32,
    normalization="batch",
    name="resnet34",
):
    """Build ResNet34, of basic blocks and 512 channels in `layer4`; arguments as in `resnet50`."""
    refuse_weights(weights, "resnet34")
    return _resnet(
        _SPECS["resnet34"], input_shape, include_top, num_classes, output_stride, normalization, name
    )


def resnet50(
    input_shape=(None, None, 3),
    *,
    include_top=False,
    num_classes=1000,
    weights=None,
    output_stride=32,
    normalization="batch",
    name="resnet50",
):
    """Build ResNet50: its trunk to `layer4`, or the dense classifier.

    Images are preprocessed already, see `preprocessing`.

    Args:
        input_shape: (height, width, channels), None for free sides.
        include_top: bool. True: the mean over a window of 7 x 7 and a 1x1 convolution, a score for every
            window of 224 x 224 pixels, with 32 pixels from window to window. Zeros stand around the image
            only: inside it, a window's score sees its surroundings where the classifier on a crop would see
            zeros.
        num_classes: int. Channels of the score map.
        weights: None. Use `keras_seg.weights.from_torchvision` for a checkpoint.
        output_stride: 32, 16 or 8. With 16, layer4 keeps the size and dilates its 3x3 convolutions by 2; with
            8, layer3 dilates by 2 and layer4 by 4. Every convolution sees the pixels that it saw in the
            strided network, so the weights stay the same (torchvision's replace_stride_with_dilation, which
            it has for bottleneck blocks only; its FCN and DeepLab take 8).
        normalization: "batch" or "group" (Wu and He 2018), for training from random weights in small batches.
        name: str. Name of the model.

    Returns:
        keras.Model: (N, H, W, C) to (N, ceil(H/32), ceil(W/32), 2048), or with `include_top` to logits
        (N, ceil(H/32) - 6, ceil(W/32) - 6, num_classes), float32: 1 x 1 for an image of 224 x 224.

    Raises:
        ValueError: weights other than None, or another output stride; or, with `include_top`, an image of
            less than 225 - `output_stride` pixels a side.

    Example:
        >>> resnet50(output_stride=8).compute_output_shape((1, 65, 96, 3))
        (1, 9, 12, 2048)
    """
    refuse_weights(weights, "resnet50", "ResNet50")
    return _resnet(
        _SPECS["resnet50"], input_shape, include_top, num_classes, output_stride, normalization, name
    )


def resnet101(
    input_shape=(None, None, 3),
    *,
    include_top=False,
    num_classes=1000,
    weights=None,
    output_stride=32,
    normalization="batch",
    name="resnet101",
):
    """Build ResNet101, of bottleneck blocks and 2048 channels in `layer4`; arguments as in `resnet50`."""
    refuse_weights(weights, "resnet101", "ResNet101")
    return _resnet(
        _SPECS["resnet101"], input_shape, include_top, num_classes, output_stride, normalization, name
    )


def preprocessing(channels, weights=None):
    """(matrix, offset) from pixels 0..255 to what torchvision's weights want."""
    return mode_affine("torch", channels)


def classifier_features(x, padding="valid", dropout=0.5):
    """The map that the classifier makes scores of: the last one itself, whatever the padding and dropout."""
    return x


def last_stage(name, input_shape, normalization="batch"):
    """The stage `layer4` as a network of its own, without its stride: the head of Mask R-CNN on C4.

    K. He et al., "Mask R-CNN", 2017, figure 4, left: it sees 7x7 features of boxes, so it needs no stride.

    Args:
        name: "resnet18", "resnet34", "resnet50" or "resnet101".
        input_shape: (h, w, C) of `layer3`'s features, pixels and channels.
        normalization: "batch" or "group".

    Returns:
        keras.Model: (B, h, w, C) to (B, h, w, 2048), 512 channels for ResNet18 and 34.
    """
    block, repeats = _SPECS[check_choice("name", name, tuple(_SPECS))]
    check_choice("normalization", normalization, ("batch", "group"))
    features = features_input(input_shape, "features")
    x = _stage(features, block, 4, repeats[3], 1, 1, 1, normalization)
    return keras.Model(features, x, name="layer4")


def _resnet(spec, input_shape, include_top, num_classes, output_stride, normalization, name):
    check_choice("output_stride", output_stride, tuple(_DILATIONS))
    check_choice("normalization", normalization, ("batch", "group"))
    block, repeats = spec
    images = images_input(input_shape, "torch")
    # From there on the last map, whose side is rounded up, has a window of the classifier.
    x = at_least(images, 225 - output_stride, name) if include_top else images
    x = conv(x, 64, 7, "conv1", strides=2, pad=3, use_bias=False)
    x = _normalize(x, "bn1", normalization)
    levels = {"P1": layers.ReLU(name="relu")(x)}
    x = PaddedReLU(1, name="maxpool_pad")(x)
    x = max_pool(x, 3, 2, "maxpool")
    level, before = 2, 1
    for stage, (count, dilation) in enumerate(zip(repeats, _DILATIONS[output_stride], strict=True), start=1):
        # Where a stage halves the map, or would have: its first convolution still sees the finer map.
        halves = stage > 1 and dilation == before
        x = _stage(x, block, stage, count, 2 if halves else 1, before, dilation, normalization)
        # The paper's C2 to C5. The graph alone would give the last map of a size, which is within the block
        # that halves it: its first 1x1 convolution.
        level += halves
        levels[f"P{level}"] = x
        before = dilation
    if include_top:
        x = averaged_scores(x, num_classes, pool_size=224 // output_stride)
    model = keras.Model(images, x, name=name)
    model.pyramid_outputs = levels
    return model


def _stage(x, block, stage, count, strides, first_dilation, dilation, normalization):
    """The blocks of one stage; its stride, and the dilation before it, are its first block's."""
    for index in range(count):
        x = block(
            x,
            64 * 2 ** (stage - 1),
            f"layer{stage}_{index}",
            strides=strides if index == 0 else 1,
            first_dilation=first_dilation if index == 0 else dilation,
            dilation=dilation,
            normalization=normalization,
        )
    return x


def _basic(x, filters, name, strides, first_dilation, dilation, normalization):
    """Two 3x3 convolutions around a shortcut (the paper's figure 5, left)."""
    shortcut = _shortcut(x, filters, name, strides, normalization)
    x = _conv_norm(x, filters, 3, name, 1, normalization, strides, first_dilation)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _conv_norm(x, filters, 3, name, 2, normalization, dilation=dilation)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu2")(x)


def _bottleneck(x, filters, name, strides, first_dilation, dilation, normalization):
    """1x1, 3x3 and 1x1 convolution to four times the channels (figure 5, right)."""
    shortcut = _shortcut(x, 4 * filters, name, strides, normalization)
    x = _conv_norm(x, filters, 1, name, 1, normalization)
    relu = PaddedReLU(1, name=f"{name}_relu1") if strides > 1 else layers.ReLU(name=f"{name}_relu1")
    x = relu(x)
    x = _conv_norm(x, filters, 3, name, 2, normalization, strides, first_dilation, padded=strides > 1)
    x = layers.ReLU(name=f"{name}_relu2")(x)
    x = _conv_norm(x, 4 * filters, 1, name, 3, normalization)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu3")(x)


def _shortcut(x, filters, name, strides, normalization):
    """The block's input, projected where its shape changes (the paper's option B)."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    x = conv(x, filters, 1, f"{name}_downsample_0", strides=strides, use_bias=False)
    return _normalize(x, f"{name}_downsample_1", normalization)


def _conv_norm(x, filters, kernel_size, name, index, normalization, strides=1, dilation=1, padded=False):
    pad = 0 if padded else dilation * (kernel_size // 2)
    options = {"strides": strides, "pad": pad, "dilation": dilation, "use_bias": False}
    x = conv(x, filters, kernel_size, f"{name}_conv{index}", **options)
    return _normalize(x, f"{name}_bn{index}", normalization)


def _normalize(x, name, normalization):
    return batch_norm(x, name, 1e-5) if normalization == "batch" else normalize(x, normalization, name)


# Block and number of blocks in layer1 to layer4 (the paper's table 1).
_SPECS = {
    "resnet18": (_basic, (2, 2, 2, 2)),
    "resnet34": (_basic, (3, 4, 6, 3)),
    "resnet50": (_bottleneck, (3, 4, 6, 3)),
    "resnet101": (_bottleneck, (3, 4, 23, 3)),
}
