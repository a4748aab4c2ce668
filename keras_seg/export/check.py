"""Compares what a SavedModel answers with what `predict` says, on images of several sizes.

The references are computed by the caller's own backend and by NumPy, with other code than the graph's, so
that an error in either shows.
"""

import dataclasses
import io
import math

import keras
import numpy as np

from keras_seg.export.report import Comparison, ExportError
from keras_seg.ops.fast import on_accelerator
from keras_seg.utils.validation import bad_argument, check_rank

# Half a unit in the last place: the largest relative error of one rounding.
# int8: of its channel's largest weight, which has 127 steps.
_ROUNDOFF = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11, "int8": 2.0**-8}
# Accelerators run float32 convolutions with the 10 fraction bits of TF32, by default on all three backends.
_TF32_ROUNDOFF = 2.0**-11


class SemanticCheck:
    """The questions for a semantic model's SavedModel, and the comparison of its answers.

    Args:
        model: keras.Model of the caller's backend.
        rules: pair of SizeRule, height and width.
        weights: str. How the file stores the weights.
        signatures: names under which the client answers about each batch.
    """

    def __init__(self, model, rules, weights="float32", signatures=("serving_default", "serving_uint8")):
        self._model, self._rules, self._weights = model, rules, weights
        self._signatures = signatures

    def prepare(self, images=None):
        """See `prepare_images`."""
        return prepare_images(self._model, self._rules, images)

    def ask(self, images):
        """Questions for the plain client; the answers that are expected are kept for `compare`."""
        questions, self._batches, self._singles = ask(self._model, self._rules, images)
        return questions

    def compare(self, answers, masks=None):
        """See `compare`; with true masks of the images also the mean IU of both sides."""
        singles = self._singles if "mask_0" in answers else []
        comparison = compare(self._model, answers, self._batches, singles, self._signatures, self._weights)
        if masks is None:
            return comparison
        from keras_seg.export.true_masks import mean_iou_of

        served = [answers[f"{self._signatures[0]}_{i}_logits"] for i in range(len(self._batches))]
        scores = mean_iou_of(masks, self._rules, self._batches, served)
        return dataclasses.replace(comparison, mean_iou=scores)


def prepare_images(model, rules, images=None):
    """The images to compare on, uint8 arrays (h, w, C); by default a photograph, noise and drawn shapes.

    Raises:
        ValueError: `images` has another number of channels, or values outside 0..255.
    """
    channels = model.input_shape[-1]
    if images is None:
        # One size at which a batch is compared, one that is odd; a model of a fixed size gets that as well.
        height, width = (rule.plan(48)[0] for rule in rules)
        size = height, width
        noise = np.random.default_rng(1).integers(0, 256, (*size, channels), dtype="uint8")
        return [_photograph(size, channels), noise, _draw((37, 53), channels)]
    prepared = []
    for image in images:
        image = np.asarray(image)
        check_rank("check_images", image.shape, 3, "(H, W, C) each")
        if image.shape[-1] != channels or not image.size:
            raise bad_argument("check_images", f"images of {channels} channels", image.shape)
        if not (image.min() >= 0 and image.max() <= 255):
            raise bad_argument("check_images", "within 0..255", f"{image.min()} to {image.max()}")
        prepared.append(np.rint(image).astype("uint8"))
    if not prepared:
        raise bad_argument("check_images", "at least one image", images)
    return prepared


def ask(model, rules, images):
    """Questions for the plain client, and the answers that `predict` gives to them.

    Returns:
        (dict of arrays for the client, list of logits per batch, list of logits (h, w, K) per image).
    """
    questions, batches = {}, []
    fitted = [_fit(image.astype("float32"), rules) for image in images]
    singles = [None] * len(images)
    for i, shape in enumerate(dict.fromkeys(image.shape for image in fitted)):
        members = [j for j, image in enumerate(fitted) if image.shape == shape]
        exact = np.stack([fitted[j] for j in members])
        # Whole grey values, so that both dtypes of the signatures can be asked the same. Only a resize gives
        # others, and then the encoded images need a reference of their own.
        whole = np.rint(exact)
        resized = not np.array_equal(whole, exact)
        logits = _predict(model, np.concatenate([whole, exact]) if resized else whole)
        questions[f"batch_{i}"] = whole
        batches.append(logits[: len(members)])
        for j, own in zip(members, logits[-len(members) :], strict=True):
            singles[j] = unfit(own, rules, images[j].shape[:2])
    for i, image in enumerate(images):
        questions[f"bytes_{i}"] = np.frombuffer(encode_png(image), "uint8")
    return questions, batches, singles


def compare(
    model, answers, batches, singles, signatures=("serving_default", "serving_uint8"), weights="float32"
):
    """Compare the plain client's answers with those of `ask`.

    Args:
        model: keras.Model.
        answers: dict of the client's arrays.
        batches, singles: lists of logits, from `ask`.
        signatures: names under which the client has answered about each batch.
        weights: str. How the file stores the weights: "float32", "float16", "bfloat16" or "int8".

    Returns:
        Comparison. A missing answer counts as an infinite difference.
    """
    allowed = tolerance(model, max(float(np.abs(logits).max()) for logits in batches + singles), weights)
    differences, pairs = [], []
    for i, logits in enumerate(batches):
        for name in signatures:
            served = answers[f"{name}_{i}_logits"]
            differences.append(np.abs(served - logits).max() if served.shape == logits.shape else math.inf)
            pairs.append((answers[f"{name}_{i}_classes"], logits))
    if "mask_0" in answers:
        pairs += [(decode_png(answers[f"mask_{i}"]), logits) for i, logits in enumerate(singles)]
    other_class = ties = pixels = 0
    for classes, logits in pairs:
        best, margin = _decide(logits)
        if classes.shape != best.shape:
            raise ExportError(f"A class map has shape {classes.shape} where {best.shape} was expected.")
        wrong = classes != best
        # Both logits may move by the tolerance, towards one another.
        decided = margin > 2 * allowed
        pixels += wrong.size
        other_class += int((wrong & decided).sum())
        ties += int((wrong & ~decided).sum())
    return Comparison(
        images=len(singles) or sum(map(len, batches)),
        sizes=tuple(dict.fromkeys(logits.shape[-3:-1] for logits in singles or batches)),
        # NumPy's max, which keeps a NaN.
        largest_difference=float(np.max(differences)),
        tolerance=allowed,
        pixels=pixels,
        other_class=other_class,
        ties=ties,
        weights=weights,
        agreement=mean_iou(pairs, batches[0].shape[-1]),
    )


def mean_iou(pairs, num_classes):
    """Mean intersection over union of class maps with those of logits, over the classes in either."""
    num_classes = max(num_classes, 2)
    matrix = np.zeros(num_classes**2, "int64")
    for classes, logits in pairs:
        codes = classes.astype("int64").ravel() * num_classes + _decide(logits)[0].ravel()
        matrix += np.bincount(codes, minlength=num_classes**2)[: num_classes**2]
    matrix = matrix.reshape(num_classes, num_classes)
    both, either = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    return float((both[either > 0] / either[either > 0]).mean())


def tolerance(model, scale, weights="float32"):
    """The largest difference of a logit that arithmetic alone explains, for logits up to `scale`.

    A rounding errs by at most half a unit in the last place, u. Over L layers whose errors are independent
    these add up to u * sqrt(L) of the values' scale; four deviations are allowed, and never less than 1e-3,
    which covers the different summation orders of float32 convolutions.
    """
    layers = list(_all_layers(model))
    roundoff = max(_ROUNDOFF.get(layer.compute_dtype, 0.0) for layer in layers)
    roundoff = max(roundoff, _ROUNDOFF[weights])
    if on_accelerator():
        roundoff = max(roundoff, _TF32_ROUNDOFF)
    return max(scale, 1.0) * max(1e-3, 4 * roundoff * math.sqrt(len(layers)))


def _all_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)
        else:
            yield layer


def _predict(model, images):
    logits = np.asarray(model.predict(images, verbose=0), "float32")
    if not np.isfinite(logits).all():
        raise ExportError(
            "`predict` gives NaN or infinite logits on the images of the check: the training has diverged. "
            "Export an earlier checkpoint."
        )
    return logits


def _decide(logits):
    """Class map, and by how much the best logit leads; one channel is a class against its absence."""
    if logits.shape[-1] == 1:
        return (logits[..., 0] >= 0).astype("int32"), np.abs(logits[..., 0])
    highest = np.partition(logits, -2, axis=-1)
    return logits.argmax(-1), highest[..., -1] - highest[..., -2]


def _fit(image, rules):
    """`image` (h, w, C) at a size that the model takes; see `SizeRule.plan`."""
    plans = [rule.plan(size) for rule, size in zip(rules, image.shape, strict=False)]
    image = _resize(image, [content for content, _, _ in plans])
    padding = [(before, after) for _, before, after in plans]
    return np.pad(image, [*padding, (0, 0)], mode="reflect") if np.any(padding) else image


def unfit(logits, rules, size):
    """Logits (h, w, K) of `_fit`'s image, cut and resized to the image's own size."""
    height, width = (rule.plan(side)[0] for rule, side in zip(rules, size, strict=True))
    return _resize(logits[:height, :width], size)


def _resize(image, size):
    size = tuple(size)
    if image.shape[:2] == size:
        return image
    resized = keras.ops.image.resize(image, size, interpolation="bilinear", data_format="channels_last")
    return keras.ops.convert_to_numpy(resized)


def _photograph(size, channels):
    """The cat that comes with scikit-image, its three colours in turn for the channels."""
    from PIL import Image
    from skimage.data import chelsea

    image = np.asarray(Image.fromarray(chelsea()).resize(size[::-1], Image.Resampling.BILINEAR))
    return np.ascontiguousarray(image[..., np.arange(channels) % 3])


def _draw(size, channels):
    """Discs on a gradient: flat parts, edges, and every grey value somewhere."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    image = np.stack([255 * (x + y) / 2] * channels, axis=-1)
    for center_y, center_x, radius in rng.uniform(0.1, 0.9, (5, 3)) * (1, 1, 0.25):
        image[np.hypot(y - center_y, x - center_x) < radius] = rng.uniform(0, 255, channels)
    return image.astype("uint8")


def encode_png(image):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()


def decode_png(encoded):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encoded.tobytes()))).astype("int32")
