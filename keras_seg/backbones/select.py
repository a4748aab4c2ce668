"""From the `backbone` argument of a builder, a name or a model, to an encoder with its preprocessing."""

import dataclasses

import keras
import numpy as np

from keras_seg.backbones import alex_net, efficientnet_lite, google_net, resnet, vgg
from keras_seg.backbones.keras_applications import application_affine, application_names, build_application
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


def select_backbone(backbone, input_shape, weights=None):
    """Build or adapt the encoder that a builder's user asked for.

    Args:
        backbone: str, one of `names()`, or a keras.Model with a pyramid (see `keras_seg.backbones.pyramid`).
            A model of `keras_seg.backbones` or keras.applications gets that network's own preprocessing. Any
            other gets pixels as they are if it holds a Rescaling or Normalization layer, and pixels / 255 if
            it holds none, as keras_cv and keras_hub backbones expect.
        input_shape: (height, width, channels), None for free sides.
        weights: None or "imagenet".

    Returns:
        Encoder.
    """
    if isinstance(backbone, str):
        check_choice("backbone", backbone, names(), "Or give a keras.Model.")
        if backbone in _OWN:
            build, preprocessing = _OWN[backbone]
            model, affine = build(input_shape, weights=weights), preprocessing(input_shape[2], weights)
        else:
            model = build_application(backbone, input_shape, weights)
            affine = application_affine(backbone, input_shape[2])
    elif isinstance(backbone, keras.Model):
        if weights is not None:
            raise bad_argument(
                "weights",
                "None or a path where the backbone is a model",
                weights,
                "Load them into the model.",
            )
        model = backbone
        affine = _affine_of_model(model)
        _check_takes(model, input_shape)
    else:
        raise bad_argument("backbone", "None, a name or a keras.Model", backbone, error=TypeError)
    maps = pyramid(model)
    return Encoder(maps, affine, halves_exactly(maps))


def _affine_of_model(model):
    channels = model.inputs[0].shape[-1]
    # First, as keras.applications has models of the same names.
    mode = mode_of(model)
    if mode is not None:
        return mode_affine(mode, channels)
    for name in application_names():
        if model.name == name.lower():
            return application_affine(name, channels)
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
