"""Data sets of image files with lists of annotated objects; masks of classes are painted from the objects."""

from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.data.image_files import read_header, read_image
from keras_seg.data.source import Source
from keras_seg.utils.palette import class_colors

# Of 8 bits by their formats, so that their headers need no look: a large set is opened at once.
_PLAIN_SUFFIXES = (".jpg", ".jpeg", ".bmp", ".webp")
_MOST_CLASSES = 255
_PALETTE = 256


class AnnotationSource(Source):
    """Base of formats whose truth is a list of objects. Subclasses define `_read_layers(row, problems)`.

    Masks of classes have 0 for background and k + 1 for object class k, later objects over earlier ones.

    Args:
        name: str. The format.
        image_paths: sequence of Path.
        ids: sequence of str, unique.
        object_names: sequence of str, without background.
        ignore_class: int or None. The class id of layers with the label -1.
        sizes: sequence of (height, width) or None, as the annotations have them.
    """

    masks_from_objects = True

    def __init__(self, name, image_paths, ids, object_names, ignore_class=None, sizes=None):
        deep = [path for path in image_paths if path.suffix.lower() not in _PLAIN_SUFFIXES]
        with ThreadPool(4) as pool:
            is_deep = any(pool.imap_unordered(_is_deep, deep, chunksize=64))
        super().__init__(
            name,
            ids,
            ("background", *object_names),
            channels=3,
            dtype="float32" if is_deep else "uint8",
            ignore_class=ignore_class,
            colors=_colors(1 + len(object_names)),
            image_paths=image_paths,
        )
        self._sizes = sizes
        self._object_names = tuple(object_names)

    @property
    def object_names(self):
        return self._object_names

    def _read(self, row):
        if self.num_classes > _MOST_CLASSES:
            raise DataError(
                f"{self._all_paths[row]}: {self.num_classes - 1} classes make no mask of 8 bits, which holds "
                f"{_MOST_CLASSES - 1}. Train on the objects, or keep fewer categories."
            )
        image = self._read_image(row)
        layers = self._checked_layers(row)
        values = layers.labels + 1
        if self.ignore_class is not None:
            values[layers.labels < 0] = self.ignore_class
        return image, layers.paint(values, "uint8", image.shape[:2])

    def _read_instances(self, row):
        size = self._size(row) or self._read_image(row).shape[:2]
        layers = self._checked_layers(row)
        return layers.take(layers.labels >= 0).id_map(size)

    def _read_objects(self, row, problems):
        image = self._read_image(row)
        layers = self._read_layers(row, problems)
        return image, layers.take(layers.labels >= 0)

    def _read_layers(self, row, problems):
        """Objects in the order of painting, with the label -1 for what is to be ignored; a line in `problems`
        for each that cannot be used."""
        raise NotImplementedError

    def _checked_layers(self, row):
        problems = []
        layers = self._read_layers(row, problems)
        if problems:
            raise DataError("\n".join(problems))
        return layers

    def _read_image(self, row):
        path, size = self._all_paths[row], self._size(row)
        image = read_image(path, self.channels).astype(self.dtype, copy=False)
        if size is not None and image.shape[:2] != size:
            raise DataError(
                f"{path} is {image.shape[0]} x {image.shape[1]} pixels (height x width), its annotations are "
                f"for {size[0]} x {size[1]}. Use the image that was annotated, or correct the size there."
            )
        return image

    def _size(self, row):
        return self._sizes and self._sizes[row]


def unique_ids(paths):
    """A name for each path: its stem, or where stems repeat the path without its suffix."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [str(Path(path).with_suffix("")) for path in paths]


def _colors(count):
    """Colours of any number of classes: of more than a palette has, some are the same."""
    return np.resize(class_colors(min(count, _PALETTE)), (count, 3))


def _is_deep(path):
    try:
        return read_header(path).dtype == "float32"
    except (DataError, OSError):
        return False
