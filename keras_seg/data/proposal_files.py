"""Object proposals of a data set in a file: found once, or by another program, and used in every run."""

import json
import zipfile
from pathlib import Path

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.utils.atomic import atomic_file

_SUFFIXES = (".npz", ".json")


def read_proposals(path):
    """Read boxes by image.

    Args:
        path: str or Path of a `.npz` file with one array (P, 4) for each image, or a `.json` file with one
            list of [x1, y1, x2, y2] for each. Names are those of the images' files, without their suffix;
            boxes are xyxy in pixels of the image, the best first.

    Returns:
        dict of str to float32 array (P, 4).

    Raises:
        DataError: the file is absent or not such a file; the message names the image.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise DataError(f"{path} is no file of proposals: its name must end in {' or '.join(_SUFFIXES)}.")
    if not path.is_file():
        raise DataError(f"There is no file {path}. `keras-seg propose --data SPEC --out {path}` makes it.")
    try:
        found = _read(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} must hold an object, image names to lists of boxes.")
    return {name: _boxes(path, name, boxes) for name, boxes in found.items()}


def write_proposals(path, boxes):
    """Write boxes by image, see `read_proposals`; a file that is there is replaced at the end, not before.

    Args:
        path: str or Path, ending in .npz or .json.
        boxes: dict of str to array (P, 4).

    Raises:
        DataError: a name of another ending.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise DataError(f"{path} must end in {' or '.join(_SUFFIXES)} to take proposals.")
    boxes = {name: _boxes(path, name, some) for name, some in boxes.items()}
    with atomic_file(path) as temporary:
        if path.suffix == ".json":
            temporary.write_text(json.dumps({name: some.tolist() for name, some in boxes.items()}))
        else:
            _write_npz(temporary, boxes)


def _write_npz(path, arrays):
    """As `np.savez_compressed`, to which an image called "file" would be an argument of its own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read(path):
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _boxes(path, name, boxes):
    try:
        boxes = np.asarray(boxes, "float32")
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has something else than boxes for {name}: {error}.") from error
    boxes = boxes.reshape(-1, 4) if boxes.size == 0 else boxes
    wrong = boxes.ndim != 2 or boxes.shape[-1] != 4 or not np.isfinite(boxes).all()
    if wrong or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise DataError(
            f"{path} has boxes for {name} that are not [x1, y1, x2, y2] with x1 < x2 and y1 < y2. Convert "
            "them, or leave them out."
        )
    return boxes
