"""The ground truth that Mask R-CNN is trained on, checked.

Letters: N images, G ground truth rows, K object classes.
"""

from keras import ops

from keras_seg.ops.label_range import labels_below
from keras_seg.utils.validation import bad_argument


def checked_truth(y, sample_weight, num_classes):
    """What `MaskRCNN.compute_loss` was given, as tensors of the types that the losses take.

    Args:
        y: dict, see `MaskRCNN.compute_loss`.
        sample_weight: None.
        num_classes: int, K. Labels are below it.

    Returns:
        dict: "boxes" float32, "labels" int32, "masks" as they are, and "crowd" bool where there is one.

    Raises:
        ValueError: not such a dict, a wrong number of axes, masks of unknown size, a label of K or more, or
            sample weights.
    """
    expected = 'a dict {"boxes": (N, G, 4), "labels": (N, G), "masks": (N, G, h, w)}'
    if not isinstance(y, dict) or not {"boxes", "labels", "masks"} <= set(y):
        received = sorted(y) if isinstance(y, dict) else type(y).__name__
        fix = "Pipelines of `keras_seg.data.load_instances` give it."
        raise bad_argument("y", expected, received, fix)
    if sample_weight is not None:
        raise bad_argument("sample_weight", "None", type(sample_weight).__name__)
    ranks = {"boxes": 3, "labels": 2, "masks": 4, "crowd": 2}
    truth = {name: ops.convert_to_tensor(y[name]) for name in ranks if name in y}
    for name, value in truth.items():
        if len(value.shape) != ranks[name]:
            raise bad_argument(f'y["{name}"].shape', f"{ranks[name]} axes, as in {expected}", value.shape)
    if None in truth["masks"].shape[2:]:
        # By its size a mask is known to be of the image or of its box.
        fix = "Set it in the dataset: `tf.ensure_shape(masks, (None, None, 56, 56))`."
        raise bad_argument('y["masks"].shape', "of known height and width", truth["masks"].shape, fix)
    truth["boxes"] = ops.cast(truth["boxes"], "float32")
    labels = ops.cast(truth["labels"], "int32")
    truth["labels"] = labels_below(labels, num_classes, 'y["labels"]')
    if "crowd" in truth:
        truth["crowd"] = ops.cast(truth["crowd"], "bool")
    return truth
