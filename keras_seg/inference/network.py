"""A semantic network as inference sees it: which sizes it takes, how much border it eats, and how it is run.

Nothing is known about the architecture beforehand: the border and the pooling stride of a valid network are
found by asking `model.compute_output_shape` about a range of sizes, which costs no computation on images.
"""

import keras
import numpy as np

from keras_seg.utils.validation import bad_argument

# Pooling grids of every network here repeat after 32 pixels or a divisor of it (five halvings).
GRID = 32


class SemanticNetwork:
    """Wraps a model with images (N, H, W, C) in and logits (N, h, w, K) out.

    Attributes:
        channels: int. C.
        num_classes: int. K. A single class stands for a binary network whose probability is a sigmoid.
        static_size: (H, W) of a network built for one size, None for one with free height and width.
        takes_any_size: bool. True if height and width are free and the output is as large as the input.

    Raises:
        ValueError: the model has more than one input or output, or does not map images to maps.
    """

    def __init__(self, model):
        shapes = [getattr(model, f"{side}_shape", None) for side in ("input", "output")]
        if not all(isinstance(s, tuple) and len(s) == 4 and s[-1] is not None for s in shapes):
            raise bad_argument(
                "model",
                "a network with one input (N, H, W, C) and one output (N, h, w, num_classes)",
                model,
                f"Its shapes are {shapes[0]} and {shapes[1]}.",
            )
        self.model = model
        self.channels = shapes[0][3]
        self.num_classes = shapes[1][3]
        static = shapes[0][1:3]
        self.static_size = None if None in static else static
        # Two neighbouring sizes: a valid network refuses one of them or shrinks both.
        self.takes_any_size = not self.static_size and all(
            self.margin((side, side)) == (0, 0) for side in (256, 257)
        )

    @property
    def takes_quarter_turns(self):
        """Whether an image turned by 90 degrees still fits the network."""
        return self.static_size is None or self.static_size[0] == self.static_size[1]

    def margin(self, size):
        """Rows and columns lost between an input of `size` and its output; None for a refused size."""
        try:
            _, height, width, _ = self.model.compute_output_shape((1, *size, self.channels))
        except ValueError:
            return None
        if min(height, width) < 1:
            return None
        return size[0] - height, size[1] - width

    def valid_sizes(self, near):
        """The square sizes that lose least, around `near`: (sizes, margin, stride) of a free network.

        Sizes between them are refused, or lose more because a pooling rounds down there: tiles of such a
        size could not be laid on one pooling grid. The distance between two good sizes is the stride of that
        grid.
        """
        margins = {n: self.margin((n, n)) for n in range(max(1, near - GRID), near + GRID + 1)}
        margins = {n: both[0] for n, both in margins.items() if both}
        if not margins:
            raise bad_argument(
                "tile_size", "a size that the network takes", near, f"None within {GRID} pixels of it is."
            )
        least = min(margins.values())
        sizes = [n for n, margin in margins.items() if margin == least]
        steps = set(np.diff(sizes).tolist())
        if least % 2 or len(steps) != 1:
            raise bad_argument(
                "model",
                f"a network that loses the same border on all sides, with a stride of at most {GRID}",
                self.model.name,
                f"Near {near} pixels it takes the sizes {sizes} and loses {least} pixels.",
            )
        return sizes, least, steps.pop()

    def logits(self, images):
        """Run one batch: array (N, H, W, C) -> float32 array (N, h, w, K)."""
        outputs = self.model.predict_on_batch(np.asarray(images, "float32"))
        return np.asarray(outputs, "float32")

    def probabilities(self, images):
        """Run one batch: array (N, H, W, C) -> float32 array (N, h, w, K), softmax over the classes."""
        activation = keras.ops.sigmoid if self.num_classes == 1 else keras.ops.softmax
        return keras.ops.convert_to_numpy(activation(self.logits(images)))


def classes_from_probabilities(probabilities):
    """Class ids of probabilities (..., K): uint8, or uint16 beyond 256 classes.

    For K = 1, a binary network, the class is 1 where the probability is at least 0.5.
    """
    num_classes = probabilities.shape[-1]
    if num_classes == 1:
        return (probabilities[..., 0] >= 0.5).astype("uint8")
    return probabilities.argmax(-1).astype(class_dtype(num_classes))


def class_dtype(num_classes):
    """The smallest unsigned type that holds the ids of `num_classes` classes."""
    return "uint8" if num_classes <= 256 else "uint16"
