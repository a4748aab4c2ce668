"""Scores of a detector on a data set, each image at its full size: what `keras-seg evaluate` prints."""

from keras_seg.data import open_source
from keras_seg.inference.coco_scores import CocoScores
from keras_seg.inference.detections import predict_instances
from keras_seg.inference.detector import Detector
from keras_seg.inference.evaluation import named_precisions
from keras_seg.metrics.instances import instance_matches, precision_of_matches
from keras_seg.utils.progress import track
from keras_seg.utils.validation import bad_argument, check_integer, check_number


def evaluate_instances(
    model,
    data,
    *,
    batch_size=1,
    max_detections=100,
    instance_score_threshold=0.5,
    min_scale=None,
    augment=None,
    progress=True,
):
    """Score a detector on whole images, by COCO's measure and by that of nuclei benchmarks.

    COCO's average precision weighs all detections by their scores; it needs no threshold. The other counts
    the objects of one map, in which each pixel belongs to the best-scored object there and what is mostly
    hidden is left out (`Detections.id_map`), so a threshold says
    which detections are drawn at all.

    Args:
        model: a detector, such as `mask_rcnn` builds.
        data: Source or spec, with the classes that the model was trained on.
        batch_size: int, default 1. Images at once.
        max_detections: int, default 100. Detections counted an image, by score, in COCO's scores.
        instance_score_threshold: float within 0..1, default 0.5. Detections of lower scores are left out of
            "average_precision/...".
        min_scale: float or None. Least scale at which large images are seen, see `predict_instances`.
        augment: None, "mirror" or "all": averages over flips and turns, see `predict_instances`.
        progress: bool. Show a bar on a terminal.

    Returns:
        dict of float: "box_ap", "mask_ap" and the others of `CocoScores.result`; and without regard to class
        "average_precision/iou_0.50" to 0.95, TP / (TP + FP + FN) over all objects of all images, with their
        mean "average_precision/mean", as the StarDist paper has it; and the mean over the images of what each
        has by itself, "average_precision_of_images/...", as the Data Science Bowl 2018 does. Crowd regions
        are no objects there.

    Raises:
        ValueError: no detector, or one of another number of classes or channels than the data.
    """
    data = open_source(data)
    check_fits(model, data)
    check_integer("batch_size", batch_size)
    check_number("instance_score_threshold", instance_score_threshold, 0, 1)
    scores, matches = CocoScores(data.object_names, max_detections), []
    for first in track(range(0, len(data), batch_size), "evaluating", disable=not progress):
        indices = range(first, min(first + batch_size, len(data)))
        images, truths = zip(*map(data.read_objects, indices), strict=True)
        predicted = predict_instances(
            model, images, batch_size=batch_size, min_scale=min_scale, augment=augment
        )
        for truth, found in zip(truths, predicted, strict=True):
            scores.add(truth, found)
            drawn = found.above(instance_score_threshold).id_map()
            matches.append(instance_matches(truth.id_map(found.image_size), drawn))
    return {
        **scores.result(),
        **named_precisions(precision_of_matches(matches)),
        **named_precisions(precision_of_matches(matches, average="images"), "average_precision_of_images"),
    }


def check_fits(model, data):
    """Raise unless a detector takes the channels of a Source and gives its classes."""
    detector = Detector(model)
    classes = len(data.object_names)
    expected = (detector.channels, detector.num_classes or classes)
    if expected != (data.channels, classes):
        raise bad_argument(
            "data",
            f"of {expected[0]} channels and {expected[1]} classes of objects, as the model",
            f"{data.describe()}; objects: {', '.join(data.object_names[:12])}",
            "Evaluate on data of the format that the model was trained on.",
        )
