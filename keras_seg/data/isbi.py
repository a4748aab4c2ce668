"""The ISBI 2012 challenge: membranes in electron microscopy, as PNG folders or the two multi-page TIFFs.

Source: Arganda-Carreras et al. 2015, doi 10.3389/fnana.2015.00142. Masks have 0 for membrane, 255 for cell.
"""

from pathlib import Path

import numpy as np

from keras_seg.data.class_table import ClassTable
from keras_seg.data.errors import DataError
from keras_seg.data.file_source import FileSource, pair_files
from keras_seg.data.image_files import read_bytes
from keras_seg.data.source import Source
from keras_seg.data.tiff_files import stack_pixels

# Black and white, as in the challenge's own label stack.
_TABLE = ClassTable(("membrane", "cell"), colors=((0, 0, 0), (255, 255, 255)))


class StackSource(Source):
    """Slices of two stacks held in memory: images uint8 (N, H, W) and masks of class ids (N, H, W)."""

    def __init__(self, name, images, masks, table):
        ids = [f"{number:02d}" for number in range(len(images))]
        super().__init__(name, ids, table.names, channels=1, colors=table.display_colors)
        self._images = images
        self._masks = masks

    def _read(self, row):
        return self._images[row, ..., None], self._masks[row]

    def _size(self, row):
        return self._images.shape[1:]


def open_isbi(path):
    """Open FOLDER/images and FOLDER/masks, or FOLDER/train-volume.tif and FOLDER/train-labels.tif.

    Class 0 is "membrane", class 1 "cell"; images are grey.
    """
    path = Path(path)
    volume, labels = path / "train-volume.tif", path / "train-labels.tif"
    if not volume.is_file() and not labels.is_file():
        return FileSource("isbi", pair_files(path / "images", path / "masks"), _TABLE, channels=1)
    images, masks = (stack_pixels(read_bytes(file), str(file)) for file in (volume, labels))
    if images.shape != masks.shape:
        raise DataError(
            f"{volume} has the shape {images.shape}, {labels} {masks.shape} (pages, height, width). "
            "Both must have the same pages of the same size."
        )
    if images.dtype != np.uint8:
        raise DataError(f"{volume} has pixels of type {images.dtype}. Save the stack with 8 bits.")
    if masks.dtype == bool:
        masks = masks.astype("uint8")
    ids = np.stack([_TABLE.encode(mask, f"{labels}, page {page}") for page, mask in enumerate(masks)])
    return StackSource("isbi", images, ids, _TABLE)
