"""A folder of one's own: FOLDER/images and FOLDER/masks with the same names, classes in classes.json."""

from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from keras_seg.data.class_table import ClassTable, read_class_table
from keras_seg.data.errors import DataError
from keras_seg.data.file_source import FileSource, pair_files
from keras_seg.data.image_files import read_mask

_VOID = 255  # by custom, where no classes.json says otherwise


def open_folder(path):
    """Open a folder with `images/` and `masks/`, paired by name, and perhaps `classes.json`.

    A mask has one value for each pixel (8-bit, 16-bit, palette or 1-bit), or colours that classes.json lists:
    `{"classes": [...], "ignore_index": 255, "colors": [[r, g, b], ...]}`; only "classes" is needed, and a
    plain list of names does too. In a set of two classes, masks of only 0 and 255 are read as 0 and 1.

    Without classes.json all masks are read once: masks of only 0 and 255 (or of 1 bit) make two classes;
    otherwise the classes are 0 to the highest id, and 255 is ignored.
    """
    path = Path(path)
    pairs = pair_files(path / "images", path / "masks")
    file = path / "classes.json"
    table = read_class_table(file) if file.is_file() else _guessed_table(path, pairs)
    return FileSource("folder", pairs, table)


def _guessed_table(path, pairs):
    masks = [mask for _, mask in pairs if mask is not None]
    if not masks:
        raise DataError(f"No image in {path / 'images'} has a mask of its name in {path / 'masks'}.")
    with ThreadPool(4) as pool:
        values = set().union(*pool.imap_unordered(_values, masks))
    if values <= {0, _VOID}:
        return ClassTable(("background", "foreground"))
    highest = max(values - {_VOID})
    if highest > 254:
        raise DataError(
            f"The masks in {path / 'masks'} have values up to {highest}: instance ids, or colours, not class "
            "ids. Use 8-bit class ids, or list the classes in classes.json."
        )
    names = tuple(f"class_{number}" for number in range(max(2, highest + 1)))
    return ClassTable(names, ignore=_VOID if _VOID in values else None)


def _values(path):
    """Distinct values of a mask; none of one that cannot be used, which is reported when it is read."""
    try:
        mask = read_mask(path)
    except DataError:
        return set()
    if mask.ndim == 3 and (mask != mask[..., :1]).any():
        return set()
    return set(np.unique(mask).tolist())
