"""Softmax cross-entropy with an ignored id, class weights and per-pixel weights; also in U-Net's own form."""

import keras
from keras import ops

from keras_seg.losses.ignoring import PixelLoss


@keras.saving.register_keras_serializable(package="keras_seg")
class CrossEntropy(PixelLoss):
    """Softmax cross-entropy of integer class ids and logits, in float32.

    With the weight `w(x) = class_weights[y(x)] * sample_weight(x)`, 1 where neither is given, and the true
    class's probability `p(x)`, over the pixels x that are not ignored:

    - `reduction="mean"`: `sum(-w log p) / (number of those pixels)`. Weights scale and are not divided out
      again, as in Keras; PyTorch divides by the sum of class weights instead.
    - `reduction="sum"`: `sum(-w log p)`, the energy of the U-Net paper and the unnormalised loss of FCN's
      solvers. Its gradient grows with the image, so learning rates are those papers' (1e-10 in FCN's).
    - `reduction="none"`: the map `-w log p`, (N, H, W), 0 at ignored pixels.

    A batch in which every pixel is ignored has the loss 0 and a gradient of 0.

    Beside `keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=...)`, with which it
    agrees for weights (N, H, W) on all backends, it also takes class weights (`fit(class_weight=...)` fails
    on maps of ids) and weights per image (N,), which Keras multiplies along the width: an error for most
    sizes, and a wrong loss on TensorFlow and JAX where W == N.

    References:
        Ronneberger, Fischer, Brox, 2015, U-Net, equations 1 and 2 (their sign is a
        slip: energy is minimised).
        Long, Shelhamer, Darrell, 2015, Fully Convolutional Networks, section 4.3.

    Args:
        ignore_class: int or None (default). Pixels with this id count nowhere; it may lie outside 0..K-1.
        class_weights: sequence of K floats, each at least 0, or None (default).
        reduction: "mean" (default), "sum" or "none".
        name: str.

    Call arguments:
        y_true: class ids (N, H, W) or (N, H, W, 1), integers, 0..K-1 or `ignore_class`. Another id is an
            error on TensorFlow and PyTorch on CPU and undefined elsewhere: data readers check ids before
            training.
        y_pred: logits (N, H, W, K), any float type.
        sample_weight: None, (N,) per image, or (N, H, W) or (N, H, W, 1) per pixel.

    Returns:
        float32 scalar, or (N, H, W) for "none".

    Raises:
        ValueError: an unknown reduction, a negative class weight, a number of class weights that is not K, or
            one-hot `y_true`.

    Example:
        >>> model.compile("adam", CrossEntropy(ignore_class=255))
        >>> model.fit(images, masks, sample_weight=border_weights)
    """

    def __init__(self, ignore_class=None, class_weights=None, reduction="mean", name="cross_entropy"):
        super().__init__(ignore_class, class_weights, reduction, name)

    def call(self, y_true, y_pred):
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    def get_config(self):
        return {**super().get_config(), "class_weights": self.class_weights}
