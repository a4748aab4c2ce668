"""The confusion matrix's scores one by one, for `compile(metrics=[...])` where a single number is wanted.

Each keeps a matrix of its own; several scores of one data set cost less with one `ConfusionMatrix`.
"""

import keras

from keras_seg.metrics.confusion import ConfusionMatrix, iou_by_class
from keras_seg.utils.validation import bad_argument, check_integer


class _OneScore(ConfusionMatrix):
    """A confusion matrix that reports the score of its own name in the dict of `ConfusionMatrix.result`."""

    score = None

    def __init__(self, num_classes, ignore_class=None, class_names=None, name=None, dtype=None):
        super().__init__(num_classes, ignore_class, class_names, name or self.score, dtype)

    def result(self):
        return super().result()[self.score]


@keras.saving.register_keras_serializable(package="keras_seg")
class PixelAccuracy(_OneScore):
    """Share of the counted pixels that are right. Arguments as `ConfusionMatrix`; a float32 scalar."""

    score = "pixel_accuracy"


@keras.saving.register_keras_serializable(package="keras_seg")
class MeanAccuracy(_OneScore):
    """Share of each true class's pixels that are right, averaged over the classes that the truth has.

    Arguments as `ConfusionMatrix`; a float32 scalar.
    """

    score = "mean_accuracy"


@keras.saving.register_keras_serializable(package="keras_seg")
class MeanIoU(_OneScore):
    """Intersection over union, averaged over the classes that truth or prediction has.

    Arguments as `ConfusionMatrix`; a float32 scalar. Unlike `keras.metrics.MeanIoU` it takes logits.
    """

    score = "mean_iou"


@keras.saving.register_keras_serializable(package="keras_seg")
class FrequencyWeightedIoU(_OneScore):
    """Intersection over union, averaged over classes with the share of true pixels as weight.

    Arguments as `ConfusionMatrix`; a float32 scalar.
    """

    score = "frequency_weighted_iou"


@keras.saving.register_keras_serializable(package="keras_seg")
class PerClassIoU(ConfusionMatrix):
    """Intersection over union of each class, or of one class.

    Args:
        class_id: int within 0..num_classes - 1, or None (default) for all. `compile` and its log take
            scalars, so give it there.
        The others: as `ConfusionMatrix`.

    Returns:
        `result()`: float32 (num_classes,), or a scalar with `class_id`; NaN for a class that neither truth
        nor prediction has.

    Raises:
        ValueError: `class_id` outside 0..num_classes - 1.

    Example:
        >>> cars = PerClassIoU(11, ignore_class=11, class_id=8, name="iou_car")
        >>> model.compile("adam", loss, metrics=[cars])
    """

    def __init__(
        self,
        num_classes,
        ignore_class=None,
        class_names=None,
        class_id=None,
        name="per_class_iou",
        dtype=None,
    ):
        super().__init__(num_classes, ignore_class, class_names, name, dtype)
        if class_id is not None and check_integer("class_id", class_id, minimum=0) >= num_classes:
            raise bad_argument("class_id", f"at most {num_classes - 1}, num_classes - 1", class_id)
        self.class_id = class_id

    def result(self):
        iou = iou_by_class(self._float_matrix())
        return iou if self.class_id is None else iou[self.class_id]

    def get_config(self):
        return {**super().get_config(), "class_id": self.class_id}
