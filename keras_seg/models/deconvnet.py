"""DeconvNet: VGG16, its mirror image with unpooling, and between them one vector for the whole crop.

H. Noh, S. Hong and B. Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015,
https://arxiv.org/abs/1505.04366; the layer table is that of the released stage_2_train.prototxt.
"""

import keras
from keras import initializers, layers

from keras_seg.backbones import vgg
from keras_seg.backbones.explicit_padding import batch_norm, conv
from keras_seg.backbones.preprocessing import check_input_shape, images_input, mode_affine, mode_of
from keras_seg.layers.color_affine import ColorAffine
from keras_seg.layers.fully_connected import FullyConnectedConv2D, FullyConnectedConv2DTranspose
from keras_seg.layers.max_pooling_with_argmax import MaxPoolingWithArgmax2D
from keras_seg.layers.max_unpooling import MaxUnpooling2D
from keras_seg.layers.size_check import SizeCheck
from keras_seg.layers.winograd_conv2d import WinogradConv2D
from keras_seg.models.weights import load_model_weights
from keras_seg.utils.validation import bad_argument, check_integer, check_number

# Channels of the decoder's convolutions after each unpooling, coarsest first.
_DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64))
_FC_CHANNELS = 4096
# fc6's window on pool5: an image of 224 pixels has one.
_FC_WINDOW = 7
# Where the shifts of all batch normalizations start in the released network.
_SHIFT = 0.001
_EPSILON = 1e-5


def deconvnet(
    num_classes,
    input_shape=(224, 224, 3),
    *,
    width=1.0,
    weights=None,
    include_rescaling=True,
    name="deconvnet",
):
    """Build DeconvNet: images 0..255 in, float32 logits out, one vector of `num_classes` per pixel.

    VGG16's trunk, with batch normalization, pools so that each maximum's place is kept; fc6 and fc7 as
    convolutions; and a mirrored decoder that puts values back to those places and fills in around them. 29
    batch normalizations, no dropout. With 21 classes there are 251,805,653 trainable parameters.

    It was made for crops around objects, see `keras_seg.inference.predict_proposals`; larger images give fc6
    more than one window.

    Differences from the released network: its decoder's transposed convolutions have stride 1, where they are
    ordinary ones with mirrored kernels, so ordinary ones stand here; the epsilon is torchvision's 1e-5.

    Args:
        num_classes: int. Channels of the output; background counts.
        input_shape: (height, width, channels) in pixels; None for a free height or width.
        width: float, above 0 and at most 1. Channels of all layers as a multiple of the published ones,
            rounded up to multiples of 8: 0.25 has 16 million parameters, for small memory and small data.
        weights: None; "imagenet" for keras.applications' VGG16 with its fc6 and fc7 in the encoder; or the
            path of a `.keras` or `.weights.h5` file of the whole model. torchvision's `vgg16_bn` comes by
            `keras_seg.weights.load_encoder(model, "vgg16_bn", checkpoint)`.
        include_rescaling: bool. True: the model takes pixels 0..255 and its first layer scales them as the
            encoder's weights want. False: the caller has scaled them.
        name: str. Name of the model.

    Returns:
        keras.Model: (N, H, W, C), uint8 or float, to float32 logits (N, H, W, num_classes); H and W multiples
        of 32, at least 224.

    Raises:
        ValueError: an argument is out of range; or an image's size, with the nearest that fit.

    Example:
        >>> deconvnet(21, width=0.25).compute_output_shape((1, 224, 224, 3))
        (1, 224, 224, 21)
    """
    check_integer("num_classes", num_classes)
    if check_number("width", width) <= 0 or width > 1:
        raise bad_argument("width", "a number above 0 and at most 1", width)
    if weights == "imagenet" and width != 1:
        raise bad_argument("weights", "None or a path with a width below 1", weights)
    images = keras.Input(check_input_shape(input_shape), name="images")
    # Before the encoder, whose fc6 would refuse a small size without naming one that fits.
    x = SizeCheck(
        2 ** len(_DECODER),
        minimum=_FC_WINDOW * 2 ** len(_DECODER),
        advice="Resize to one of these, or use `keras_seg.inference.predict_proposals` or `predict_tiled`.",
        name="size_check",
    )(images)
    encoder = _encoder(input_shape, width, "imagenet" if weights == "imagenet" else None)
    if include_rescaling:
        matrix, offset = mode_affine(mode_of(encoder), input_shape[2])
        x = ColorAffine(matrix.tolist(), offset.tolist(), name="rescaling")(x)
    maps = encoder(x)
    logits = _decode(maps, num_classes, width)
    model = keras.Model(images, logits, name=name)
    if weights not in (None, "imagenet"):
        load_model_weights(model, weights)
    return model


def _encoder(input_shape, width, weights):
    """VGG16 to fc7: a model to {"features": fc7, "indices1": places of pool1's maxima, ...}."""
    indices = {}

    def pool(x, block):
        x, indices[f"indices{block}"] = MaxPoolingWithArgmax2D(2, name=f"pool{block}")(x)
        return x

    images = images_input(input_shape, "torch" if weights is None else "caffe")
    x = vgg.features(images, normalize=True, width=width, shift=_SHIFT, pool=pool)
    channels = vgg.scaled(_FC_CHANNELS, width)
    for layer, kernel_size in (("fc6", _FC_WINDOW), ("fc7", 1)):
        x = conv(x, channels, kernel_size, layer, kind=FullyConnectedConv2D)
        x = _normalized(x, layer)
    model = keras.Model(images, {"features": x, **indices}, name="encoder")
    if weights == "imagenet":
        vgg.from_keras_vgg16(model, keras.applications.VGG16(weights="imagenet"))
    return model


def _decode(maps, num_classes, width):
    """The mirrored half: the vector back to a map, then unpooling and convolutions, five times."""
    x = FullyConnectedConv2DTranspose(
        vgg.scaled(_DECODER[0][0], width),
        _FC_WINDOW,
        kernel_initializer=_gaussian(),
        data_format="channels_last",
        name="fc6_deconv",
    )(maps["features"])
    x = _normalized(x, "fc6_deconv")
    for block, channels in zip(range(len(_DECODER), 0, -1), _DECODER, strict=True):
        x = MaxUnpooling2D(2, name=f"unpool{block}")([x, maps[f"indices{block}"]])
        for i, filters in enumerate(channels, start=1):
            layer = f"deconv{block}_{i}"
            x = WinogradConv2D(
                vgg.scaled(filters, width),
                3,
                padding="same",
                kernel_initializer=_gaussian(),
                data_format="channels_last",
                name=layer,
            )(x)
            x = _normalized(x, layer)
    return layers.Conv2D(
        num_classes,
        1,
        kernel_initializer=_gaussian(),
        data_format="channels_last",
        # Under every policy: bfloat16 logits have 8 bits, too few for the loss's differences.
        dtype="float32",
        name="seg_score",
    )(x)


def _normalized(x, name):
    x = batch_norm(x, f"{name}_bn", _EPSILON, _SHIFT)
    return layers.ReLU(name=f"{name}_relu")(x)


def _gaussian():
    return initializers.RandomNormal(stddev=0.01)
