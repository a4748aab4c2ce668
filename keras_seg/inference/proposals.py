"""Instance-wise segmentation: a network run on crops around object proposals, its scores pasted together.

H. Noh, S. Hong and B. Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015, section
3.3. Small objects fill their crops, so the network sees them as large as others.
"""

import numpy as np

from keras_seg.data.box_crops import crop_box
from keras_seg.data.proposals import propose
from keras_seg.inference.network import SemanticNetwork, classes_from_probabilities
from keras_seg.utils.progress import progress_bar
from keras_seg.utils.validation import bad_argument, check_choice, check_integer

# The crops of a network that was built for free sizes: DeconvNet's.
_CROP_SIZE = (224, 224)


def predict_proposals(
    model,
    image,
    proposals="selective_search",
    *,
    aggregate="max",
    output="probabilities",
    batch_size=8,
    progress=False,
    **propose_options,
):
    """Segment an image by its object proposals.

    Each box is cut out, resized to the network's size and run; its scores are resized back to the box and
    aggregated with those of the others, pixel by pixel and class by class; then the softmax is taken. Boxes
    may reach over the border: the network sees black there. A pixel that no box covers is background, class
    0, for certain.

    Args:
        model: a semantic keras.Model, (N, H, W, C) in, logits (N, H, W, K) out, such as DeconvNet. Crops have
            its own size, or 224 x 224 for one with free sides.
        image: array (H, W, C), 0..255, of any real dtype.
        proposals: "selective_search", "edge_boxes" (with `model_file`), a callable from the image to boxes
            (P, 4), or the boxes, xyxy in pixels. See `keras_seg.data.propose`, which makes them.
        aggregate: "max": the largest score, and at least 0 where a box does not cover the pixel, which the
            paper's experiments use; or "mean": of the scores of the boxes that cover the pixel.
        output: "probabilities" (default), float32 (H, W, K); "logits", the aggregated scores; or "classes",
            (H, W), uint8, or uint16 beyond 256 classes.
        batch_size: int. Crops run at once.
        progress: bool. Show crops done and time left when on a terminal.
        **propose_options: of `keras_seg.data.propose`: `count`, `enlarge`, `min_side` and others.

    Returns:
        Array, as `output` says.

    Raises:
        ValueError: an image of other channels than the model's, boxes that are not (P, 4), a network of a
            single class or whose output is smaller than its input.

    Example:

        >>> classes = predict_proposals(model, photo, count=50, output="classes")
    """
    check_choice("aggregate", aggregate, ("max", "mean"))
    check_choice("output", output, ("probabilities", "logits", "classes"))
    check_integer("batch_size", batch_size)
    network = SemanticNetwork(model)
    if network.num_classes < 2:
        raise bad_argument("model", "a network of at least two classes, one of them background", model.name)
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != network.channels:
        raise bad_argument("image", f"an image (H, W, {network.channels})", image.shape)
    if image.dtype != np.uint8:
        image = image.astype("float32")
    boxes = _boxes(proposals, image, propose_options)
    canvas = ScoreCanvas(image.shape[:2], network.num_classes, aggregate)
    with progress_bar(disable=not progress) as bar:
        task = bar.add_task("Proposals", total=len(boxes))
        for first in range(0, len(boxes), batch_size):
            some = boxes[first : first + batch_size]
            for box, scores in zip(some, run_crops(network, image, some, batch_size), strict=True):
                canvas.add(box, scores)
            bar.advance(task, len(some))
    logits = canvas.scores()
    if output == "logits":
        return logits
    probabilities = _softmax(logits)
    return classes_from_probabilities(probabilities) if output == "classes" else probabilities


def run_crops(network, image, boxes, batch_size):
    """The network's scores of the crops in boxes.

    Args:
        network: SemanticNetwork.
        image: array (H, W, C).
        boxes: array (P, 4), P at most `batch_size`.
        batch_size: int. The batch is filled up to it, for one of another size would be compiled anew.

    Returns:
        float32 array (P, h, w, K).
    """
    size = network.static_size or _CROP_SIZE
    crops = np.zeros((batch_size, *size, image.shape[-1]), "float32")
    for crop, box in zip(crops, boxes, strict=False):
        crop[...] = crop_box(image, box, size)
    scores = network.logits(crops)[: len(boxes)]
    if scores.shape[1:3] != tuple(size):
        raise bad_argument("model", "a network with outputs of its inputs' size", scores.shape[1:3])
    return scores


class ScoreCanvas:
    """Scores of the boxes of one image, gathered pixel by pixel.

    Memory: (K + 1) x 4 bytes a pixel.

    Args:
        size: (H, W) of the image.
        num_classes: int. K.
        aggregate: "max" or "mean".
    """

    def __init__(self, size, num_classes, aggregate):
        self._mean = aggregate == "mean"
        self._total = np.zeros((*size, num_classes), "float32")
        self._covered = np.zeros(size, "int32")
        self._boxes = 0

    def add(self, box, scores):
        """Add one box's scores (h, w, K), resized bilinearly to the box."""
        rows, columns = (
            _pixels_in(low, high, length)
            for low, high, length in zip((box[1], box[0]), (box[3], box[2]), self._covered.shape, strict=True)
        )
        self._boxes += 1
        if not len(rows) or not len(columns):
            return
        scores = _interpolated(scores, rows, box[1], box[3], axis=0)
        scores = _interpolated(scores, columns, box[0], box[2], axis=1)
        region = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        first = (self._covered[region] == 0)[..., None]
        if self._mean:
            self._total[region] += scores
        else:
            self._total[region] = np.where(first, scores, np.maximum(self._total[region], scores))
        self._covered[region] += 1

    def scores(self):
        """float32 (H, W, K); where nothing was added, 0 for class 0 and -infinity for the others."""
        if self._mean:
            total = self._total / np.maximum(self._covered, 1)[..., None]
        else:
            # A box that does not cover a pixel scores 0 there.
            partly = (self._covered < self._boxes)[..., None]
            total = np.where(partly, np.maximum(self._total, 0), self._total)
        background = np.full(total.shape[-1], -np.inf, "float32")
        background[0] = 0
        return np.where((self._covered > 0)[..., None], total, background)


def _boxes(proposals, image, options):
    if isinstance(proposals, str):
        boxes = propose(image, proposals, **options)
    elif options:
        raise bad_argument(
            "propose_options", "none where `proposals` are boxes or a callable", sorted(options)
        )
    else:
        boxes = proposals(image) if callable(proposals) else proposals
    boxes = np.asarray(boxes, "float32")
    boxes = boxes.reshape(-1, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[-1] != 4:
        raise bad_argument("proposals", "boxes (P, 4)", boxes.shape)
    return boxes


def _pixels_in(low, high, length):
    """Indices of the pixels whose centres lie within low..high and on the image."""
    return np.arange(max(0, int(np.ceil(low - 0.5))), min(length, int(np.ceil(high - 0.5))))


def _interpolated(scores, pixels, low, high, axis):
    """Scores at the centres of image pixels, along one axis; half-pixel centres, the edge's value beyond."""
    length = scores.shape[axis]
    places = ((pixels + 0.5 - low) * (length / (high - low)) - 0.5).clip(0, length - 1)
    before = np.floor(places).astype(int)
    shape = [1] * scores.ndim
    shape[axis] = -1
    part = (places - before).astype("float32").reshape(shape)
    near, far = (scores.take(index, axis=axis) for index in (before, np.minimum(before + 1, length - 1)))
    return near + (far - near) * part


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
