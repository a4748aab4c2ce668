"""The five losses of Mask R-CNN, each a mean or a sum over what was sampled, and 0 where nothing was.

Letters: N images, S samples of an image, F of them that may be positive. Labels are 1 object, 0 background,
-1 not used. All is computed in float32, whatever comes.
"""

from keras import ops

from keras_seg.ops.row_gather import take_rows_of_each

# In units of deltas (Faster R-CNN's code, where it is sigma = 3).
SMOOTH_L1_BETA = 1 / 9


def objectness_loss(logits, labels):
    """Mean binary cross-entropy over the anchors that were drawn.

    Args:
        logits: float32 (N, S).
        labels: int32 (N, S).

    Returns:
        float32 scalar.
    """
    used = ops.cast(labels >= 0, "float32")
    truth = ops.cast(labels == 1, "float32")
    return ops.sum(_cross_entropy(logits, truth) * used) / _at_least_one(used)


def box_regression_loss(deltas, targets, labels, beta=SMOOTH_L1_BETA):
    """Smooth L1 distance of the objects' deltas, summed, over the number of all samples.

    Dividing by all samples, not by the positives, keeps an image with one object from counting for as much as
    one with a hundred.

    Reference:
        Girshick, 2015, Fast R-CNN, equations 2 and 3; beta as in torchvision.

    Args:
        deltas, targets: float32 (N, S, 4).
        labels: int32 (N, S).
        beta: float above 0, in units of deltas. The distance from which the loss is a line.

    Returns:
        float32 scalar.
    """
    deltas, targets = ops.cast(deltas, "float32"), ops.cast(targets, "float32")
    positive = ops.cast(labels == 1, "float32")[..., None]
    # Masked before the distance: a target of a padding row may be anything.
    distance = ops.abs(deltas - targets) * positive
    smooth = ops.where(distance < beta, 0.5 * distance * distance / beta, distance - 0.5 * beta)
    return ops.sum(smooth * positive) / _at_least_one(ops.cast(labels >= 0, "float32"))


def classification_loss(logits, classes, labels):
    """Mean cross-entropy over the proposals that were drawn.

    Args:
        logits: float32 (N, S, K + 1), background first.
        classes: int32 (N, S), 0..K.
        labels: int32 (N, S).

    Returns:
        float32 scalar.
    """
    used = ops.cast(labels >= 0, "float32")
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    chosen = take_rows_of_each(log_probs, classes[..., None])[..., 0]
    return -ops.sum(chosen * used) / _at_least_one(used)


def mask_loss(logits, targets, labels):
    """Mean binary cross-entropy over the pixels of the objects' masks.

    Reference:
        He et al., 2017, Mask R-CNN, section 3: only the mask of the object's own class counts.

    Args:
        logits: float32 (N, F, h, w), those of the object's class.
        targets: float32 (N, F, h, w), within 0..1.
        labels: int32 (N, F).

    Returns:
        float32 scalar.
    """
    positive = ops.cast(labels == 1, "float32")
    losses = ops.mean(_cross_entropy(logits, targets), axis=(2, 3))
    return ops.sum(losses * positive) / _at_least_one(positive)


def _cross_entropy(logits, truth):
    """Binary cross-entropy of logits, in the form that cannot overflow; its slope is right at 0 too."""
    logits, truth = ops.cast(logits, "float32"), ops.cast(truth, "float32")
    return ops.softplus(logits) - logits * truth


def _at_least_one(weights):
    return ops.maximum(ops.sum(weights), 1.0)
