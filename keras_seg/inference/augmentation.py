"""Test-time augmentation: the mean prediction over the flips and quarter turns of an image.

The U-Net paper reports its EM segmentation as the mean over seven rotations of the input (Ronneberger et al.
2015, section 4). Here the transformations are the eight of the square, which move pixels without resampling
them.
"""

import numpy as np

from keras_seg.inference.network import SemanticNetwork
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_rank

AUGMENTATIONS = (None, "mirror", "all")


def test_time_augmentation(model, images, *, flips=True, rotations=True, batch_size=4):
    """Mean class probabilities over the flipped and turned copies of each image.

    Every copy is predicted, its prediction is turned back, and the probabilities are averaged. Quarter turns
    of an image that is not square, or of a network built for one size that is not square, fit only networks
    with free height and width; for others half turns alone are used.

    Args:
        model: a semantic keras.Model, (N, H, W, C) in, logits (N, h, w, K) out; padding="same" or "valid".
        images: array (N, H, W, C), 0..255, uint8 or float32, of a size that the model takes.
        flips: bool. Default True: mirrored copies too.
        rotations: bool. Default True: copies turned by 90, 180 and 270 degrees too. With both, 8 copies.
        batch_size: int. Default 4. Images run at once.

    Returns:
        float32 array (N, h, w, K) of probabilities; for K = 1 they are a sigmoid, else a softmax.

    Raises:
        ValueError: `images` is not (N, H, W, C).

    Example:

        >>> probabilities = test_time_augmentation(model, images)     # (8, 512, 512, 1) -> (8, 512, 512, 2)
        >>> classes = probabilities.argmax(-1)
    """
    network = SemanticNetwork(model)
    images = np.asarray(images)
    check_rank("images", images.shape, 4, "(N, H, W, C)", "Add the missing axes: image[None, :, :, None].")
    if len(images) == 0:
        raise bad_argument("images", "at least one image", f"shape {images.shape}")
    batch_size = min(check_integer("batch_size", batch_size), len(images))
    moves = symmetries(network, flips, rotations)
    parts = []
    for first in range(0, len(images), batch_size):
        batch = images[first : first + batch_size]
        # A last batch of another size would be traced and compiled anew.
        filled = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(batch), axis=0)])
        parts.append(mean_over(moves, network.probabilities, filled)[: len(batch)])
    return np.concatenate(parts)


# The name says test; pytest must not collect it as one.
test_time_augmentation.__test__ = False


def symmetries(network, flips=True, rotations=True):
    """The moves (quarter turns, mirrored) that `network` can take: a group, so no direction is preferred."""
    return _symmetries(rotations and network.takes_quarter_turns, flips, flips or rotations)


def _symmetries(quarter_turns, flips=True, turns=True):
    steps = range(0, 4 if turns else 1, 1 if quarter_turns else 2)
    return [(turn, mirrored) for turn in steps for mirrored in ((False, True) if flips else (False,))]


def moves_for(quarter_turns, augment):
    """The moves that the argument `augment` of the predicting functions means.

    Args:
        quarter_turns: bool. Whether the network takes images turned by 90 degrees.
        augment: None, the image as it is; "mirror", also mirrored left to right, for photographs, which have
            an up and a down; or "all", the eight flips and turns, for microscopy and aerial images.
    """
    if check_choice("augment", augment, AUGMENTATIONS) is None:
        return [(0, False)]
    return [(0, False), (0, True)] if augment == "mirror" else _symmetries(quarter_turns)


def mean_over(moves, predict, images):
    """Mean of `predict` over moved copies of a batch, each answer moved back: (N, H, W, C) -> (N, h, w, K).

    Args:
        moves: list of (quarter turns, mirrored), as `symmetries` gives.
        predict: function, batch of images -> batch of maps at the same place.
        images: array (N, H, W, C).
    """
    total = 0.0
    for move in moves:
        total = total + moved_back(predict(moved(images, move)), move)
    return total / np.float32(len(moves))


def moved(images, move):
    """A batch (N, H, W, ...) mirrored left to right where the move says so, then turned by quarters."""
    turns, mirrored = move
    return np.rot90(images[:, :, ::-1] if mirrored else images, turns, axes=(1, 2))


def moved_back(images, move):
    """The opposite of `moved`."""
    turns, mirrored = move
    images = np.rot90(images, -turns, axes=(1, 2))
    return images[:, :, ::-1] if mirrored else images
