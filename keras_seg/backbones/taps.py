"""Finds the pyramid in a network: which tensor is the last at each halving of the size.

The levels are named as in the Feature Pyramid Networks paper: "P1" to "P6", Pn being 2^n times smaller than
the image. Sizes and channels are read from the graph by running it on symbolic images, never typed in, so
they cannot drift from what the network does.
"""

import math
import re

import keras

from keras_seg.utils.validation import bad_argument

# A multiple of 32, which every network takes, and odd sizes, on which rounding up and down differ.
_EVEN_PROBE = (320, 416)
_ODD_PROBE = (321, 417)


def pyramid(model):
    """Turn a network into one that returns its feature maps by level.

    Args:
        model: keras.Model from images (N, H, W, C). Its pyramid is, in this order: outputs that are a dict
            with keys "P1", "P2", ...; the attribute `pyramid_outputs` (keras_hub) or `pyramid_level_inputs`
            (keras_cv); or, for any other functional model, the last tensor at each power-of-two size.

    Returns:
        keras.Model with the same weights, to a dict {"P1": (N, H/2, W/2, C1), ...}.

    Raises:
        ValueError: no level is found, as in a model that isn't functional.
    """
    if isinstance(model.output, dict) and all(re.fullmatch(r"P\d", str(key)) for key in model.output):
        return model
    if isinstance(getattr(model, "pyramid_outputs", None), dict):
        taps = dict(model.pyramid_outputs)
    elif isinstance(getattr(model, "pyramid_level_inputs", None), dict):
        taps = {level: model.get_layer(layer).output for level, layer in model.pyramid_level_inputs.items()}
    else:
        taps = _last_of_each_level(model)
    taps = {str(level): tensor for level, tensor in taps.items() if re.fullmatch(r"P[1-9]", str(level))}
    if not taps:
        raise bad_argument(
            "backbone",
            "a model with feature maps 2, 4, 8, ... times smaller than the image",
            model.name,
            "Give a functional keras.Model, or one that returns a dict with keys P1, P2, ...",
        )
    return keras.Model(model.inputs[0], dict(sorted(taps.items())), name=f"{model.name}_pyramid")


def halves_exactly(pyramid_model):
    """Whether every level n has ceil(size / 2^n) pixels a side, so that doubled maps only need a crop."""
    images = _probe_images(pyramid_model, _ODD_PROBE)
    try:
        maps = pyramid_model.compute_output_spec(images)
    except ValueError:
        # A network that does not take odd sizes rounds nowhere.
        images = _probe_images(pyramid_model, _EVEN_PROBE)
        maps = pyramid_model.compute_output_spec(images)
    return all(
        tuple(tensor.shape[1:3]) == tuple(math.ceil(side / 2 ** int(level[1:])) for side in images.shape[1:3])
        for level, tensor in maps.items()
    )


def _last_of_each_level(model):
    """The last four-dimensional tensor of each level, in the order in which the layers run."""
    candidates = [
        layer.output
        for layer in model.layers
        # Padding layers only prepare the next convolution: their maps are a rim larger than their level.
        if not isinstance(layer, (keras.layers.ZeroPadding2D, keras.layers.InputLayer))
        and isinstance(getattr(layer, "output", None), keras.KerasTensor)
        and len(layer.output.shape) == 4
    ]
    if not candidates:
        return {}
    images = _probe_images(model, _EVEN_PROBE)
    try:
        specs = keras.Model(model.inputs[0], candidates).compute_output_spec(images)
    except ValueError as error:
        raise bad_argument(
            "input_shape", f"a fixed (height, width, channels) with {model.name}", model.inputs[0].shape[1:]
        ) from error
    taps = {}
    for tensor, spec in zip(candidates, specs, strict=True):
        level = round(math.log2(images.shape[1] / spec.shape[1]))
        # One pixel is a squeeze-and-excitation vector, not a map.
        if level >= 1 and spec.shape[1] > 1:
            taps[f"P{level}"] = tensor
    return taps


def _probe_images(model, size):
    """A symbolic image of the model's own size, or of `size` where its sides are free."""
    tensor = model.inputs[0]
    sides = (side or probe for side, probe in zip(tensor.shape[1:3], size, strict=True))
    return keras.KerasTensor((1, *sides, tensor.shape[-1]), dtype=tensor.dtype)
