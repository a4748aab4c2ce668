"""Mask R-CNN: a pyramid or one map, region proposals, and heads for class, box and mask.

K. He, G. Gkioxari, P. Dollár and R. Girshick, "Mask R-CNN", ICCV 2017, https://arxiv.org/abs/1703.06870.
"""

import dataclasses
import inspect
import re

from keras_seg.models.detector import MaskRCNN
from keras_seg.models.detector_settings import DetectorSettings
from keras_seg.models.mask_rcnn_parts import (
    BOX_SIZE,
    MASK_SIZE,
    averaged_trunk,
    box_head,
    convolutional_trunk,
    fully_connected_trunk,
    mask_head,
    proposal_head,
    pyramid_features,
    shared_stage,
    single_features,
)
from keras_seg.models.weights import load_model_weights
from keras_seg.utils.validation import bad_argument, check_choice, check_integer

_C4 = re.compile(r"(resnet\d+)_c4")
# What Detectron takes on one map: more anchors before suppression, which a pyramid takes of each level; and
# fewer proposals in the losses.
_C4_SETTINGS = {"pre_nms": (12000, 6000), "roi_samples": 64}


def mask_rcnn(
    num_classes,
    input_shape=(512, 512, 3),
    *,
    backbone="resnet50_fpn",
    weights=None,
    include_rescaling=True,
    normalization="batch",
    neck_normalization=None,
    head_normalization=None,
    box_convolutions=False,
    rpn_convolutions=1,
    pyramid_filters=256,
    head_units=1024,
    mask_filters=256,
    name="mask_rcnn",
    **settings,
):
    """Build a Mask R-CNN: images 0..255 in, boxes, labels, scores and masks of objects out.

    `model.fit(dataset)` trains it with its own five losses, which the log names: `dataset` yields (images,
    {"boxes": (N, G, 4), "labels": (N, G), "masks": (N, G, h, w)}) and, if there are crowd regions, "crowd"
    (N, G). Boxes are xyxy in pixels of the input; labels count objects only, 0..num_classes-1, with -1 for
    padding rows; masks span the image where they have its size, and otherwise each its own box, which keeps
    their cost independent of the image's: `keras_seg.data.load_instances` gives 56 x 56.

    With `backbone="resnet50_fpn"`, `normalization="frozen_batch"` and 90 classes it has torchvision's
    44,401,393 trainable parameters, and with `neck_normalization="batch", head_normalization="batch",
    box_convolutions=True, rpn_convolutions=2` and trained normalization the 46,359,409 of its second version.

    Differences from the paper: no layer of its own is trained apart from the rest; anchors, the smooth L1
    loss's beta of 1/9 and one slot for background in boxes and masks, which no loss sees, are torchvision's,
    so that its weights fit; ResNets halve in their 3x3 convolutions. On C4, the box and mask heads share the
    last stage at 7 x 7, as the paper's figure 4 has it.

    Args:
        num_classes: int, K. Kinds of objects; background does not count.
        input_shape: (height, width, channels) in pixels; multiples of 32. Images of other sizes are brought
            to it by `keras_seg.data.Letterbox`, as the pipelines and `predict_instances` do.
        backbone: "resnet18_fpn", "resnet34_fpn", "resnet50_fpn", "resnet101_fpn"; the same with "_c4"; any
            other name of `keras_seg.backbones.names()`, with or without "_fpn"; or a keras.Model with a
            pyramid.
        weights: None; "imagenet" for a keras.applications backbone's; or the path of a `.keras` or
            `.weights.h5` file of the whole model. For a ResNet see `keras_seg.weights.load_encoder`, and
            for whole detectors `keras_seg.weights.from_torchvision`.
        include_rescaling: bool. True: the model takes pixels 0..255 and scales them as the backbone wants.
        normalization: "batch", trained; "frozen_batch", a fixed scale and shift, for pretrained backbones and
            small batches; or "group" (ResNets), for small batches from random weights.
        neck_normalization, head_normalization: None, "batch" or "group", of the pyramid, and of the
            convolutions in the heads.
        box_convolutions: bool. True: four convolutions before one fully connected layer in the box head
            (Wu and He 2018) in place of two fully connected ones.
        rpn_convolutions: int. 3x3 convolutions of the region proposal network.
        pyramid_filters: int. Channels of the pyramid's maps.
        head_units: int. Units of the box head's fully connected layers.
        mask_filters: int. Channels in the mask head.
        name: str.
        **settings: the method's numbers, see `keras_seg.models.detector_settings.DetectorSettings`:
            `anchor_sizes`, `anchor_ratios`, `rpn_thresholds`, `rpn_samples`, `rpn_positive_fraction`,
            `pre_nms`, `max_proposals`, `rpn_nms_threshold`, `roi_threshold`, `roi_samples`,
            `roi_positive_fraction`, `crowd_threshold`, `box_weights`, `smooth_l1_beta`, `roi_layer`,
            `sampling_ratio`, `aligned`, `canonical_size`, `score_threshold`, `nms_threshold`,
            `max_detections`, `seed`. On C4 the defaults of `pre_nms` and `roi_samples` are (12000, 6000)
            and 64.

    Returns:
        keras_seg.models.detector.MaskRCNN.

    Raises:
        ValueError, TypeError: an argument is out of range, or the options do not go together.

    Example:
        >>> model = mask_rcnn(1, (256, 256, 3), backbone="resnet18_fpn")
        >>> model.compile("adamw")
        >>> model.predict(np.zeros((1, 256, 256, 3)))["masks"].shape
        (1, 100, 28, 28)
    """
    _check_arguments(num_classes, input_shape, normalization, neck_normalization, head_normalization)
    check_integer("rpn_convolutions", rpn_convolutions, 0)
    check_integer("pyramid_filters", pyramid_filters)
    check_integer("head_units", head_units)
    check_integer("mask_filters", mask_filters)
    imagenet = "imagenet" if weights == "imagenet" else None
    c4 = _C4.fullmatch(backbone) if isinstance(backbone, str) else None
    if c4:
        settings = {**_C4_SETTINGS, **settings}
    settings = _settings(settings)
    if c4:
        features = single_features(c4[1], tuple(input_shape), imagenet, normalization, include_rescaling)
        channels = features.output["P4"].shape[-1]
        stage = shared_stage(c4[1], channels, normalization)
        head_channels = stage.output_shape[-1]
        trunk = averaged_trunk(head_channels)
        masks = mask_head(head_channels, num_classes, BOX_SIZE, 0, mask_filters, head_normalization)
    else:
        backbone = backbone.removesuffix("_fpn") if isinstance(backbone, str) else backbone
        features = pyramid_features(
            backbone,
            tuple(input_shape),
            imagenet,
            normalization,
            pyramid_filters,
            neck_normalization,
            include_rescaling,
        )
        channels, stage = pyramid_filters, None
        if box_convolutions:
            trunk = convolutional_trunk(channels, head_units, head_normalization)
        else:
            trunk = fully_connected_trunk(channels, head_units)
        masks = mask_head(channels, num_classes, MASK_SIZE, 4, mask_filters, head_normalization)
    anchors_per_pixel = settings.anchors_per_pixel(len(features.output))
    model = MaskRCNN(
        features,
        proposal_head(channels, anchors_per_pixel, rpn_convolutions),
        box_head(trunk, num_classes),
        masks,
        stage,
        settings,
        name=name,
    )
    if weights not in (None, "imagenet"):
        load_model_weights(model, weights)
    return model


def _signature_with_settings(builder):
    """Every setting with its default in place of `**settings`: what `help` and completion show."""
    signature = inspect.signature(builder)
    named = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in dataclasses.fields(DetectorSettings)
    ]
    return signature.replace(parameters=named + settings)


mask_rcnn.__signature__ = _signature_with_settings(mask_rcnn)


def _settings(options):
    known = set(DetectorSettings.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(
            f"mask_rcnn() got an unexpected keyword argument {unknown[0]!r}. The method's settings are "
            f"{', '.join(sorted(known))}."
        )
    return DetectorSettings(**options)


def _check_arguments(num_classes, input_shape, normalization, neck_normalization, head_normalization):
    check_integer("num_classes", num_classes)
    check_choice("normalization", normalization, ("batch", "frozen_batch", "group"))
    check_choice("neck_normalization", neck_normalization, (None, "batch", "group"))
    check_choice("head_normalization", head_normalization, (None, "batch", "group"))
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3 or None in input_shape:
        raise bad_argument(
            "input_shape",
            "(height, width, channels), all of them fixed",
            input_shape,
            "Images of other sizes are letterboxed: keras_seg.data.Letterbox.",
        )
    sides = input_shape[:2]
    if any(check_integer("input_shape", side, 64) % 32 for side in sides):
        nearest = tuple(max(64, round(side / 32) * 32) for side in sides)
        raise bad_argument(
            "input_shape",
            "of multiples of 32 pixels",
            tuple(input_shape),
            f"Take {(*nearest, input_shape[2])}.",
        )
