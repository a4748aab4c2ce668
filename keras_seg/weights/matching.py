"""Finds the tensor of every layer's every weight, checks all of them, and only then loads them."""

import dataclasses

import numpy as np

from keras_seg.layers.color_affine import ColorAffine
from keras_seg.models.weights import layers_by_name
from keras_seg.weights.checkpoint import as_array
from keras_seg.weights.layouts import slots_of
from keras_seg.weights.report import LoadedWeight

# Lines of each kind in an error message.
_SHOWN = 10
_SCORES = "the scores of the checkpoint's own classes"
_NO_LAYER = "the model has no such layer"


@dataclasses.dataclass(frozen=True)
class Match:
    """A model and a checkpoint that fit each other.

    Attributes:
        slots: tuple of Slot.
        unused: dict of str to tuple of str. Reason to names of tensors that have no slot.
        untouched: tuple of str. Layers that have no tensor.
    """

    slots: tuple
    unused: dict
    untouched: tuple


def match(model, architecture, tensors, encoder=False):
    """Match a model's layers with a checkpoint's tensors. Changes nothing.

    Args:
        model: keras.Model, built.
        architecture: Architecture, of the checkpoint.
        tensors: dict of str to array or tensor.
        encoder: bool. False: the model is the network, and every layer and every tensor must have its
            counterpart. True: the network is in the model as its encoder; other layers, the layers of the
            checkpoint's own classes and the tensors of its head are left out.

    Returns:
        Match.

    Raises:
        ValueError: they do not fit; lists what differs, is missing, is left over or is not finite.
    """
    # The scaling of the pixels is the builder's, no part of a checkpoint.
    layers = {
        name: layer for name, layer in layers_by_name(model).items() if not isinstance(layer, ColorAffine)
    }
    paths = {name: architecture.path_of(name) for name in layers}
    if encoder:
        paths = {
            name: None if path is None or architecture.is_by_class(path) else path
            for name, path in paths.items()
        }
    slots = [
        _for_channels(slot, architecture, tensors)
        for name, path in paths.items()
        if path is not None
        for slot in slots_of(layers[name], path)
    ]
    untouched = tuple(name for name, path in paths.items() if path is None)
    unused, unexpected = _left_over(architecture, tensors, slots, encoder)
    problems = _problems(tensors, slots)
    problems["unexpected"] = [f"{name} {tuple(tensors[name].shape)}" for name in unexpected]
    if not encoder:
        problems["without a counterpart in torchvision's network"] = list(untouched)
    if any(problems.values()):
        raise ValueError(_message(model, problems))
    return Match(tuple(slots), unused, untouched)


def load(found, tensors):
    """Give every variable its tensor. Empties `tensors`, so that the memory of each is free when it is used.

    Args:
        found: Match.
        tensors: dict of str to array or tensor, the one that was matched.

    Returns:
        tuple of LoadedWeight.
    """
    by_tensor = {}
    for slot in found.slots:
        by_tensor.setdefault(slot.tensor, []).append(slot)
    for name, slots in by_tensor.items():
        array = as_array(tensors.pop(name))
        for slot in slots:
            slot.variable.assign(slot.convert(array))
    return tuple(
        LoadedWeight(slot.layer, slot.variable.name, tuple(slot.variable.shape), slot.tensor)
        for slot in found.slots
    )


def _for_channels(slot, architecture, tensors):
    """The slot of the first kernel, if the checkpoint's is for RGB and the model's images are not."""
    if slot.tensor != f"{architecture.first}.weight" or slot.tensor not in tensors:
        return slot
    shape = tensors[slot.tensor].shape
    return slot.for_rgb() if len(shape) == 4 and shape[1] == 3 != slot.shape[1] else slot


def _left_over(architecture, tensors, slots, encoder):
    """Tensors without a slot: {reason: names} of those that need none, and the names of the others."""
    wanted = {slot.tensor for slot in slots}
    unused, unexpected = {}, []
    for name in tensors:
        if name in wanted:
            continue
        reason = architecture.reason_unused(name)
        if reason is None and encoder:
            reason = _reason_of_head(architecture, name)
        if reason is None:
            unexpected.append(name)
        else:
            unused.setdefault(reason, []).append(name)
    return {reason: tuple(names) for reason, names in unused.items()}, unexpected


def _reason_of_head(architecture, name):
    path = name.rpartition(".")[0]
    if architecture.is_by_class(path):
        return _SCORES
    return _NO_LAYER if architecture.is_head(path) else None


def _problems(tensors, slots):
    problems = {"of another shape": [], "missing": [], "not finite": []}
    for slot in slots:
        if slot.tensor not in tensors:
            problems["missing"].append(f"{slot.title} <- {slot.tensor}")
            continue
        shape = tuple(tensors[slot.tensor].shape)
        if not slot.fits(shape):
            problems["of another shape"].append(
                f"{slot.title} <- {slot.tensor} {shape}, expected {slot.shape}"
            )
        elif not _is_finite(as_array(tensors[slot.tensor])):
            problems["not finite"].append(f"{slot.title} <- {slot.tensor}")
    return problems


def _is_finite(array):
    # Both carry a NaN along, and neither needs an array of the size of the largest kernel, as isfinite does.
    return array.size == 0 or bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _message(model, problems):
    lines = [f"The checkpoint does not fit {model.name}. Nothing was loaded."]
    for kind, found in problems.items():
        if found:
            lines.append(f"{len(found)} {kind}:")
            lines += [f"  {line}" for line in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  and {len(found) - _SHOWN} more")
    return "\n".join(lines)
