"""U-Net: the paper's network, today's padded form of it, and its decoder on any backbone.

O. Ronneberger, P. Fischer and T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, https://arxiv.org/abs/1505.04597, figure 1.
"""

import math

import keras
from keras import layers

from keras_seg.backbones.select import select_backbone
from keras_seg.layers.conv_block import NORMALIZATIONS, conv_block, he_normal
from keras_seg.layers.crop_to_match import CropToMatch
from keras_seg.layers.pad_to_multiple import PadToMultiple
from keras_seg.layers.resize_to_match import ResizeToMatch
from keras_seg.layers.size_check import SizeCheck
from keras_seg.models.weights import load_model_weights
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_number


def unet(
    num_classes,
    input_shape=(None, None, 3),
    *,
    filters=64,
    depth=4,
    padding="same",
    up="transpose",
    normalization=None,
    dropout=0.5,
    backbone=None,
    weights=None,
    include_rescaling=True,
    name="unet",
):
    """Build a U-Net: images 0..255 in, float32 logits out, one vector of `num_classes` per pixel.

    The paper's network is `unet(2, (572, 572, 1), padding="valid")`: 31,030,658 parameters and an output of
    388 x 388. The default pads its convolutions, so that the output has the input's size, for any height and
    width, odd ones too: maps are halved with rounding up, and doubled maps are cropped to their skip.

    On a backbone images are mirrored at their ends until 2^depth divides their sides (see
    `keras_seg.layers.PadToMultiple`), and the logits cropped.

    Differences from the paper: the dropout rate is not printed there; 0.5, on the last two blocks of the
    contracting path, is that of the authors' released network. The up-convolutions have no activation, as
    none is named. Pixels are scaled to [-1, 1] first.

    Args:
        num_classes: int. Channels of the output; background counts where it is a class.
        input_shape: (height, width, channels) in pixels; None for a free height or width.
        filters: int. Channels at full resolution; each halving of the size doubles them.
        depth: int. How many times the size is halved.
        padding: "same", or "valid" for the paper's unpadded convolutions: the output is then smaller, by 184
            pixels at depth 4, and only sizes 2^depth * m + 2^(depth + 3) - 4 fit: 16m + 124 at depth 4.
        up: "transpose" (2x2 transposed convolution of stride 2, the paper's) or "bilinear" (1x1 convolution,
            then bilinear doubling: fewer parameters and no checkerboard).
        normalization: None, "batch", "group", "instance" or "layer", after every 3x3 convolution.
        dropout: float, 0 to 1. Rate at the end of the contracting path.
        backbone: None for the paper's contracting path, or the encoder to use in its place: a name (see
            `keras_seg.backbones.names()`) or a keras.Model with a pyramid. The decoder has
            `filters * 2^n` channels where the size was halved n times; `depth` is the number of halvings
            that are used.
        weights: None; "imagenet" for the backbone's published weights; or the path of a `.keras` or
            `.weights.h5` file of the whole model.
        include_rescaling: bool. True: the model takes pixels 0..255 and its first layer scales them as the
            backbone wants. False: the caller has scaled them.
        name: str. Name of the model.

    Returns:
        keras.Model: (N, H, W, C), uint8 or float, to float32 logits (N, H, W, num_classes).

    Raises:
        ValueError: an argument is out of range, or a size does not fit `padding="valid"`; the message names
            the nearest sizes that do.

    Example:
        >>> unet(21, filters=16).compute_output_shape((1, 123, 77, 3))
        (1, 123, 77, 21)
    """
    _check_arguments(num_classes, input_shape, filters, depth, padding, up, normalization, backbone, weights)
    dropout = check_number("dropout", dropout, 0, 1)
    frame = images = keras.Input(input_shape, name="images")
    block = {"padding": padding, "normalization": normalization}

    if backbone is None:
        x = SizeCheck(**valid_sizes(depth), name="size_check")(images) if padding == "valid" else images
        if include_rescaling:
            x = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="rescaling")(x)
        x, skips = _contract(x, filters, depth, dropout, block)
        match = CropToMatch
    else:
        initial = "imagenet" if weights == "imagenet" else None
        encoder = select_backbone(backbone, input_shape, initial, multiple=2**depth)
        if encoder.halves:
            frame = PadToMultiple(2**depth, dtype="float32", name="padded_images")(images)
        x, skips = _encode(encoder, encoder.preprocess(frame) if include_rescaling else frame, depth, dropout)
        match = None if encoder.halves else ResizeToMatch

    for level in reversed(range(depth)):
        block_name = f"decoder_block{level + 1}"
        x = _double(x, filters * 2**level, up, block_name)
        skip = skips.get(level)
        x = _join(x, skip, images, padding, match, block_name)
        x = conv_block(x, filters * 2**level, block_name, **block)

    # float32 under every policy: bfloat16 logits have 8 bits, too few for the loss's differences.
    logits = layers.Conv2D(
        num_classes,
        1,
        kernel_initializer=he_normal(),
        data_format="channels_last",
        dtype="float32",
        name="head",
    )(x)
    if frame is not images:
        logits = CropToMatch(dtype="float32", name="logits")([logits, images])
    model = keras.Model(images, logits, name=name)
    if weights not in (None, "imagenet"):
        load_model_weights(model, weights)
    return model


def valid_sizes(depth):
    """The input sizes of an unpadded U-Net, as arguments of `SizeCheck`.

    From a bottom map of m pixels, each level up doubles the size and its two convolutions take 4 pixels, each
    level down likewise: input 2^d * m + 2^(d + 3) - 4, output 2^d * m - 2^(d + 2) + 4. At depth 4, 16m + 124
    and 16m - 60. The smallest m with an output is 4.
    """
    multiple = 2**depth
    remainder = 8 * multiple - 4
    return {
        "multiple": multiple,
        "remainder": remainder,
        "minimum": 4 * multiple + remainder,
        "advice": "Crop or mirror-pad to one of these, use `keras_seg.inference.predict_tiled`, or build "
        'with padding="same".',
    }


def _contract(x, filters, depth, dropout, block):
    """The paper's contracting path: the bottom map, and the skips by how often their size was halved."""
    skips = {}
    for level in range(depth + 1):
        x = conv_block(x, filters * 2**level, f"encoder_block{level + 1}", **block)
        if dropout and level >= depth - 1:
            x = layers.Dropout(dropout, name=f"encoder_block{level + 1}_dropout")(x)
        if level < depth:
            skips[level] = x
            # "same" rounds odd sizes up; on the even sizes of an unpadded network it changes nothing.
            x = layers.MaxPooling2D(
                2, padding="same", data_format="channels_last", name=f"encoder_block{level + 1}_pool"
            )(x)
    return x, skips


def _encode(encoder, x, depth, dropout):
    """A backbone as contracting path: the map that was halved `depth` times, and the finer ones as skips."""
    features = encoder.model(x)
    if f"P{depth}" not in features:
        raise bad_argument(
            "depth", f"a level of the backbone's pyramid, {', '.join(sorted(features))}", depth
        )
    x = features[f"P{depth}"]
    if dropout:
        x = layers.Dropout(dropout, name="encoder_dropout")(x)
    skips = {level: features[f"P{level}"] for level in range(1, depth) if f"P{level}" in features}
    return x, skips


def _double(x, filters, up, name):
    """Twice the height and width, `filters` channels."""
    if up == "transpose":
        return layers.Conv2DTranspose(
            filters,
            2,
            strides=2,
            # Kernels do not overlap, so one output pixel sees x.shape[-1] inputs: the N of sqrt(2 / N).
            kernel_initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2 / x.shape[-1])),
            data_format="channels_last",
            name=f"{name}_up",
        )(x)
    # The 1x1 convolution commutes with the interpolation and costs a quarter before it.
    x = layers.Conv2D(
        filters, 1, kernel_initializer=he_normal(), data_format="channels_last", name=f"{name}_reduce"
    )(x)
    return layers.UpSampling2D(2, interpolation="bilinear", data_format="channels_last", name=f"{name}_up")(x)


def _join(x, skip, images, padding, match, name):
    """Bring the doubled map and its skip to one size, where they differ, and concatenate them."""
    if padding == "valid":
        skip = CropToMatch("center", name=f"{name}_crop")([skip, x])
    elif match is not None:
        # Full resolution of a backbone: no skip there, but the image itself says how large to be.
        reference = images if skip is None and name == "decoder_block1" else skip
        x = x if reference is None else match(name=f"{name}_match")([x, reference])
    if skip is None:
        return x
    return layers.Concatenate(name=f"{name}_concat")([skip, x])


def _check_arguments(num_classes, input_shape, filters, depth, padding, up, normalization, backbone, weights):
    check_integer("num_classes", num_classes)
    check_integer("filters", filters)
    check_integer("depth", depth)
    check_choice("padding", padding, ("same", "valid"))
    check_choice("up", up, ("transpose", "bilinear"))
    check_choice("normalization", normalization, NORMALIZATIONS)
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3 or input_shape[2] is None:
        raise bad_argument(
            "input_shape", "(height, width, channels), with None for a free height or width", input_shape
        )
    if backbone is not None and padding == "valid":
        raise bad_argument("padding", '"same" with a backbone', padding, "Backbones pad their convolutions.")
    if backbone is None and weights == "imagenet":
        raise bad_argument(
            "weights",
            "None or a file's path without a backbone",
            weights,
            'The paper\'s contracting path has no ImageNet weights: name a backbone, as backbone="ResNet50".',
        )
