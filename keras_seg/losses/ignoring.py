"""What every loss here shares: which pixels count, weights of any rank, and the mean over what counts.

Letters: N images, H rows, W columns, K classes. Ignoring is done by weights, so that Keras' own `Loss` keeps
the reduction, also its scaling under `tf.distribute`.
"""

import keras
from keras import ops

from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_number

REDUCTIONS = ("mean", "sum", "none")


class IgnoringLoss(keras.losses.Loss):
    """Base of the losses: an ignored class id, a reduction, and arithmetic in float32.

    Args:
        ignore_class: int or None. Pixels with this id count nowhere.
        reduction: "mean", "sum" or "none".
        name: str.
    """

    def __init__(self, ignore_class=None, reduction="mean", name=None):
        check_choice("reduction", reduction, REDUCTIONS)
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if ignore_class is not None:
            ignore_class = check_integer("ignore_class", ignore_class, minimum=-(2**31))
        self.ignore_class = ignore_class

    def reduced(self, y_true, y_pred, counted, weights):
        """Keras' weighted reduction of `call(y_true, y_pred)`, with "mean" taken over what counts.

        Args:
            y_true, y_pred: what `call` takes.
            counted: float32, 1 where an entry of the loss counts and 0 elsewhere.
            weights: float32 that broadcasts to `counted`, or None for ones.
        """
        if self.reduction == "mean":
            # Keras divides by the number of entries; so much more weight makes that the number that counts.
            # A batch in which nothing counts gets 0 and not 0 / 0.
            counted = ops.divide_no_nan(counted, ops.mean(counted))
        weights = counted if weights is None else counted * weights
        return super().__call__(y_true, y_pred, weights)

    def get_config(self):
        return {**super().get_config(), "ignore_class": self.ignore_class}


class PixelLoss(IgnoringLoss):
    """Base of the losses with one value a pixel: `call` takes ids within 0..K-1 and float32 logits."""

    class_weights_argument = "class_weights"

    def __init__(self, ignore_class=None, class_weights=None, reduction="mean", name=None):
        super().__init__(ignore_class, reduction, name)
        if class_weights is not None:
            class_weights = [
                check_number(self.class_weights_argument, weight, minimum=0) for weight in class_weights
            ]
        self.class_weights = class_weights

    def __call__(self, y_true, y_pred, sample_weight=None):
        ids, counted = split_ignored(y_true, y_pred, self.ignore_class)
        weights = None if sample_weight is None else spread(sample_weight, len(ids.shape))
        if self.class_weights is not None:
            by_class = self.weights_by_class(ids, y_pred.shape)
            weights = by_class if weights is None else weights * by_class
        return self.reduced(ids, y_pred, counted, weights)

    def weights_by_class(self, ids, logits_shape):
        """The weight of each pixel's class, float32 of the shape of `ids`."""
        if logits_shape[-1] not in (None, len(self.class_weights)):
            raise bad_argument(
                self.class_weights_argument,
                f"{logits_shape[-1]} numbers, one for each class of logits of shape {tuple(logits_shape)}",
                self.class_weights,
            )
        return ops.take(ops.convert_to_tensor(self.class_weights, dtype="float32"), ids, axis=0)


def split_ignored(y_true, y_pred, ignore_class):
    """Class ids that are safe to look up, and which pixels count.

    Args:
        y_true: integer ids (N, H, W) or (N, H, W, 1), of any number type.
        y_pred: logits (N, H, W, K).
        ignore_class: int or None.

    Returns:
        `ids`, int32 (N, H, W), 0 at ignored pixels, so that an id such as 255 never reaches a gather; and
        `counted`, float32 (N, H, W), 0 at ignored pixels and 1 elsewhere.
    """
    ids = ops.cast(ops.convert_to_tensor(y_true), "int32")
    if len(ids.shape) == len(y_pred.shape) and ids.shape[-1] == 1:
        ids = ops.squeeze(ids, axis=-1)
    if len(ids.shape) != len(y_pred.shape) - 1:
        raise bad_argument(
            "y_true.shape",
            f"(N, H, W) or (N, H, W, 1) class ids for logits of shape {tuple(y_pred.shape)}",
            tuple(ids.shape),
            "Give integer class ids, not one-hot vectors.",
        )
    if ignore_class is None:
        return ids, ops.ones_like(ids, dtype="float32")
    counts = ops.not_equal(ids, ignore_class)
    return ops.where(counts, ids, 0), ops.cast(counts, "float32")


def spread(sample_weight, rank):
    """`sample_weight` as float32 of `rank` axes: (N,) gets axes at its end, (N, H, W, 1) loses its last."""
    weights = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    if len(weights.shape) > rank:
        raise bad_argument("sample_weight.shape", "(N,) or (N, H, W)", tuple(weights.shape))
    for _ in range(rank - len(weights.shape)):
        weights = ops.expand_dims(weights, axis=-1)
    return weights
