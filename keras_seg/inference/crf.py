"""A fully connected CRF after the network: labels that follow the image's edges.

P. Kraehenbuehl and V. Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials",
NIPS 2011, https://arxiv.org/abs/1210.5644.
"""

import numpy as np

from keras_seg.inference.permutohedral import PermutohedralLattice
from keras_seg.utils.validation import bad_argument, check_integer, check_number


def dense_crf(
    probabilities,
    image,
    *,
    iterations=10,
    smooth_sigma=3.0,
    smooth_weight=3.0,
    bilateral_sigma=20.0,
    color_sigma=3.0,
    bilateral_weight=5.0,
):
    """Refine probabilities by the image: pixels that are near, and alike in colour, tend to one class.

    Mean-field steps of a model with two Gaussian kernels between all pairs of pixels, of places alone and of
    places and colours, and a penalty where classes differ (Potts). Kernels are normalized symmetrically.
    Defaults are those of DeconvNet's released code. Time and memory are linear in the pixels: about 40
    bytes x classes a pixel, and see `PermutohedralLattice`.

    Args:
        probabilities: float array (H, W, K), which sum to 1 over the classes.
        image: array (H, W, C) or (H, W), 0..255.
        iterations: int. Mean-field steps.
        smooth_sigma: float, pixels. Standard deviation of the kernel of places.
        smooth_weight: float. Its weight; 0 leaves it out.
        bilateral_sigma: float, pixels. Standard deviation in place of the other kernel.
        color_sigma: float, 0..255. Its standard deviation in colour.
        bilateral_weight: float. Its weight; 0 leaves it out.

    Returns:
        float32 array (H, W, K), probabilities.

    Raises:
        ValueError: sizes that differ, a single class, or an argument out of range.

    Example:

        >>> classes = dense_crf(predict_probabilities(model, [photo])[0], photo).argmax(axis=-1)
    """
    probabilities, image = np.asarray(probabilities, "float32"), np.asarray(image, "float32")
    if probabilities.ndim != 3 or not np.isfinite(probabilities).all() or probabilities.min(initial=0) < 0:
        raise bad_argument("probabilities", "probabilities (H, W, K)", probabilities.shape)
    height, width, num_classes = probabilities.shape
    if num_classes < 2:
        fix = "Give both classes of a binary network: np.concatenate([1 - p, p], axis=-1)."
        raise bad_argument("probabilities", "of at least two classes", probabilities.shape, fix)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[:2] != (height, width):
        raise bad_argument("image", f"an image ({height}, {width}, C), as the probabilities", image.shape)
    check_integer("iterations", iterations, 0)
    smooth_sigma, bilateral_sigma, color_sigma = (
        check_number(name, value, 1e-3, 1e6)
        for name, value in (
            ("smooth_sigma", smooth_sigma),
            ("bilateral_sigma", bilateral_sigma),
            ("color_sigma", color_sigma),
        )
    )
    # x before y, as in the authors' code: the lattice's answers depend a little on the order of the axes.
    places = np.stack(np.mgrid[:height, :width][::-1], axis=-1).reshape(-1, 2)
    colors = image.reshape(len(places), -1)
    kernels = []
    if check_number("smooth_weight", smooth_weight, 0, 1e6):
        kernels.append(_Kernel(places / smooth_sigma, smooth_weight))
    if check_number("bilateral_weight", bilateral_weight, 0, 1e6):
        features = np.concatenate([places / bilateral_sigma, colors / color_sigma], axis=1)
        kernels.append(_Kernel(features, bilateral_weight))
    # A class that the network excludes stays possible, at the smallest normal float32.
    logits = np.log(probabilities.reshape(len(places), num_classes).clip(np.finfo("float32").tiny))
    beliefs = _softmax(logits)
    for _ in range(iterations):
        beliefs = _softmax(logits + sum(kernel.messages(beliefs) for kernel in kernels))
    return beliefs.reshape(height, width, num_classes)


class _Kernel:
    """One Gaussian kernel between all pixels, normalized on both sides, with its weight."""

    def __init__(self, features, weight):
        self._lattice = PermutohedralLattice(features)
        total = self._lattice.filter(np.ones((len(features), 1), "float32"))
        self._norm = 1 / np.sqrt(total + np.float32(1e-20))
        self._weight = np.float32(weight)

    def messages(self, beliefs):
        return self._weight * self._norm * self._lattice.filter(self._norm * beliefs)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
