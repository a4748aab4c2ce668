"""Instances found in images of any size: boxes and masks in each image's own pixels."""

import dataclasses

import numpy as np

from keras_seg.data.letterbox import Letterbox
from keras_seg.data.run_lengths import mask_to_rle
from keras_seg.inference.augmentation import moves_for
from keras_seg.inference.detection_views import found_in_views
from keras_seg.inference.detection_windows import merged, windows_of
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

    def id_map(self, min_visible=0.5):
        """The map of objects, uint16 (H, W): 0 is background, k + 1 detection k; higher scores on top.

        What is mostly hidden under better objects was found twice, and the sliver of it that shows would be
        one more object: it is left out, as in Kirillov et al. 2019, "Panoptic segmentation", section 6.

        Args:
            min_visible: float within 0..1, default 0.5. The least part of a mask that must show; 0 draws all.

        Raises:
            ValueError: more than 65535 objects, or a part outside 0..1.
        """
        check_number("min_visible", min_visible, 0, 1)
        if len(self) > _MOST_IDS:
            raise ValueError(f"A map of 16 bits holds {_MOST_IDS} objects; these are {len(self)}.")
        ids = np.zeros(self.image_size, "uint16")
        for index in range(len(self)):
            draw_below(self._place(index, ids), self.masks[index], index + 1, min_visible)
        return ids

    def to_rle(self):
        """Compressed run-length encodings of the masks at the image's size, a list of D dicts as pycocotools
        has them. Needs pycocotools."""
        places = zip(self.masks, self.origins, strict=True)
        return [mask_to_rle(mask, origin, self.image_size) for mask, origin in places]

    def _place(self, index, canvas):
        (top, left), (height, width) = self.masks.origins[index], self.masks.sizes[index]
        return canvas[top : top + height, left : left + width]


def draw_below(ids, mask, number, min_visible=0.5):
    """Draw an object below those that a map has already, if enough of it shows.

    Args:
        ids: integers (H, W), 0 where nothing is yet. Changed in place.
        mask: bool (H, W), the object's.
        number: int, its id.
        min_visible: float within 0..1, default 0.5. The least part of the mask that must show.
    """
    shows = mask & (ids == 0)
    if np.count_nonzero(shows) >= min_visible * np.count_nonzero(mask):
        ids[shows] = number


def predict_instances(
    model,
    images,
    *,
    batch_size=1,
    score_threshold=None,
    mask_threshold=0.5,
    min_scale=None,
    overlap=0.25,
    window_threshold=0.5,
    augment=None,
):
    """Find the objects of every image.

    Each image is resized, its shape kept, onto a canvas of the model's input size
    (`keras_seg.data.letterbox`), and what is found there is brought back to the image's own pixels. A large
    image shrinks by that, and small objects may be lost in it: with `min_scale` it is seen through
    overlapping windows instead.

    Args:
        model: a detector, such as `mask_rcnn` builds: images (N, H, W, C) of one size in, a dict of boxes,
            labels, scores, masks and num_detections out.
        images: list of arrays (h, w, C), or (h, w) for one channel, of any sizes, uint8 or float32, 0..255;
            or one array (N, h, w, C).
        batch_size: int, default 1. Images run at once.
        score_threshold: float or None. Detections of lower scores are dropped; None keeps what the model
            gives.
        mask_threshold: float, default 0.5. Pixels of at least this probability belong to the object.
        min_scale: float or None. The least factor by which an image may be resized: one that would shrink
            further is cut into windows, each resized by this factor. None, the default: one window always.
        overlap: float within 0..0.9, default 0.25. The part of a window that its neighbour sees too; objects
            larger than that may be found in parts.
        window_threshold: float within 0..1, default 0.5. IoU above which detections of two windows are one
            object, of which the better score stays; and of two copies, of which the mean does.
        augment: None, "mirror" or "all". Each canvas is seen in flipped and turned copies too, two or eight
            in all, and boxes, scores and masks are averaged over them, see
            `keras_seg.inference.detection_views`.

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
    if min_scale is not None:
        check_number("min_scale", min_scale, 1e-3)
    check_number("overlap", overlap, 0, 0.9)
    check_number("window_threshold", window_threshold, 0, 1)
    detector = Detector(model)
    views = moves_for(detector.input_size[0] == detector.input_size[1], augment)
    images = [_checked(image, detector.channels) for image in images]
    windows = [windows_of(image.shape[:2], detector.input_size, min_scale, overlap) for image in images]
    parts = [(number, window) for number, some in enumerate(windows) for window in some]
    rows = [[] for _ in images]
    for first in range(0, len(parts), batch_size):
        some = parts[first : first + batch_size]
        for (number, _), found in zip(
            some, _detect(detector, images, some, batch_size, views, window_threshold), strict=True
        ):
            rows[number].append(found)
    found = []
    for image, some, parts_found in zip(images, windows, rows, strict=True):
        size = image.shape[:2]
        # Of one window the model's own suppression is all that is needed.
        one = (
            parts_found[0] if len(some) == 1 else merged(parts_found, some, size, min_scale, window_threshold)
        )
        found.append(_in_image(one, size, least, mask_threshold))
    return found


def _detect(detector, images, parts, batch_size, views, threshold):
    """Rows of `Detector.detect` for each (number of an image, window), boxes in pixels of the image."""
    crops = [images[number][top:bottom, left:right] for number, (top, left, bottom, right) in parts]
    letterboxes = [Letterbox(crop.shape[:2], detector.input_size) for crop in crops]
    canvases = [letterbox.image(crop) for letterbox, crop in zip(letterboxes, crops, strict=True)]
    # A batch is filled up: another size would compile the model once more.
    filled = np.stack(canvases + (batch_size - len(canvases)) * canvases[:1])
    rows = found_in_views(detector.detect, filled, views, threshold)
    for found, letterbox, (_, window) in zip(rows, letterboxes, parts, strict=False):
        scale_y, scale_x = letterbox.scale
        top, left = window[:2]
        found["boxes"] /= np.array([scale_x, scale_y, scale_x, scale_y], "float32")
        found["boxes"] += np.array([left, top, left, top], "float32")
    return rows[: len(parts)]


def _in_image(rows, image_size, least, mask_threshold):
    """Detections above a score, their boxes clipped to the image."""
    height, width = image_size
    # Masks span the boxes as they were found, also where those reach beyond the image into the padding.
    whole = rows["boxes"]
    boxes = whole.clip(0, np.array([width, height, width, height], "float32"))
    kept = (rows["scores"] >= least) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    masks = PastedMasks(rows["masks"][kept], whole[kept], image_size, mask_threshold)
    return Detections(
        boxes[kept], rows["labels"][kept], rows["scores"][kept], masks, masks.origins, image_size
    )


def _checked(image, channels):
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] != channels or 0 in image.shape:
        raise bad_argument("images", f"images (h, w, {channels}), as the model takes them", image.shape)
    # Letterboxes resize in these two.
    return image if image.dtype == np.uint8 else image.astype("float32")
