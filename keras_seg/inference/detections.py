"""Instances found in images of any size: boxes and masks in each image's own pixels."""

import dataclasses

import numpy as np

from keras_seg.data.letterbox import Letterbox
from keras_seg.data.run_lengths import mask_to_rle
from keras_seg.inference.detector import Detector
from keras_seg.inference.mask_pasting import PastedMasks
from keras_seg.utils.validation import bad_argument, check_integer, check_number

_MOST_IDS = 65535


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image, the highest score first.

    Attributes:
        boxes: float32 (D, 4), xyxy in pixels of the image, clipped to it.
        labels: int32 (D,), 0..classes-1; objects only, so 0 is no background.
        scores: float32 (D,), within 0..1.
        masks: sequence of D bool arrays, each cut to where its object may be. Pasted when asked for, see
            `keras_seg.inference.mask_pasting.PastedMasks`.
        origins: int64 (D, 2), (top, left) of each mask in the image.
        image_size: (height, width), pixels.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: PastedMasks
    origins: np.ndarray
    image_size: tuple

    def __len__(self):
        return len(self.labels)

    def above(self, score):
        """The detections of at least this score."""
        kept = np.nonzero(self.scores >= score)[0]
        masks = self.masks.take(kept)
        return Detections(
            self.boxes[kept], self.labels[kept], self.scores[kept], masks, masks.origins, self.image_size
        )

    def full_mask(self, index):
        """One object's mask at the image's size, bool (H, W)."""
        full = np.zeros(self.image_size, bool)
        self._place(index, full)[...] = self.masks[index]
        return full

    def id_map(self):
        """The map of objects, uint16 (H, W): 0 is background, k + 1 detection k; higher scores on top.

        Raises:
            ValueError: more than 65535 objects.
        """
        if len(self) > _MOST_IDS:
            raise ValueError(f"A map of 16 bits holds {_MOST_IDS} objects; these are {len(self)}.")
        ids = np.zeros(self.image_size, "uint16")
        for index in reversed(range(len(self))):
            self._place(index, ids)[self.masks[index]] = index + 1
        return ids

    def to_rle(self):
        """Compressed run-length encodings of the masks at the image's size, a list of D dicts as pycocotools
        has them. Needs pycocotools."""
        places = zip(self.masks, self.origins, strict=True)
        return [mask_to_rle(mask, origin, self.image_size) for mask, origin in places]

    def _place(self, index, canvas):
        (top, left), (height, width) = self.masks.origins[index], self.masks.sizes[index]
        return canvas[top : top + height, left : left + width]


def predict_instances(model, images, *, batch_size=1, score_threshold=None, mask_threshold=0.5):
    """Find the objects of every image.

    Each image is resized, its shape kept, onto a canvas of the model's input size
    (`keras_seg.data.letterbox`), and what is found there is brought back to the image's own pixels.

    Args:
        model: a detector, such as `mask_rcnn` builds: images (N, H, W, C) of one size in, a dict of boxes,
            labels, scores, masks and num_detections out.
        images: list of arrays (h, w, C), or (h, w) for one channel, of any sizes, uint8 or float32, 0..255;
            or one array (N, h, w, C).
        batch_size: int, default 1. Images run at once.
        score_threshold: float or None. Detections of lower scores are dropped; None keeps what the model
            gives.
        mask_threshold: float, default 0.5. Pixels of at least this probability belong to the object.

    Returns:
        list of Detections, in the order of `images`.

    Raises:
        ValueError: a model that is no detector, an image of other channels than the model's.

    Example:

        >>> found = predict_instances(model, [read_image("street.jpg")], score_threshold=0.5)[0]
        >>> save_png("street-objects.png", found.id_map())
    """
    batch_size = check_integer("batch_size", batch_size)
    least = 0.0 if score_threshold is None else check_number("score_threshold", score_threshold, 0, 1)
    detector = Detector(model)
    images = [_checked(image, detector.channels) for image in images]
    found = []
    for first in range(0, len(images), batch_size):
        some = images[first : first + batch_size]
        letterboxes = [Letterbox(image.shape[:2], detector.input_size) for image in some]
        canvases = [letterbox.image(image) for letterbox, image in zip(letterboxes, some, strict=True)]
        # The last batch is filled up: another size would compile the model once more.
        missing = batch_size - len(some) if first else 0
        rows = detector.detect(np.stack(canvases + missing * canvases[:1]))
        found += [
            _in_image(row, letterbox, least, mask_threshold)
            for row, letterbox in zip(rows, letterboxes, strict=False)
        ]
    return found


def _in_image(rows, letterbox, least, mask_threshold):
    """One image's rows of `Detector.detect`, above a score, in the image's own pixels."""
    height, width = letterbox.image_size
    scale_y, scale_x = letterbox.scale
    # Masks span the boxes as they were found, also where those reach beyond the image into the padding.
    whole = rows["boxes"] / np.array([scale_x, scale_y, scale_x, scale_y], "float32")
    boxes = whole.clip(0, np.array([width, height, width, height], "float32"))
    kept = (rows["scores"] >= least) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    masks = PastedMasks(rows["masks"][kept], whole[kept], letterbox.image_size, mask_threshold)
    return Detections(
        boxes[kept], rows["labels"][kept], rows["scores"][kept], masks, masks.origins, letterbox.image_size
    )


def _checked(image, channels):
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] != channels or 0 in image.shape:
        raise bad_argument("images", f"images (h, w, {channels}), as the model takes them", image.shape)
    # Letterboxes resize in these two.
    return image if image.dtype == np.uint8 else image.astype("float32")
