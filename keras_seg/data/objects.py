"""The objects of one image: a box, a class and a mask for each, the masks cut to their boxes.

Full-size masks take K x H x W; cut to their boxes they take what the objects themselves do, so that an image
may have ten thousand of them.
"""

import dataclasses
import functools

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.data.run_lengths import mask_from_rle, mask_to_rle
from keras_seg.utils.validation import bad_argument

_MOST_IDS = 65535


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """Boxes, classes and masks of K objects, in the order of the annotations: later ones lie on top.

    `Objects.from_masks` makes them of masks of any extent, `Objects.from_id_map` of a map of ids.

    Args:
        boxes: float32 (K, 4), xyxy in pixels of the image, tight around the masks: x2 is the last column + 1.
        labels: int32 (K,), 0..classes-1; objects only, so 0 is no background.
        crowd: bool (K,). True for regions of many objects (COCO's `iscrowd`), which are no object themselves.
        masks: tuple of K bool arrays, mask k spanning box k.
        origins: int32 (K, 2), (top, left) of each mask in the image.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    masks: tuple
    origins: np.ndarray

    def __len__(self):
        return len(self.masks)

    @property
    def nbytes(self):
        """Bytes of all arrays."""
        arrays = (self.boxes, self.labels, self.crowd, self.origins, *self.masks)
        return sum(array.nbytes for array in arrays)

    @functools.cached_property
    def areas(self):
        """Pixels of each mask, int64 (K,)."""
        return np.array([np.count_nonzero(mask) for mask in self.masks], "int64")

    @classmethod
    def from_masks(cls, masks, origins=None, labels=None, crowd=None):
        """Objects of masks of any extent; each is cut to its tight box.

        Args:
            masks: sequence of K bool arrays (h, w), each with at least one pixel.
            origins: sequence of (top, left), or None: all masks begin at the image's top left.
            labels: sequence of int, or None: all are of class 0.
            crowd: sequence of bool, or None: none is.

        Raises:
            ValueError: a mask without a pixel.
        """
        count = len(masks)
        origins = np.zeros((count, 2), "int32") if origins is None else np.array(origins, "int32")
        origins = origins.reshape(count, 2)
        cut = []
        for number, mask in enumerate(masks):
            rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
            if not len(rows):
                raise bad_argument(f"masks[{number}]", "a mask with at least one pixel", mask.shape)
            part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            cut.append(np.ascontiguousarray(part, bool))
            origins[number] += (rows[0], columns[0])
        sizes = np.array([mask.shape for mask in cut], "int32").reshape(count, 2)
        boxes = np.concatenate([origins[:, ::-1], (origins + sizes)[:, ::-1]], axis=1)
        return cls(
            boxes.astype("float32"),
            np.zeros(count, "int32") if labels is None else np.array(labels, "int32").reshape(count),
            np.zeros(count, bool) if crowd is None else np.array(crowd, bool).reshape(count),
            tuple(cut),
            origins,
        )

    @classmethod
    def from_id_map(cls, ids, labels=None):
        """Objects of a map where each pixel has the number of its object.

        Args:
            ids: integer array (H, W), 0 for background.
            labels: dict of id to class, whose ids alone are taken; or None: all are, of class 0.

        Returns:
            Objects, by ascending id.
        """
        from scipy import ndimage

        numbers, dense = np.unique(ids, return_inverse=True)
        # Boxes are found by dense ids, so that a few large ids cost nothing.
        dense = dense.reshape(ids.shape).astype("int32") + 1
        masks, origins, classes = [], [], []
        for place, slices in enumerate(ndimage.find_objects(dense)):
            number = int(numbers[place])
            if number != 0 and (labels is None or number in labels):
                masks.append(dense[slices] == place + 1)
                origins.append([part.start for part in slices])
                classes.append(0 if labels is None else labels[number])
        return cls.from_masks(masks, origins, classes)

    @classmethod
    def from_rle(cls, encodings, image_size, labels=None, crowd=None):
        """Objects of COCO's run-length encodings, compressed or not.

        Args:
            encodings: sequence of dict with "size" and "counts".
            image_size: (height, width).
            labels, crowd: as for `from_masks`.

        Raises:
            DataError: an encoding that is damaged, empty, or of another size.
        """
        parts = []
        for number, encoding in enumerate(encodings):
            try:
                parts.append(mask_from_rle(encoding, image_size))
            except ValueError as error:
                raise DataError(f"The encoded mask {number} {error}.") from None
            if not parts[-1][0].size:
                raise DataError(f"The encoded mask {number} has no pixel.")
        return cls.from_masks([mask for mask, _ in parts], [place for _, place in parts], labels, crowd)

    def take(self, indices):
        """The objects at `indices`, integers or bool (K,), in that order."""
        indices = np.arange(len(self))[indices]
        return Objects(
            self.boxes[indices],
            self.labels[indices],
            self.crowd[indices],
            tuple(self.masks[index] for index in indices),
            self.origins[indices],
        )

    def full_mask(self, index, image_size):
        """One object's mask at the image's size, bool (H, W)."""
        full = np.zeros(image_size, bool)
        self._place(index, full)[self.masks[index]] = True
        return full

    def id_map(self, image_size):
        """The map of objects, uint16 (H, W): 0 is background, k + 1 object k; later ones hide earlier ones.

        Crowd regions are left out: they are no objects.

        Raises:
            DataError: more than 65535 objects.
        """
        if len(self) > _MOST_IDS:
            raise DataError(f"A map of 16 bits holds {_MOST_IDS} objects; these are {len(self)}.")
        numbers = np.where(self.crowd, 0, np.arange(1, len(self) + 1))
        return self.paint(numbers, "uint16", image_size)

    def class_map(self, image_size):
        """The map of classes, uint8 (H, W): 0 is background, c + 1 class c; later objects hide earlier ones.

        Raises:
            DataError: a class beyond 254.
        """
        if self.labels.max(initial=0) > 254:
            raise DataError(f"A map of 8 bits holds 255 classes; here is class {self.labels.max()}.")
        return self.paint(self.labels + 1, "uint8", image_size)

    def paint(self, values, dtype, image_size):
        """A map with one value for each object, (H, W) of `dtype`, 0 elsewhere.

        Args:
            values: integers (K,); objects with the value 0 are left out. Later objects hide earlier ones.
            dtype: str.
            image_size: (height, width).
        """
        canvas = np.zeros(image_size, dtype)
        for index in np.nonzero(values)[0]:
            self._place(index, canvas)[self.masks[index]] = values[index]
        return canvas

    def to_rle(self, image_size):
        """Compressed run-length encodings of the masks at the image's size, a list of K dicts as pycocotools
        has them. Needs pycocotools."""
        places = zip(self.masks, self.origins, strict=True)
        return [mask_to_rle(mask, origin, image_size) for mask, origin in places]

    def _place(self, index, canvas):
        top, left = self.origins[index]
        height, width = self.masks[index].shape
        return canvas[top : top + height, left : left + width]
