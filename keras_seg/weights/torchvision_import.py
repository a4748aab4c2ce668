"""A checkpoint of torchvision as a model of this package, or in the encoder of one."""

import os
from pathlib import Path

import keras

from keras_seg.backbones.preprocessing import mode_of
from keras_seg.models.weights import layers_by_name
from keras_seg.utils.validation import bad_argument
from keras_seg.weights.catalog import architecture
from keras_seg.weights.checkpoint import as_array, read_checkpoint
from keras_seg.weights.matching import load, match
from keras_seg.weights.published_files import is_published
from keras_seg.weights.report import ImportReport
from keras_seg.weights.transform_input import fold_transform, transformed_affine

_INPUT_SHAPES = {
    "classifier": (None, None, 3),
    "semantic": (None, None, 3),
    "detector": (1024, 1024, 3),
}


def from_torchvision(
    name, state_dict_or_path, input_shape=None, *, transform_input=None, return_report=False
):
    """Build a network of torchvision with the weights of a checkpoint in it.

    PyTorch is not needed, and nothing in a file is executed. Every weight of the network must find its
    tensor, and every tensor its place, before anything is loaded. The number of classes is read from the
    checkpoint, so fine-tuned ones load as they are. Label k is torchvision's label k; of detectors, which
    count no background here, it is torchvision's label k + 1.

    Classifiers become dense: one score vector for every window of 224 x 224 pixels, 32 pixels from window to
    window; 1 x 1 for an image of 224 x 224, which has torchvision's own scores. In a larger one, a window at
    the rim has torchvision's zeros on that side alone, and where the image goes on it sees what is there, so
    the scores differ from those of the window cut out. To have a classifier's weights in the encoder of a
    segmentation network, use `load_encoder`.

    Args:
        name: str, one of `keras_seg.weights.names()`: "alexnet", "googlenet", "resnet18", "resnet34",
            "resnet50", "resnet101", "vgg16", "vgg16_bn", "fcn_resnet50", "fcn_resnet101",
            "maskrcnn_resnet50_fpn" or "maskrcnn_resnet50_fpn_v2".
        state_dict_or_path: dict of str to tensors (NumPy or PyTorch), such as `model.state_dict()`, or the
            path of a `.pth`, `.pt` or `.safetensors` file with one; also under "state_dict" or "model" in it,
            and with the "module." of DataParallel before the names.
        input_shape: (height, width, channels) in pixels, None for a free height or width; for detectors all
            are fixed, in multiples of 32. Default (None, None, 3), of detectors (1024, 1024, 3). With other
            than the three channels of the checkpoint the first kernel and the preprocessing are adapted: see
            `keras_seg.backbones.input_channels`.
        transform_input: bool or None, of "googlenet" only: torchvision's option of this name. True: the
            checkpoint was trained on x / 127.5 - 1, as torchvision's own and those fine-tuned from it. False:
            by mean and deviation. None: True for torchvision's own file, which is known by its SHA-256; False
            for any other, and for a dictionary.
        return_report: bool. True: return (model, report).

    Returns:
        keras.Model: images (N, H, W, C), 0..255, to float32 logits: (N, h, w, num_classes) with h =
        ceil(H / 32) - 6 for classifiers, a little less in "alexnet"; (N, H, W, num_classes) for "fcn_...";
        for "maskrcnn_..." a `keras_seg.models.detector.MaskRCNN`, which gives detections.
        And an `ImportReport`, if it was asked for.

    Raises:
        ValueError: the name is not known, the file is absent or holds more than tensors, or the checkpoint
            does not fit: a shape differs, a tensor is missing, left over or not finite. The message lists
            them.
        TypeError: the checkpoint is neither a path nor a dictionary of tensors.

    Example:
        >>> model = from_torchvision("resnet50", "resnet50-11ad3fa6.pth")
        >>> scores = model.predict(photo[None])[0]  # (h, w, 1000)
    """
    network = architecture(name)
    tensors = read_checkpoint(state_dict_or_path)
    transform_input, notes = _transform_input(name, state_dict_or_path, transform_input)
    options = {"affine": transformed_affine} if transform_input else {}
    tensors = network.renamed(tensors)
    model = network.build(
        _num_classes(name, network, tensors), input_shape or _INPUT_SHAPES[network.task], **options
    )
    _check_channels(model, network, tensors)
    found = match(model, network, tensors)
    if network.task == "detector" and is_published(name, state_dict_or_path):
        notes += _without_epsilon(model)
    report = _load(name, state_dict_or_path, found, tensors, notes)
    return (model, report) if return_report else model


def load_encoder(model, name, state_dict_or_path, *, transform_input=None):
    """Load a checkpoint of torchvision into the encoder of a model that was built with that network.

    Layers are found by their names, also in models inside the model. All but those of the checkpoint's own
    classes are loaded: the convolutions, batch normalizations and, where the model has them (`fcn` on "vgg16"
    and "alexnet"), fc6 and fc7; of a detector, for a `mask_rcnn` of other classes, the pyramid, the region
    proposal network and the heads up to their last layers as well. All other layers of the model keep their
    weights. Nothing is changed on an error.

    Args:
        model: keras.Model, such as `unet(11, backbone="resnet50")`. Changed in place.
        name: str, the network's name in torchvision: see `from_torchvision`.
        state_dict_or_path: the checkpoint, as for `from_torchvision`.
        transform_input: as for `from_torchvision`. True folds the change of the pixels into the first
            convolution and its batch normalization.

    Returns:
        ImportReport: what was loaded, what was not used, which layers keep their weights.

    Raises:
        ValueError, TypeError: as `from_torchvision`; or the model has no layers of this network, or was built
            for the preprocessing of other weights (`weights="imagenet"`).

    Example:
        >>> model = keras_seg.unet(11, backbone="resnet50")
        >>> print(keras_seg.weights.load_encoder(model, "resnet50", "resnet50-11ad3fa6.pth"))
    """
    network = architecture(name)
    if not isinstance(model, keras.Model):
        raise bad_argument("model", "a keras.Model", type(model).__name__, error=TypeError)
    _check_encoder(model, name, network)
    tensors = network.renamed(read_checkpoint(state_dict_or_path))
    transform_input, notes = _transform_input(name, state_dict_or_path, transform_input)
    found = match(model, network, tensors, encoder=True)
    if transform_input:
        fold_transform(tensors, as_array)
    if network.task == "detector" and is_published(name, state_dict_or_path):
        notes += _without_epsilon(model)
    return _load(name, state_dict_or_path, found, tensors, notes)


def _transform_input(name, state_dict_or_path, asked):
    """Whether GoogLeNet's pixels are transformed, and what to say about it."""
    if name != "googlenet":
        if asked is not None:
            raise bad_argument("transform_input", f"None with {name}: it is an option of googlenet", asked)
        return False, ()
    if asked is None:
        asked = is_published(name, state_dict_or_path)
        if not asked:
            return False, (
                "transform_input=False was assumed: trained on pixels normalized by mean and deviation. "
                "torchvision's own weights, and those fine-tuned from them, need transform_input=True.",
            )
    return asked, (f"transform_input={asked}",)


def _num_classes(name, network, tensors):
    last = f"{network.last}.weight"
    if last not in tensors:
        some = ", ".join(list(tensors)[:5])
        raise ValueError(
            f"The checkpoint is not one of {name}: it has no {last}, which makes the scores. "
            f"It begins with {some}."
        )
    # A detector's scores begin with one for background.
    return int(tensors[last].shape[0]) - (network.task == "detector")


def _without_epsilon(model):
    """Set the epsilon of frozen normalization to 0, with which torchvision's file was trained."""
    for layer in layers_by_name(model).values():
        # Not where it is trained: a channel that is 0 all over a batch would be divided by 0.
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable:
            layer.epsilon = 0.0
    return ("the epsilon of frozen batch normalization is 0, as torchvision sets it for this file",)


def _check_channels(model, network, tensors):
    shape = getattr(tensors.get(f"{network.first}.weight"), "shape", ())
    received = model.input_shape[1:]
    if len(shape) == 4 and shape[1] not in (3, received[-1]):
        expected = f"(height, width, {shape[1]}), as the checkpoint's first kernel"
        raise bad_argument("input_shape", expected, received)


def _check_encoder(model, name, network):
    if not any(network.path_of(layer) for layer in layers_by_name(model)):
        raise bad_argument(
            "model",
            f"a model with the layers of {name}",
            model.name,
            "Build it with that backbone: by its name in lower case, as torchvision has it.",
        )
    for part in _models_in(model):
        mode = mode_of(part) if getattr(part, "inputs", None) else None
        if mode not in (None, "torch"):
            raise bad_argument(
                "model",
                "built for torchvision's preprocessing",
                model.name,
                "It was built for the pixels of keras.applications' weights. Build it with weights=None.",
            )


def _models_in(model):
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _models_in(layer)


def _load(name, state_dict_or_path, found, tensors, notes):
    is_path = isinstance(state_dict_or_path, (str, os.PathLike))
    if any(slot.adapted for slot in found.slots):
        notes += ("the first kernel, trained on RGB images, was adapted to this model's channels",)
    return ImportReport(
        network=name,
        source=Path(state_dict_or_path).name if is_path else "a dictionary",
        loaded=load(found, tensors),
        unused=found.unused,
        untouched=found.untouched,
        notes=notes,
    )
