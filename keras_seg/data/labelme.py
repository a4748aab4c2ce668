"""labelme: one JSON file of drawn shapes beside each image.

The format: the labelme project on GitHub; shapes are polygons, rectangles, circles and, since version 5.3,
masks. Shapes of one label and one group_id are parts of one object.
"""

import base64
import binascii
import io
import json
from multiprocessing.pool import ThreadPool
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image

from keras_seg.data.annotation_source import AnnotationSource, unique_ids
from keras_seg.data.errors import DataError
from keras_seg.data.file_source import IMAGE_SUFFIXES
from keras_seg.data.objects import Objects
from keras_seg.data.polygons import checked_polygon, circle_polygon, polygon_mask

IGNORED = 255
# labelme's own names for what is no class.
_IGNORE_LABEL = "__ignore__"
_BACKGROUND = "_background_"
_NAME_FILES = ("class_names.txt", "labels.txt")
_AREAS = ("polygon", "rectangle", "circle", "mask")


class LabelmeSource(AnnotationSource):
    """Images with drawn shapes.

    Args:
        files: list of Path, the JSON files.
        contents: list of dict, what is in them, or of str, what is wrong with them.
        names: tuple of str, the classes.
    """

    def __init__(self, files, contents, names):
        self._files = tuple(files)
        self._contents = contents
        self._label_of = {name: label for label, name in enumerate(names)} | {_IGNORE_LABEL: -1}
        ignores = any(
            isinstance(content, dict) and any(shape["label"] == _IGNORE_LABEL for shape in content["shapes"])
            for content in contents
        )
        paths = [_image_path(file, content) for file, content in zip(files, contents, strict=True)]
        super().__init__(
            "labelme",
            paths,
            unique_ids(files),
            names,
            ignore_class=IGNORED if ignores else None,
            sizes=[None if isinstance(content, str) else content["size"] for content in contents],
        )

    def _read_image(self, row):
        if isinstance(self._contents[row], str):
            raise DataError(self._contents[row])
        path = self._all_paths[row]
        if not path.is_file():
            raise DataError(
                f"{self._files[row]} has no image: there is no file {path}. Put it there, correct "
                '"imagePath", or remove the JSON.'
            )
        return super()._read_image(row)

    def _read_layers(self, row, problems):
        if isinstance(self._contents[row], str):
            raise DataError(self._contents[row])
        size = self._sizes[row] or self._read_image(row).shape[:2]
        objects = {}
        for number, shape in enumerate(self._contents[row]["shapes"]):
            try:
                part = self._label(shape), *_shape_mask(shape, size)
                group = _group(shape)
            except ValueError as error:
                problems.append(
                    f"{self._files[row]}: shape {number} ({shape['label']!r}) of the image "
                    f"{self._all_paths[row].name} {error}. Correct it in labelme, or remove it."
                )
                continue
            key = (number,) if group is None else (part[0], group)
            objects.setdefault(key, []).append(part)
        joined = [_union([part[1:] for part in parts]) for parts in objects.values()]
        labels = [parts[0][0] for parts in objects.values()]
        return Objects.from_masks([mask for mask, _ in joined], [place for _, place in joined], labels)

    def _label(self, shape):
        if shape["label"] not in self._label_of:
            known = ", ".join(self.object_names)
            raise ValueError(f"has a label that is not among the classes ({known})")
        return self._label_of[shape["label"]]


def _group(shape):
    group = shape.get("group_id")
    if not isinstance(group, (int, float, str, type(None))):
        raise ValueError("has a group_id that is no number")
    return group


def open_labelme(path):
    """Open a folder with labelme's JSON files beside their images; folders in it are looked through too.

    Classes are the lines of class_names.txt or labels.txt in the folder, or else all labels in alphabetical
    order. `__ignore__` marks pixels that count nowhere (255 in masks of classes, no object), and
    `_background_` is no class. Images without a JSON are not part of the data.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Check the path.")
    files = sorted(file for file in folder.rglob("*.json") if not file.name.startswith("."))
    if not files:
        raise DataError(f"{folder} is empty: it has no labelme file, *.json, in it.")
    with ThreadPool(4) as pool:
        contents = pool.map(_content, files)
    names = _names(folder, contents)
    if not names:
        raise DataError(
            f"The labelme files in {folder} have no shape with a label. Annotate the images first."
        )
    return LabelmeSource(files, contents, names)


def _names(folder, contents):
    file = next((folder / name for name in _NAME_FILES if (folder / name).is_file()), None)
    if file is not None:
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        contents = [content for content in contents if isinstance(content, dict)]
        names = sorted({shape["label"] for content in contents for shape in content["shapes"]})
    return tuple(name for name in names if name not in (_IGNORE_LABEL, _BACKGROUND))


def _content(file):
    """Shapes, image path and size of a file, or what is wrong with it."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        return f"{file} cannot be read as JSON: {error}. Save it again in labelme, or remove it."
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(
        isinstance(shape, dict) and isinstance(shape.get("label"), str) for shape in shapes
    ):
        return f'{file} is no labelme file: it has no "shapes" with labels. Move it elsewhere.'
    size = content.get("imageHeight"), content.get("imageWidth")
    known = all(isinstance(side, int) and side > 0 for side in size)
    # Without "imageData", a copy of the image's file that would take its memory.
    return {"shapes": shapes, "path": content.get("imagePath"), "size": size if known else None}


def _image_path(file, content):
    """The image's path: as the file says, or of the same name beside it."""
    named = content["path"] if isinstance(content, dict) else None
    # Files written on Windows have its separators.
    path = file.parent / PureWindowsPath(named).as_posix() if isinstance(named, str) and named else None
    if path is not None and path.is_file():
        return path
    beside = (file.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
    return next((other for other in beside if other.is_file()), path or file.with_suffix(".jpg"))


def _shape_mask(shape, size):
    """The mask of one shape and its (top, left); a ValueError says what is wrong, as a phrase."""
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind not in _AREAS:
        raise ValueError(f"is a {kind}, which has no area: known are {', '.join(_AREAS)}")
    if kind == "mask":
        mask, origin = _stored_mask(shape, size)
    elif kind == "polygon":
        mask, origin = polygon_mask([checked_polygon(points)], size)
    else:
        mask, origin = polygon_mask([_two_point_outline(kind, points)], size)
    if not mask.any():
        raise ValueError("covers no pixel")
    return mask, origin


def _two_point_outline(kind, points):
    first, last = _two_points(points, kind)
    if kind == "circle":
        return circle_polygon(first, last)
    return np.array([first, (last[0], first[1]), last, (first[0], last[1])])


def _two_points(points, kind):
    try:
        points = np.asarray(points, "float64").reshape(2, 2)
    except (TypeError, ValueError):
        raise ValueError(f"is a {kind} whose points are not two pairs of numbers") from None
    if not np.isfinite(points).all():
        raise ValueError(f"is a {kind} with NaN or infinite points")
    return points


def _stored_mask(shape, size):
    """A mask as labelme stores it: a PNG in base64, its first point the place of its first pixel."""
    left, top = _two_points(shape.get("points"), "mask")[0].round().astype(int)
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as picture:
            mask = np.asarray(picture.convert("L")) > 0
    except (KeyError, TypeError, OSError, binascii.Error, Image.DecompressionBombError) as error:
        raise ValueError(f"is a mask whose PNG cannot be read ({error})") from None
    inside = mask[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
    return inside, (max(0, top), max(0, left))


def _union(parts):
    """One mask of the parts of an object, each a mask and its (top, left)."""
    if len(parts) == 1:
        return parts[0]
    starts = np.array([place for _, place in parts])
    stops = starts + [mask.shape for mask, _ in parts]
    top, left = starts.min(axis=0)
    height, width = stops.max(axis=0) - (top, left)
    union = np.zeros((height, width), bool)
    for (mask, _), (y, x) in zip(parts, starts - (top, left), strict=True):
        union[y : y + mask.shape[0], x : x + mask.shape[1]] |= mask
    return union, (int(top), int(left))
