"""FCN: a classifier made fully convolutional, with skips from finer maps, on any backbone.

J. Long, E. Shelhamer and T. Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
https://arxiv.org/abs/1411.4038; padding, crops and the scales of the at-once form from the released networks.
"""

import keras
from keras import layers

from keras_seg.layers.bilinear_upsampling import BilinearUpsampling2D
from keras_seg.layers.crop_to_match import CropToMatch
from keras_seg.layers.pad_to_multiple import PadToMultiple
from keras_seg.layers.resize_to_match import ResizeToMatch
from keras_seg.models.fcn_dilated import dilated_scores
from keras_seg.models.fcn_encoders import PAPER_CROPS, STRIDE, dilated_encoder, fcn_encoder
from keras_seg.models.weights import load_model_weights
from keras_seg.utils.validation import bad_argument, check_choice, check_integer

# The levels whose scores are summed, coarsest first; the last one's stride names the variant.
SKIPS = {"32s": ("P5",), "16s": ("P5", "P4"), "8s": ("P5", "P4", "P3")}
# Fixed factors on the skips of the at-once form, before their scores (released voc-fcn8s-atonce).
_AT_ONCE_SCALES = {"P4": 1e-2, "P3": 1e-4}
_SCORE_NAMES = {"P5": "score_fr", "P4": "score_pool4", "P3": "score_pool3"}


def fcn(
    num_classes,
    input_shape=(None, None, 3),
    *,
    variant="8s",
    backbone="vgg16",
    padding="same",
    at_once=False,
    learn_upsampling=False,
    weights=None,
    include_rescaling=True,
    name=None,
):
    """Build an FCN: images 0..255 in, float32 logits out, one vector of `num_classes` per pixel.

    Scores of the coarsest map (stride 32) are doubled and added to the scores of the finer ones: none for
    "32s", stride 16 for "16s", strides 16 and 8 for "8s". All score layers start at zero, so an FCN-16s that
    takes the weights of an FCN-32s answers as that one does, up to the interpolation (see
    `keras_seg.training.train_staged_fcn`).

    With `backbone="vgg16"`, 21 classes and fixed upsampling the trainable parameters are the paper's
    networks': 134,346,581 (32s), 134,357,354 (16s) and 134,362,751 (8s).

    Differences from the paper: by default convolutions are padded as usual and skips are aligned by their
    half-pixel centres. Images are mirrored at their ends until 32 divides their sides (see
    `keras_seg.layers.PadToMultiple`) where every map has half the last one's sides, rounded up. Where not, as
    in AlexNet and GoogLeNet, maps are resized to one another's size and to the image's; "dilated" resizes its
    one map likewise. `padding="paper"` builds the released form. AlexNet and GoogLeNet are torchvision's
    networks, whose weights can be had, not Caffe's (see `keras_seg.backbones`).

    Args:
        num_classes: int. Channels of the output; background counts where it is a class.
        input_shape: (height, width, channels) in pixels; None for a free height or width.
        variant: "32s", "16s" or "8s"; or "dilated", torchvision's FCN: a ResNet whose last two stages keep
            stride 8, and a head of one 3x3 and one 1x1 convolution (`fcn_resnet50`, `fcn_resnet101`).
        backbone: a name (see `keras_seg.backbones.names()`) or a keras.Model with a pyramid. VGG16 and
            AlexNet bring their fully connected layers as convolutions, fc6 and fc7.
        padding: "same", or "paper": 100 pixels around the image, unpadded fc6 and the published crops; for
            `backbone="vgg16"`, and `backbone="alexnet"` with `variant="32s"`.
        at_once: bool. Scale the skips by 0.01 and 0.0001, so that all three streams can be trained together
            from the start (FCN-8s at-once).
        learn_upsampling: False for fixed bilinear upsampling (the released networks); True for kernels that
            are learned, starting as bilinear; "intermediate" for all but the last one (the CVPR paper).
        weights: None; "imagenet" for the backbone's published weights, fc6 and fc7 of VGG16 included; or the
            path of a `.keras` or `.weights.h5` file of the whole model.
        include_rescaling: bool. True: the model takes pixels 0..255 and its first layer scales them as the
            backbone wants. False: the caller has scaled them.
        name: str or None for "fcn_" and the variant.

    Returns:
        keras.Model: (N, H, W, C), uint8 or float, to float32 logits (N, H, W, num_classes), any H and W.

    Raises:
        ValueError: an argument is out of range, or the options do not go together.

    Example:
        >>> fcn(21, backbone="resnet18").compute_output_shape((1, 123, 77, 3))
        (1, 123, 77, 21)
    """
    _check_arguments(num_classes, input_shape, variant, backbone, padding, at_once, learn_upsampling)
    x = images = keras.Input(input_shape, name="images")
    initial = "imagenet" if weights == "imagenet" else None
    if variant == "dilated":
        encoder = dilated_encoder(backbone, input_shape, initial)
    else:
        encoder = fcn_encoder(backbone, input_shape, initial, padding, SKIPS[variant])
        if padding == "same" and encoder.halves:
            x = PadToMultiple(STRIDE, dtype="float32", name="padded_images")(images)
    maps = encoder.model(encoder.preprocess(x) if include_rescaling else x)
    if variant == "dilated":
        scores = dilated_scores(maps["P3"], num_classes)
        logits = ResizeToMatch(dtype="float32", name="upscore")([scores, images])
    elif padding == "paper":
        logits = _decode_as_released(maps, images, num_classes, variant, backbone, at_once, learn_upsampling)
    else:
        logits = _decode(maps, images, num_classes, variant, encoder.halves, at_once, learn_upsampling)
    model = keras.Model(images, logits, name=name or f"fcn_{variant}")
    if weights not in (None, "imagenet"):
        load_model_weights(model, weights)
    return model


def _decode(maps, images, num_classes, variant, halves, at_once, learn_upsampling):
    """Sum the scores from coarse to fine; maps that are not exact halves are resized to their skip.

    The last upsampling has its factor in its name: in staged training no stage has the kernel of another.
    """
    scores = None
    for level in SKIPS[variant]:
        skip = _score(_scaled(maps, level, at_once), num_classes, level)
        if scores is None:
            scores = skip
            continue
        name = f"upscore_{level.lower()}"
        # Without a learned kernel a resize to the skip's size does it all.
        if halves or learn_upsampling:
            scores = BilinearUpsampling2D(2, learned=bool(learn_upsampling), name=name)(scores)
        if not halves:
            scores = ResizeToMatch(dtype="float32", name=f"{name}_match")([scores, skip])
        scores = layers.Add(dtype="float32", name=f"fuse_{level.lower()}")([scores, skip])
    if halves or learn_upsampling is True:
        factor = 2 ** int(SKIPS[variant][-1][1:])
        name = f"upscore{factor}"
        scores = BilinearUpsampling2D(factor, learned=learn_upsampling is True, name=name)(scores)
    match = CropToMatch if halves else ResizeToMatch
    return match(dtype="float32", name="upscore_match")([scores, images])


def _decode_as_released(maps, images, num_classes, variant, backbone, at_once, learn_upsampling):
    """The same with unpadded upsampling and the released crop offsets."""
    crops = PAPER_CROPS[backbone]
    scores = _score(maps["P5"], num_classes, "P5")
    for level in SKIPS[variant][1:]:
        skip = _score(_scaled(maps, level, at_once), num_classes, level)
        name = f"upscore_{level.lower()}"
        scores = BilinearUpsampling2D(2, "valid", learned=bool(learn_upsampling), name=name)(scores)
        skip = CropToMatch(offset=crops[level], dtype="float32", name=f"{_SCORE_NAMES[level]}_crop")(
            [skip, scores]
        )
        scores = layers.Add(dtype="float32", name=f"fuse_{level.lower()}")([scores, skip])
    factor = 2 ** int(SKIPS[variant][-1][1:])
    # The released AlexNet's kernel is one pixel smaller than twice its factor.
    kernel_size = 2 * factor - (backbone == "alexnet")
    scores = BilinearUpsampling2D(
        factor, "valid", learned=learn_upsampling is True, kernel_size=kernel_size, name=f"upscore{factor}"
    )(scores)
    return CropToMatch(offset=crops[variant], dtype="float32", name="upscore_crop")([scores, images])


def _scaled(maps, level, at_once):
    if at_once and level in _AT_ONCE_SCALES:
        return layers.Rescaling(_AT_ONCE_SCALES[level], name=f"scale_{level.lower()}")(maps[level])
    return maps[level]


def _score(x, num_classes, level):
    """A 1x1 convolution to class scores; float32 under every policy, as the sums of its output are."""
    return layers.Conv2D(
        num_classes,
        1,
        kernel_initializer="zeros",
        data_format="channels_last",
        dtype="float32",
        name=_SCORE_NAMES[level],
    )(x)


def _check_arguments(num_classes, input_shape, variant, backbone, padding, at_once, learn_upsampling):
    check_integer("num_classes", num_classes)
    check_choice("variant", variant, (*SKIPS, "dilated"))
    check_choice("padding", padding, ("same", "paper"))
    check_choice("learn_upsampling", learn_upsampling, (False, True, "intermediate"))
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3 or input_shape[2] is None:
        raise bad_argument(
            "input_shape", "(height, width, channels), with None for a free height or width", input_shape
        )
    if padding == "paper" and variant not in PAPER_CROPS.get(
        backbone if isinstance(backbone, str) else "", ()
    ):
        raise bad_argument(
            "padding",
            f'"same" with backbone={backbone!r} and variant={variant!r}',
            padding,
            'The paper\'s padding is published for "vgg16", and for "alexnet" with variant="32s".',
        )
    if at_once and len(SKIPS.get(variant, ())) < 2:
        raise bad_argument("at_once", f"False with variant={variant!r}, which has no skips to scale", at_once)
    if learn_upsampling and variant == "dilated":
        raise bad_argument("learn_upsampling", 'False with variant="dilated"', learn_upsampling)
