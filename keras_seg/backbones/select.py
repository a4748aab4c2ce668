"""From the `backbone` argument of a builder, a name or a model, to an encoder with its preprocessing."""

import dataclasses

import keras
import numpy as np

from keras_seg.backbones import alex_net, efficientnet_lite, google_net, resnet, vgg
from keras_seg.backbones.keras_applications import (
    application_affine,
    application_names,
    application_of,
    build_application,
)
from keras_seg.backbones.preprocessing import mode_affine, mode_of
from keras_seg.backbones.taps import halves_exactly, pyramid
from keras_seg.layers.color_affine import ColorAffine
from keras_seg.utils.validation import bad_argument, check_choice

# Networks built here: name to (builder, preprocessing).
_OWN = {
    "alexnet": (alex_net.alexnet, alex_net.preprocessing),
    "efficientnet_lite0": (efficientnet_lite.efficientnet_lite0, efficientnet_lite.preprocessing),
    "googlenet": (google_net.googlenet, google_net.preprocessing),
    "resnet18": (resnet.resnet18, resnet.preprocessing),
    "resnet34": (resnet.resnet34, resnet.preprocessing),
    "resnet50": (resnet.resnet50, resnet.preprocessing),
    "resnet101": (resnet.resnet101, resnet.preprocessing),
    "vgg16": (vgg.vgg16, vgg.preprocessing),
    "vgg16_bn": (vgg.vgg16_bn, vgg.preprocessing),
}


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A backbone, ready to be wired into a graph.

    Attributes:
        model: keras.Model to a dict of maps, {"P1": ..., "P5": ...}.
        affine: (matrix, offset) from pixels 0..255 to what the model wants, or None for pixels as they are.
        halves: bool. Every level has ceil(size / 2^n) pixels a side.
    """

    model: keras.Model
    affine: tuple | None
    halves: bool

    def preprocess(self, images):
        """Scale a tensor of images (N, H, W, C), 0..255, to what the backbone wants."""
        if self.affine is None:
            return images
        matrix, offset = (np.asarray(part).tolist() for part in self.affine)
        return ColorAffine(matrix, offset, name="rescaling")(images)


def names():
    """The names that the builders take as `backbone`."""
    return (*_OWN, *application_names())


def select_backbone(backbone, input_shape, weights=None, multiple=1):
    """Build or adapt the encoder that a builder's user asked for.

    Args:
        backbone: str, one of `names()`, or a keras.Model with a pyramid (see `keras_seg.backbones.pyramid`).
            A model of `keras_seg.backbones` gets that network's own preprocessing, and so does one of
            keras.applications, which is known by the name that it has from there. Any other gets pixels as
            they are if it holds a Rescaling or Normalization layer, and pixels / 255 if it holds none, as
            keras_cv's backbones expect. Those of keras_hub are scaled as their preset says: put its scaling
            into the model, see "Backbones of KerasHub" in the README.
        input_shape: (height, width, channels), None for free sides.
        weights: None or "imagenet".
        multiple: int. What the caller pads images to, where the encoder halves exactly: an encoder by name
            then takes the padded images, also where `input_shape` has fixed sides that it does not divide.

    Returns:
        Encoder.
    """
    if isinstance(backbone, str):
        check_choice("backbone", backbone, names(), "Or give a keras.Model.")
        maps = _named_pyramid(backbone, input_shape, weights, multiple)
        if backbone in _OWN:
            affine = _OWN[backbone][1](input_shape[2], weights)
        else:
            affine = application_affine(backbone, input_shape[2])
    elif isinstance(backbone, keras.Model):
        if weights is not None:
            raise bad_argument(
                "weights",
                "None or a path where the backbone is a model",
                weights,
                "Load them into the model.",
            )
        affine = _affine_of_model(backbone)
        _check_takes(backbone, input_shape)
        maps = pyramid(backbone)
    else:
        raise bad_argument("backbone", "None, a name or a keras.Model", backbone, error=TypeError)
    halves = halves_exactly(maps)
    if isinstance(backbone, keras.Model) and halves and not _fits(backbone.inputs[0].shape[1:3], multiple):
        raise bad_argument(
            "backbone",
            f"built for free sides or multiples of {multiple}, which images are padded to",
            f"{backbone.name} for {tuple(backbone.inputs[0].shape[1:])}",
            "Build it with input_shape=(None, None, channels).",
        )
    return Encoder(maps, affine, halves)


def _named_pyramid(name, input_shape, weights, multiple):
    """The maps of a network by name, for its user's sides, or for padded ones where they do not fit."""
    sides, channels = input_shape[:2], input_shape[2]
    if _fits(sides, multiple):
        return pyramid(_build(name, input_shape, weights))
    try:
        # Free, as it is not known yet whether it halves exactly; only then are images padded.
        return pyramid(_build(name, (None, None, channels), weights))
    except ValueError:
        # MobileNetV3 takes fixed sides only.
        padded = (side if side is None else -(-side // multiple) * multiple for side in sides)
        return pyramid(_build(name, (*padded, channels), weights))


def _build(name, input_shape, weights):
    if name in _OWN:
        return _OWN[name][0](input_shape, weights=weights)
    return build_application(name, input_shape, weights)


def _fits(sides, multiple):
    """Whether `multiple` divides every side that is fixed."""
    return not any(side is not None and side % multiple for side in sides)


def _affine_of_model(model):
    channels = model.inputs[0].shape[-1]
    # First, as keras.applications has models of the same names.
    mode = mode_of(model)
    if mode is not None:
        return mode_affine(mode, channels)
    application = application_of(model.name)
    if application is not None:
        return application_affine(application, channels)
    if any(isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)) for layer in model.layers):
        return None
    return np.eye(channels) / 255, np.zeros(channels)


def _check_takes(model, input_shape):
    shape = tuple(model.inputs[0].shape[1:])
    if any(side is not None and side != asked for side, asked in zip(shape, input_shape, strict=True)):
        raise bad_argument(
            "input_shape",
            f"{shape}, the shape that the backbone {model.name!r} was built for",
            tuple(input_shape),
            "Or build the backbone with free sides: input_shape=(None, None, channels).",
        )
