"""Soft Dice loss with an ignored id: one minus the overlap of probabilities and truth, class by class."""

import keras
from keras import ops

from keras_seg.losses.ignoring import IgnoringLoss, split_ignored, spread
from keras_seg.utils.validation import check_number


@keras.saving.register_keras_serializable(package="keras_seg")
class Dice(IgnoringLoss):
    """Soft Dice loss of integer class ids and logits, in float32.

    For one image and class, with softmax probabilities p and truth g (0 or 1), summed over the pixels that
    are not ignored, each with its weight w:

        D = (2 sum(w p g) + smooth) / (sum(w p^2) + sum(w g^2) + smooth)

    The image's loss is 1 - D averaged over the classes that its truth has. "mean" averages over the images
    that have any counted pixel; a batch without one has the loss 0 and a gradient of 0.

    Reference:
        Milletari, Navab, Ahmadi, 2016, V-Net, section 3 (the equation of D, with squares in the denominator).

    Differences from the paper: K softmax classes in place of the foreground alone, and `smooth`. A class that
    an image lacks is left out: counted, it has D near 0 for any probability at all, and a network learns
    never to predict what few images have (of CamVid's classes, bicyclist ended with an IoU of 0.00 and pole
    with 0.05).

    Args:
        ignore_class: int or None (default). Pixels with this id count nowhere.
        smooth: float, at least 0, in pixels, default 1.0. 0 is the paper's equation.
        reduction: "mean" (default), "sum" over images, or "none" for one value an image, (N,).
        name: str.

    Call arguments:
        y_true: class ids (N, H, W) or (N, H, W, 1), integers, 0..K-1 or `ignore_class`.
        y_pred: logits (N, H, W, K), any float type.
        sample_weight: None; (N,), a factor on each image's loss; or (N, H, W), w inside the sums.

    Returns:
        float32 scalar in 0..1 where weights are 1, or (N,) for "none".

    Raises:
        ValueError: an unknown reduction, a negative `smooth`, or one-hot `y_true`.

    Example:
        >>> model.compile("adam", Dice(ignore_class=255))
    """

    def __init__(self, ignore_class=None, smooth=1.0, reduction="mean", name="dice"):
        super().__init__(ignore_class, reduction, name)
        self.smooth = check_number("smooth", smooth, minimum=0)

    def __call__(self, y_true, y_pred, sample_weight=None):
        ids, pixels = split_ignored(y_true, y_pred, self.ignore_class)
        pixel_axes = list(range(1, len(ids.shape)))
        images = ops.max(pixels, axis=pixel_axes)
        image_weights = None
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight)
            if len(sample_weight.shape) == 1:
                image_weights = spread(sample_weight, 1)
            else:
                pixels = pixels * spread(sample_weight, len(ids.shape))
        return self.reduced([ids, pixels], y_pred, images, image_weights)

    def call(self, y_true, y_pred):
        ids, pixels = y_true
        probabilities = ops.softmax(y_pred, axis=-1)
        truth = ops.one_hot(ops.cast(ids, "int32"), y_pred.shape[-1], dtype="float32")
        pixels = ops.expand_dims(pixels, axis=-1)
        pixel_axes = list(range(1, len(y_pred.shape) - 1))
        shared = ops.sum(pixels * probabilities * truth, axis=pixel_axes)
        squares = ops.sum(pixels * (ops.square(probabilities) + truth), axis=pixel_axes)
        # Without smoothing an image with nothing counted would be 0 / 0, with a gradient of NaN.
        overlap = (2.0 * shared + self.smooth) / ops.maximum(squares + self.smooth, keras.config.epsilon())
        present = ops.cast(ops.max(pixels * truth, axis=pixel_axes) > 0, "float32")
        return ops.divide_no_nan(ops.sum(present * (1.0 - overlap), axis=-1), ops.sum(present, axis=-1))

    def get_config(self):
        return {**super().get_config(), "smooth": self.smooth}
