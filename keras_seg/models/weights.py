"""Weights of whole models: from a file, with an error that says what did not fit, and from model to model."""

import warnings
from pathlib import Path

import keras

from keras_seg.utils.validation import bad_argument


def load_model_weights(model, path):
    """Load `path` into `model`.

    Args:
        model: keras.Model, built.
        path: str or Path of a `.keras` or `.weights.h5` file that a model of the same architecture wrote.

    Raises:
        ValueError: the file is absent, of another kind, or of another architecture.
    """
    path = Path(path)
    if not path.name.endswith((".keras", ".weights.h5")):
        raise bad_argument(
            "weights", 'None, "imagenet", or the path of a .keras or .weights.h5 file', str(path)
        )
    if not path.is_file():
        raise bad_argument("weights", "the path of a file that exists", str(path))
    try:
        # Keras only warns of layers that the file does not have; they would keep their random weights.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(str(path))
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ValueError(
            f"The weights in {path} do not fit {model.name}: {error}\n"
            "Build the model with the arguments that it was saved with, or load the whole model: "
            "keras.saving.load_model(path)."
        ) from error


def layers_by_name(model):
    """The layers that have weights of their own, inside models in the model too, and inside composite layers.

    Returns:
        dict of str to keras.layers.Layer.
    """
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= layers_by_name(layer)
        elif hasattr(layer, "parts"):
            found |= {part.name: part for part in layer.parts}
        elif layer.weights:
            found[layer.name] = layer
    return found


def copy_weights(source, target):
    """Give each layer of `target` the weights of the layer of `source` that has its name.

    Layers that only one of the two has are left alone: a network grows from another by them.

    Args:
        source, target: keras.Model, built.

    Returns:
        list of str: the names of the layers of `target` that were not in `source`.

    Raises:
        ValueError: layers of one name differ in shape, or the two share no layer; nothing is changed then.
    """
    sources, targets = layers_by_name(source), layers_by_name(target)
    shared = [name for name in targets if name in sources]
    if not shared:
        raise bad_argument("source", f"a model with layers of {target.name!r}", source.name)
    for name in shared:
        shapes = [[tuple(weight.shape) for weight in layers[name].weights] for layers in (sources, targets)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"Layer {name!r} has weights of shapes {shapes[0]} in {source.name!r} "
                f"and {shapes[1]} in {target.name!r}."
            )
    for name in shared:
        targets[name].set_weights(sources[name].get_weights())
    return [name for name in targets if name not in sources]
