"""Cell nuclei with instances, as a semantic task: background, inside, and the border that keeps them apart.

A network of three classes gives instances back: components of "inside", grown into "border". Source of the
data: 2018 Data Science Bowl, Caicedo et al. 2019, doi 10.1038/s41592-019-0612-7.
"""

from pathlib import Path

import numpy as np

from keras_seg.data.class_table import ClassTable
from keras_seg.data.errors import DataError
from keras_seg.data.file_source import FileSource, check_sizes, list_images, missing_mask, pair_files
from keras_seg.data.image_files import read_mask
from keras_seg.data.objects import Objects
from keras_seg.data.path_options import split_options
from keras_seg.utils.validation import check_integer

BACKGROUND, INSIDE, BORDER = range(3)
BORDER_WIDTH = 2
_COLORS = ((0, 0, 0), (70, 130, 220), (250, 190, 30))
_TABLE = ClassTable(("background", "inside", "border"), colors=_COLORS)
_TABLE_WITHOUT_BORDER = ClassTable(("background", "nucleus"), colors=_COLORS[:2])


class NucleiSource(FileSource):
    """Images with instance maps, one 16-bit file each; masks are made of them by `semantic_target`."""

    def __init__(self, name, pairs, border=BORDER_WIDTH):
        self._border = check_integer("border", border, 0)
        super().__init__(name, pairs, _TABLE if border else _TABLE_WITHOUT_BORDER, channels=3)

    def _read_mask(self, path):
        return semantic_target(self._read_instance_map(path), self._border)

    def _read_instances(self, row):
        image, path = self._pairs[row]
        if path is None:
            raise DataError(missing_mask(image))
        return self._read_instance_map(path)

    @property
    def object_names(self):
        return ("nucleus",)

    def _read_objects(self, row, problems):
        image_path, path = self._pairs[row]
        image, instances = self._read_image(row), self._read_instances(row)
        check_sizes(image, image_path, instances, path)
        return image, Objects.from_id_map(instances)

    def cells(self, index, mask):
        """The insides of the nuclei: their rims keep them apart where they touch."""
        return np.where(mask == INSIDE, self.read_instances(index), 0)

    def _read_instance_map(self, path):
        instances = read_mask(path)
        if instances.ndim != 2 or instances.min() < 0 or instances.max() > 65535:
            raise DataError(f"{path} is not a map of instances. Save ids, 0 for background, as 16-bit PNG.")
        return instances.astype("uint16")


class KaggleNucleiSource(NucleiSource):
    """The challenge's own layout: a folder of masks for each image, with one file for each nucleus."""

    def _read_objects(self, row, problems):
        image_path, folder = self._pairs[row]
        image, masks, origins = self._read_image(row), [], []
        for file, nucleus in _nuclei(folder):
            check_sizes(image, image_path, nucleus, file)
            rows, columns = (np.nonzero(nucleus.any(axis=axis))[0] for axis in (1, 0))
            if not len(rows):
                problems.append(f"{file} has no nucleus, only zeros. Draw it, or remove the file.")
                continue
            # Cut and copied, not to hold hundreds of masks of the whole image.
            masks.append(nucleus[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy())
            origins.append((rows[0], columns[0]))
        return image, Objects.from_masks(masks, origins)

    def _read_instance_map(self, path):
        instances = None
        for number, (_, nucleus) in enumerate(_nuclei(path), start=1):
            if instances is None:
                instances = np.zeros(nucleus.shape, "uint16")
            # The first of two nuclei that overlap keeps the pixel.
            instances[nucleus & (instances == 0)] = number
        return instances


def _nuclei(path):
    """Each file of a folder of masks, and its mask, bool (H, W); all of one size."""
    if not path.is_dir():
        raise DataError(
            f"{path.parent} has no mask: there is no folder {path}. Add it, with one file for each "
            "nucleus, or remove the image."
        )
    size = None
    for file in list_images(path):
        nucleus = read_mask(file)
        if nucleus.ndim == 3:
            nucleus = nucleus[..., 0]
        size = size or nucleus.shape
        if nucleus.shape != size:
            raise DataError(
                f"{file} is {nucleus.shape[0]} x {nucleus.shape[1]} pixels (height x width), the masks "
                f"beside it are {size[0]} x {size[1]}. All must have one size."
            )
        yield file, nucleus > 0


def open_nuclei(path, border=BORDER_WIDTH):
    """Open FOLDER/images and FOLDER/instances: 16-bit PNG of instance ids with 0 for background.

    `FOLDER,border=0` makes two classes of them, background and nucleus; another number is the border's width.
    """
    path, border = _path_and_border(path, "nuclei", border)
    return NucleiSource("nuclei", pair_files(path / "images", path / "instances"), border)


def open_kaggle_nuclei(path, border=BORDER_WIDTH):
    """Open FOLDER/ID/images/*.png with FOLDER/ID/masks/*.png, one for each nucleus; see `open_nuclei`."""
    path, border = _path_and_border(path, "kaggle-nuclei", border)
    if not path.is_dir():
        raise DataError(f"There is no folder {path}. Check the path.")
    pairs = []
    for item in sorted(folder for folder in path.iterdir() if (folder / "images").is_dir()):
        pairs += [(image, item / "masks") for image in list_images(item / "images")]
    if not pairs:
        raise DataError(f"{path} is empty: it has no folder ID with ID/images and ID/masks in it.")
    return KaggleNucleiSource("kaggle-nuclei", pairs, border)


def _path_and_border(text, name, border):
    path, options = split_options(str(text), name, {"border": int})
    return Path(path), options.get("border", border)


def semantic_target(instances, border=BORDER_WIDTH):
    """Class ids from instance ids: 0 background, 1 inside, 2 border.

    The border is the outer rim of each nucleus itself, `border` pixels wide: pixels within that many steps
    (sideways, up, down or diagonal) of the background or of another nucleus, so two that touch get a border
    of twice the width between them. The edge of the image is no border. A nucleus too small to have an inside
    keeps the pixels that the last step would have taken from it, so that none is lost.

    Args:
        instances: integer array (H, W), 0 for background.
        border: int. Width of the rim in pixels; 0 for none, so that all of a nucleus is inside.

    Returns:
        uint8 array (H, W).
    """
    from scipy import ndimage

    inside = np.array(instances)
    for _ in range(border):
        lowest = ndimage.minimum_filter(inside, 3, mode="nearest")
        highest = ndimage.maximum_filter(inside, 3, mode="nearest")
        kept = np.where(lowest == highest, inside, 0)
        lost = np.bincount(inside.ravel()).astype(bool)
        lost[np.unique(kept)] = False
        inside = np.where(lost[inside], inside, kept)
    return np.where(instances == 0, BACKGROUND, np.where(inside > 0, INSIDE, BORDER)).astype("uint8")
