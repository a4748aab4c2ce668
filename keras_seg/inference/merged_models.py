"""Several semantic networks as one: a keras.Model that predicts, saves and exports like any other."""

import keras

from keras_seg.layers.merge_scores import MeanOfProbabilities, ProductOfScores
from keras_seg.utils.validation import bad_argument, check_choice

_MERGE = {"mean": MeanOfProbabilities, "product": ProductOfScores}


def ensemble(models, *, merge="mean", name="ensemble"):
    """One network of several that answer for the same classes.

    The paper's ensemble of DeconvNet and FCN takes the mean of their probabilities; its released code
    multiplies their scores. The networks share their weights with the ones given.

    Reference: Noh, Hong, Han 2015, "Learning deconvolution network for semantic segmentation", section 5.1.

    Args:
        models: sequence of at least two keras.Model, images (N, H, W, C), 0..255, to logits (N, H, W, K), all
            with the same C and K. Where one is built for one size, the ensemble is built for that size.
        merge: "mean" of probabilities, as logits whose softmax that mean is; or "product" of the scores,
            negative ones taken as 0.
        name: str. Name of the model.

    Returns:
        keras.Model: (N, H, W, C) to float32 (N, H, W, K).

    Raises:
        ValueError: fewer than two networks, or networks of other channels, classes or sizes.
        TypeError: something that is not a keras.Model.

    Example:

        >>> both = ensemble([deconvnet, fcn])
        >>> both.save("both.keras")
        >>> keras_seg.export.export_model(both, "serving/both")
    """
    check_choice("merge", merge, tuple(_MERGE))
    models = list(models)
    for model in models:
        if not isinstance(model, keras.Model):
            raise bad_argument("models", "keras.Models", type(model).__name__, error=TypeError)
    if len(models) < 2:
        raise bad_argument("models", "at least two networks", f"{len(models)}")
    images = keras.Input(_common_shape(models), name="images")
    scores = [model(images) for model in _with_own_names(models)]
    return keras.Model(images, _MERGE[merge](name=merge)(scores), name=name)


def _common_shape(models):
    """(height, width, channels) that all the networks take; sides that none fixes are free."""
    shapes = [(model.input_shape, model.output_shape) for model in models]
    for what, values in (
        ("channels", [taken[-1] for taken, _ in shapes]),
        ("classes", [given[-1] for _, given in shapes]),
        *(
            (side, [taken[axis] for taken, _ in shapes if taken[axis] is not None])
            for axis, side in ((1, "height"), (2, "width"))
        ),
    ):
        if len(set(values)) > 1:
            received = ", ".join(f"{value}" for value in values)
            raise bad_argument("models", f"networks of the same {what}", received, "Build them alike.")
    sides = [next((taken[axis] for taken, _ in shapes if taken[axis] is not None), None) for axis in (1, 2)]
    return (*sides, shapes[0][0][-1])


def _with_own_names(models):
    """The models, those of a name that another has too behind a name of their own."""
    names = [model.name for model in models]
    for number, model in enumerate(models, start=1):
        if names.count(model.name) > 1:
            model = keras.Model(model.inputs[0], model.outputs[0], name=f"{model.name}_{number}")
        yield model
