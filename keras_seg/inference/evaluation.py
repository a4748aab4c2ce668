"""Scores of a semantic model on a data set, each image at its full size: what `keras-seg evaluate` prints."""

import numpy as np

from keras_seg.data import open_source
from keras_seg.data.crop_sources import boxes_of
from keras_seg.inference.frozen_model import FrozenModel
from keras_seg.inference.instances import instances_from_semantic
from keras_seg.inference.network import classes_from_probabilities
from keras_seg.inference.predictor import predict_probabilities
from keras_seg.metrics import average_precision, neurite_scores, scores_from_matrix
from keras_seg.utils.progress import track
from keras_seg.utils.validation import bad_argument

# Objects of fewer pixels are specks of the network, not nuclei: the smallest of DSB 2018 have about 20.
_SMALLEST_NUCLEUS = 20


def evaluate_semantic(
    model,
    data,
    *,
    batch_size=4,
    augment=None,
    proposals=None,
    aggregate="max",
    crf=False,
    progress=True,
):
    """Score a model on whole images.

    Args:
        model: keras.Model, images to logits.
        data: Source or spec, with the classes that the model was trained on.
        batch_size: int. Tiles at once, for networks and images that need tiling.
        augment: None, "mirror" or "all": average over flips and turns, see `predict_probabilities`.
        proposals: None, or what makes boxes: "selective_search", a callable from an image to boxes, or a dict
            from the data's ids to boxes, see `predict_proposals`.
        aggregate: "max" (default) or "mean" of the scores of overlapping proposals, see `predict_proposals`.
        crf: bool. Refine by a fully connected CRF, see `dense_crf`.
        progress: bool. Show a bar on a terminal.

    Returns:
        dict of float: "pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou", and "iou/NAME"
        and "accuracy/NAME" for each class. For `isbi` data also "pixel_error", "v_rand_thinned" and
        "v_info_thinned", from the probability of cell; for nuclei also "average_precision/iou_0.50" to 0.95
        and "average_precision/mean", of instances by watershed, or by connected components where there is no
        border class, counted over all objects.

    Raises:
        ValueError: the model has another number of classes or channels than the data.
    """
    data = open_source(data)
    _check_fits(model, data)
    model = FrozenModel(model)
    classes = data.num_classes
    matrix = np.zeros((classes, classes), "int64")
    details = []
    for index in track(range(len(data)), "evaluating", disable=not progress):
        image, truth = data.read(index)
        boxes = proposals
        if isinstance(proposals, dict):
            boxes = [boxes_of(proposals, data.ids[index], lambda image=image: image)]
        probabilities = predict_probabilities(
            model,
            [image],
            batch_size=batch_size,
            augment=augment,
            proposals=boxes,
            aggregate=aggregate,
            crf=crf,
        )[0]
        predicted = classes_from_probabilities(probabilities).astype("int64")
        counted = truth < classes
        matrix += np.bincount(
            classes * truth[counted].astype("int64") + predicted[counted], minlength=classes**2
        ).reshape(classes, classes)
        if data.name == "isbi":
            details.append((truth, probabilities[..., 1]))
        elif data.name in ("nuclei", "kaggle-nuclei"):
            method = "watershed" if classes == 3 else "components"
            found = instances_from_semantic(probabilities, method=method, min_size=_SMALLEST_NUCLEUS)
            details.append((data.read_instances(index), found))
    scores = scores_from_matrix(matrix, data.class_names)
    if data.name == "isbi":
        scores.update(_neurite_scores(details))
    elif details:
        scores.update(named_precisions(average_precision(*zip(*details, strict=True))))
    return scores


def _check_fits(model, data):
    channels, classes = model.input_shape[-1], model.output_shape[-1]
    if (channels, classes) != (data.channels, data.num_classes):
        raise bad_argument(
            "data",
            f"of {channels} channels and {classes} classes, as the model",
            data.describe(),
            "Evaluate on data of the format that the model was trained on.",
        )


def _neurite_scores(details):
    sizes = {truth.shape for truth, _ in details}
    if len(sizes) > 1:
        raise bad_argument("data", "slices of one size, as the challenge's stack", sorted(sizes))
    truth, cell = (np.stack(parts) for parts in zip(*details, strict=True))
    # Softmax in float32 can end a rounding above 1.
    scores = neurite_scores(truth, np.clip(cell, 0, 1))
    return {
        "pixel_error": scores["pixel_error"],
        "v_rand_thinned": scores["v_rand"],
        "v_info_thinned": scores["v_info"],
    }


def named_precisions(scores, group="average_precision"):
    """The scores of `keras_seg.metrics.average_precision` under the names that evaluations use."""
    named = {
        f"{group}/iou_0.{name.removeprefix('ap')}": value for name, value in scores.items() if name != "ap"
    }
    return {**named, f"{group}/mean": scores["ap"]}
