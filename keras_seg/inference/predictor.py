"""Prediction for a list of images of differing sizes: each map at its own image's size."""

import numpy as np

from keras_seg.inference.augmentation import mean_over, moves_for
from keras_seg.inference.crf import dense_crf
from keras_seg.inference.network import SemanticNetwork, classes_from_probabilities
from keras_seg.inference.proposals import predict_proposals
from keras_seg.inference.tiling import predict_tiled
from keras_seg.utils.validation import bad_argument, check_integer

# A 64-filter U-Net's widest maps take 0.27 GB each at this size; larger images are tiled.
WHOLE_IMAGE_PIXELS = 1024 * 1024


def predict_classes(model, images, **options):
    """Class ids of every pixel of every image.

    Args:
        model, images, **options: as for `predict_probabilities`.

    Returns:
        list of arrays (H, W), in the order of `images`: uint8, or uint16 beyond 256 classes.

    Example:

        >>> masks = predict_classes(model, [np.asarray(Image.open(path)) for path in paths])
    """
    return [classes_from_probabilities(p) for p in predict_probabilities(model, images, **options)]


def predict_probabilities(
    model, images, *, batch_size=4, augment=None, proposals=None, aggregate="max", crf=False
):
    """Class probabilities of every pixel of every image.

    A network that takes any size sees each image whole, images of one size together in batches. Images of
    more than 1024 x 1024 pixels, and all images for a network with a fixed size or padding="valid", go
    through `predict_tiled`.

    Args:
        model: a semantic keras.Model, (N, H, W, C) in, logits (N, h, w, K) out.
        images: list of arrays (H, W, C), or (H, W) for one channel, 0..255; or one array (N, H, W, C).
        batch_size: int, default 4. Images, or tiles of one image, run at once.
        augment: None (default), "mirror" or "all". Mean over the image and its mirror image, or over all
            eight flips and quarter turns.
        proposals: None (default): whole images. "selective_search", a callable from an image to boxes, or a
            list of boxes (P, 4) for each image: crops around object proposals, see `predict_proposals`.
        aggregate: "max" (default) or "mean" of the scores of overlapping proposals, see `predict_proposals`.
        crf: bool. Refine the probabilities by a fully connected CRF, see `dense_crf`.

    Returns:
        list of float32 arrays (H, W, K), in the order of `images`.

    Raises:
        ValueError: an image with other channels than the model's; `augment` with `proposals`; not one list
            of boxes for each image.
    """
    check_integer("batch_size", batch_size)
    if proposals is None:
        results = _whole(model, images, batch_size, augment)
    else:
        results = _by_proposals(model, images, batch_size, augment, proposals, aggregate)
    return [dense_crf(p, image) for p, image in zip(results, images, strict=True)] if crf else results


def _by_proposals(model, images, batch_size, augment, proposals, aggregate):
    if augment is not None:
        raise bad_argument("augment", "None with `proposals`", augment)
    images = [_with_channels(image, model.input_shape[-1]) for image in images]
    alike = isinstance(proposals, str) or callable(proposals)
    boxes = [proposals] * len(images) if alike else list(proposals)
    if len(boxes) != len(images):
        raise bad_argument("proposals", f"boxes for each of the {len(images)} images", f"{len(boxes)} lists")
    return [
        predict_proposals(model, image, some, aggregate=aggregate, batch_size=batch_size)
        for image, some in zip(images, boxes, strict=True)
    ]


def _whole(model, images, batch_size, augment):
    network = SemanticNetwork(model)
    moves = moves_for(network.takes_quarter_turns, augment)
    images = [_with_channels(image, network.channels) for image in images]
    results = [None] * len(images)
    for indices in _alike(images, batch_size):
        height, width, _ = images[indices[0]].shape
        if network.takes_any_size and height * width <= WHOLE_IMAGE_PIXELS:
            answers = mean_over(moves, network.probabilities, np.stack([images[i] for i in indices]))
        else:
            answers = [
                predict_tiled(model, images[i], batch_size=batch_size, augment=augment, progress=False)
                for i in indices
            ]
        for index, answer in zip(indices, answers, strict=True):
            results[index] = answer
    return results


def _with_channels(image, channels):
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] != channels or 0 in image.shape:
        raise bad_argument("images", f"images (H, W, {channels}), as the model takes them", image.shape)
    return image


def _alike(images, batch_size):
    """Groups of at most `batch_size` indices of images of one shape."""
    groups = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    for indices in groups.values():
        yield from (indices[first : first + batch_size] for first in range(0, len(indices), batch_size))
