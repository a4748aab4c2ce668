"""A data set as a random-access object: `source.read(i)` gives one image and its mask of class ids.

Every format is a subclass that says how one row is read; slicing, splitting and describing are the same for
all. Reads keep no state, so any number of threads may read at once.
"""

import copy

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.utils.palette import class_colors
from keras_seg.utils.validation import bad_argument, check_number


class Source:
    """Base of all formats. Subclasses define `_read(row)` and, where they can, `_size`,
    `_read_instances`, and `object_names` with `_read_objects(row, problems)`.

    Args:
        name: str. The format, as in "camvid:PATH".
        ids: sequence of str. One name for each item, unique.
        class_names: sequence of str, class 0 first.
        channels: 1 or 3, the images' channels.
        dtype: "uint8" or "float32", the images' dtype.
        ignore_class: int or None. The id of pixels that count nowhere; not one of the classes.
        colors: uint8 (num_classes, 3) or None, which gives `class_colors`.
        image_paths: sequence of Path or None, for data that are no files.

    Attributes:
        drawn: bool. True where images are made by this library, so that nothing in them can be wrong.
        has_background: bool. False where class 0 is a class like the others, as in whole scenes.
        has_crowds: bool. True where some objects are marked as regions of many (COCO's `iscrowd`).
        masks_from_objects: bool. True where masks of classes are painted from annotated objects.
        skips_bad: bool. True where `read_objects` leaves out bad annotations, see `without_bad_objects`.
    """

    drawn = False
    has_background = True
    has_crowds = False
    masks_from_objects = False
    skips_bad = False

    def __init__(
        self,
        name,
        ids,
        class_names,
        *,
        channels=3,
        dtype="uint8",
        ignore_class=None,
        colors=None,
        image_paths=None,
    ):
        self.name = name
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.channels = channels
        self.dtype = dtype
        self.ignore_class = ignore_class
        self.colors = class_colors(self.num_classes) if colors is None else np.asarray(colors, "uint8")
        self._all_ids = tuple(ids)
        self._all_paths = None if image_paths is None else tuple(image_paths)
        self._rows = np.arange(len(self._all_ids))
        if not len(self._rows):
            raise DataError(f"The data `{name}` have no images.")

    def __len__(self):
        return len(self._rows)

    @property
    def ids(self):
        """Names of the items, in order: a list of str."""
        return [self._all_ids[row] for row in self._rows]

    @property
    def image_paths(self):
        """Paths of the image files, in order, or None where the images are not files of their own."""
        return None if self._all_paths is None else [self._all_paths[row] for row in self._rows]

    def read(self, index):
        """One item.

        Returns:
            image: uint8 or float32 (H, W, channels), 0..255.
            mask: uint8 (H, W), class ids.

        Raises:
            DataError: its files are absent, damaged or do not fit one another.
        """
        return self._read(self._rows[index])

    def read_instances(self, index):
        """Instance ids of one item, uint16 (H, W) with 0 for background; None where the format has none."""
        return self._read_instances(self._rows[index])

    @property
    def object_names(self):
        """Names of the objects' classes, a tuple of str without background; () for data without objects."""
        return ()

    @property
    def has_objects(self):
        """True where `read_objects` gives boxes, classes and masks of objects."""
        return bool(self.object_names)

    @property
    def problems(self):
        """What is wrong with the data's files and belongs to no item: a list of str."""
        return []

    def read_objects(self, index, problems=None):
        """The objects of one item.

        Args:
            index: int.
            problems: list or None. A list takes a line for each annotation that cannot be used, which is left
                out; None raises them, unless `skips_bad`.

        Returns:
            image: uint8 or float32 (H, W, channels), 0..255.
            objects: `keras_seg.data.objects.Objects`.

        Raises:
            DataError: the format has no objects, or the item's files are absent, damaged or do not fit.
        """
        if not self.has_objects:
            raise DataError(
                f"The data `{self.name}` have no objects: boxes, classes and masks. Use coco, labelme, "
                "nuclei, kaggle-nuclei, shapes, or voc with SegmentationObject."
            )
        found = []
        image, objects = self._read_objects(self._rows[index], found)
        if problems is not None:
            problems.extend(found)
        elif found and not self.skips_bad:
            raise DataError("\n".join(found))
        return image, objects

    def cells(self, index, mask):
        """The cells of one item, for border weights: integer or bool (H, W), 0 between them; else None.

        Args:
            index: int.
            mask: uint8 (H, W), what `read(index)` gave; used so that nothing is decoded twice.
        """
        instances = self.read_instances(index)
        if instances is None and self.num_classes == 2:
            return mask == 1
        return instances

    def size(self, index):
        """(height, width) of one item without decoding it; None where that cannot be told."""
        return self._size(self._rows[index])

    def subset(self, indices):
        """The same data with only the items at `indices`, a sequence of int, in that order."""
        rows = self._rows[np.asarray(indices, "int64")]
        if not len(rows):
            raise DataError(f"The subset of `{self.name}` is empty; it has {len(self)} items to choose from.")
        chosen = copy.copy(self)
        chosen._rows = rows
        return chosen

    def __getitem__(self, key):
        if not isinstance(key, slice):
            raise TypeError(f"A source takes slices, as in source[0:20]; read(i) reads. Received: {key!r}.")
        return self.subset(np.arange(len(self))[key])

    def split(self, fraction, seed=0):
        """Divide the items at random into two sources that share none.

        Args:
            fraction: float, within (0, 1). The share that is held out, rounded, at least one item.
            seed: int.

        Returns:
            (train, held_out), each in the order of this source.
        """
        check_number("fraction", fraction, 0, 1)
        held_out = max(1, round(len(self) * fraction))
        if held_out >= len(self):
            raise bad_argument(
                "fraction", f"small enough to leave one of {len(self)} items for training", fraction
            )
        order = np.random.default_rng(seed).permutation(len(self))
        return self.subset(np.sort(order[held_out:])), self.subset(np.sort(order[:held_out]))

    def describe(self):
        """One line for people: format, count, channels, classes."""
        names = ", ".join(self.class_names[:12]) + (", ..." if self.num_classes > 12 else "")
        ignored = "" if self.ignore_class is None else f", {self.ignore_class} ignored"
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        return f"{self.name}: {len(self)} images, {channels}, {self.num_classes} classes ({names}){ignored}"

    def _read(self, row):
        raise NotImplementedError

    def _read_instances(self, row):
        return None

    def _read_objects(self, row, problems):
        raise NotImplementedError

    def _size(self, row):
        return None
