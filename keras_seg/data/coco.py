"""COCO: one JSON file of images, categories and annotations; masks as polygons or run lengths, crowds marked.

T.-Y. Lin et al., "Microsoft COCO: Common objects in context", ECCV 2014; the format: cocodataset.org.
"""

import json
import math
import os
from collections import Counter
from pathlib import Path

from keras_seg.data.annotation_source import AnnotationSource, unique_ids
from keras_seg.data.errors import DataError
from keras_seg.data.objects import Objects
from keras_seg.data.polygons import checked_polygon, polygon_mask
from keras_seg.data.run_lengths import mask_from_rle

_BY_ID, _LARGEST_ID = ",labels=ids", 10_000
_LONGEST_NAME = 255  # bytes, on the usual file systems
# Some exporters list the background, which is no object.
_BACKGROUND = ("background", "_background_", "__background__")


class CocoSource(AnnotationSource):
    """Images with annotated objects.

    Args:
        file: Path of the JSON, for messages.
        images: list of dict, COCO's.
        folder: Path of the image files.
        categories: list of dict, COCO's, in the order of their ids.
        annotations: list of dict, COCO's.

    Attributes:
        category_ids: tuple of int. The file's category id of each class.
    """

    def __init__(self, file, images, folder, categories, annotations):
        self._file = file
        self._images = tuple(images)
        self.category_ids = tuple(category["id"] for category in categories)
        self._label_of = {number: label for label, number in enumerate(self.category_ids)}
        self._annotations = {image["id"]: [] for image in images}
        strays = Counter()
        for annotation in annotations:
            image_id = annotation.get("image_id")
            if isinstance(image_id, (int, str)) and image_id in self._annotations:
                self._annotations[image_id].append(annotation)
            else:
                strays[str(image_id)] += 1
        self._problems = [
            f"{file}: {count} annotations are of image {image_id}, which it does not list. Add the image, "
            "or remove them."
            for image_id, count in strays.items()
        ]
        self.has_crowds = any(annotation.get("iscrowd") for annotation in annotations)
        paths = [_image_path(folder, image) for image in images]
        super().__init__(
            "coco",
            paths,
            unique_ids(paths),
            [str(category.get("name", category["id"])) for category in categories],
            sizes=[_size(image) for image in images],
        )

    @property
    def image_ids(self):
        """The file's id of each item, in order."""
        return [self._images[row]["id"] for row in self._rows]

    @property
    def problems(self):
        return list(self._problems)

    def _read_layers(self, row, problems):
        image = self._images[row]
        size = self._sizes[row] or self._read_image(row).shape[:2]
        masks, origins, labels, crowd = [], [], [], []
        for annotation in self._annotations[image["id"]]:
            try:
                label = self._label(annotation)
                is_crowd = _is_crowd(annotation)
                mask, origin = _mask(annotation, size)
            except ValueError as error:
                problems.append(
                    f"{self._file}: annotation {annotation.get('id')} of image {image['id']} "
                    f"({image['file_name']}) {error}. Correct it, or remove it from the file."
                )
                continue
            masks.append(mask)
            origins.append(origin)
            labels.append(label)
            crowd.append(is_crowd)
        return Objects.from_masks(masks, origins, labels, crowd)

    def _label(self, annotation):
        number = annotation.get("category_id")
        if not isinstance(number, int) or number not in self._label_of:
            known = ", ".join(map(str, self.category_ids[:8])) + (
                ", ..." if len(self.category_ids) > 8 else ""
            )
            raise ValueError(f"has the category {number!r}, which does not exist; known are {known}")
        return self._label_of[number]


def open_coco(text):
    """Open `ANNOTATIONS.json,IMAGES`, or `ANNOTATIONS.json,IMAGES,labels=ids`: COCO's JSON and its images.

    Without IMAGES, files are looked for beside the JSON. A file name with folders in it is also found by its
    last part. Classes are the file's categories in the order of their ids; one that is named background is
    none. `source.category_ids` and `source.image_ids` lead back to the file's ids.

    With `labels=ids` the label of a category is its id less one, and ids without a category are classes that
    no object has: COCO's 80 categories have ids up to 90, and torchvision's weights a class for each id.
    """
    file, _, folder = str(text).partition(",")
    by_id = folder.endswith(_BY_ID)
    folder = folder.removesuffix(_BY_ID)
    file = Path(file)
    folder = Path(folder).expanduser() if folder else file.parent
    if not file.is_file():
        raise DataError(f"There is no file {file}. Write coco:ANNOTATIONS.json,IMAGES.")
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Write coco:ANNOTATIONS.json,IMAGES.")
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise DataError(f"{file} cannot be read as JSON: {error}. Export it again.") from error
    parts = [_listed(content, key, file) for key in ("images", "categories", "annotations")]
    images, categories, annotations = parts
    for image in images:
        if not isinstance(image.get("file_name"), str) or not image["file_name"]:
            raise DataError(f'{file}: image {image.get("id")!r} has no "file_name". Add it.')
        if not _can_be_a_path(image["file_name"]):
            raise DataError(
                f'{file}: image {image.get("id")!r} has a "file_name" that no file can have: '
                f"{image['file_name'][:80]!r}. Correct it."
            )
    _check_ids("images", images, (int, str), file)
    _check_ids("categories", categories, int, file)
    categories = [entry for entry in categories if str(entry.get("name")).lower() not in _BACKGROUND]
    if not categories:
        raise DataError(f'{file} has no category but background. Add the classes to "categories".')
    categories.sort(key=lambda entry: entry["id"])
    return CocoSource(
        file, images, folder, _one_for_each_id(categories, file) if by_id else categories, annotations
    )


def _one_for_each_id(categories, file):
    """The categories, and ones that no annotation has for the ids between them."""
    if categories[0]["id"] < 1 or categories[-1]["id"] > _LARGEST_ID:
        raise DataError(
            f"{file}: labels=ids needs category ids within 1..{_LARGEST_ID}, and it has ids from "
            f"{categories[0]['id']} to {categories[-1]['id']}. Leave labels=ids out."
        )
    named = {category["id"]: category for category in categories}
    ids = range(1, categories[-1]["id"] + 1)
    return [named.get(number, {"id": number, "name": f"no category {number}"}) for number in ids]


def _listed(content, key, file):
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(
            f'{file} is no file of COCO annotations: it must have "images", "categories" and "annotations", '
            f'and "{key}" is no list of entries there.'
        )
    return entries


def _check_ids(key, entries, kind, file):
    known = set()
    for entry in entries:
        number = entry.get("id")
        if not isinstance(number, kind) or number in known:
            state = "twice" if isinstance(number, kind) else "which is none"
            raise DataError(
                f'{file}: "{key}" has the id {number!r}, {state}. Ids must be numbers that differ.'
            )
        known.add(number)


def _can_be_a_path(name):
    try:
        parts = os.fsencode(name).split(b"/")
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can hold
        return False
    return "\0" not in name and max(map(len, parts)) <= _LONGEST_NAME


def _image_path(folder, image):
    path = folder / image["file_name"]
    return path if path.exists() or not (folder / path.name).exists() else folder / path.name


def _size(image):
    size = image.get("height"), image.get("width")
    return size if all(isinstance(side, int) and side > 0 for side in size) else None


def _mask(annotation, size):
    """The mask of an annotation and its (top, left); a ValueError says what is wrong, as a phrase."""
    if annotation.get("bbox") is not None:
        _check_box(annotation["bbox"], size)
    segmentation = annotation.get("segmentation")
    if not segmentation:
        raise ValueError('has no "segmentation", only a box perhaps: polygons or an RLE are needed')
    if isinstance(segmentation, list):
        mask, origin = polygon_mask([checked_polygon(part) for part in segmentation], size)
    else:
        mask, origin = mask_from_rle(segmentation, size)
    if not mask.any():
        raise ValueError("covers no pixel")
    return mask, origin


def _is_crowd(annotation):
    value = annotation.get("iscrowd") or 0
    if value not in (0, 1):
        raise ValueError(f'has the "iscrowd" {str(value)[:80]!r}, which must be 0 or 1')
    return bool(value)


def _check_box(box, size):
    try:
        x, y, width, height = (float(side) for side in box)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"has the bbox {str(box)[:80]}, not four numbers [x, y, width, height]") from None
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError(f"has a bbox with NaN or infinite numbers, {box}")
    if width <= 0 or height <= 0:
        axis = "x2 <= x1" if width <= 0 else "y2 <= y1"
        raise ValueError(f"has a bbox without area, {axis}: {box} as [x, y, width, height]")
    if x >= size[1] or y >= size[0] or x + width <= 0 or y + height <= 0:
        raise ValueError(
            f"has a bbox outside its image of {size[0]} x {size[1]} pixels (height x width): {box} as "
            "[x, y, width, height]"
        )
