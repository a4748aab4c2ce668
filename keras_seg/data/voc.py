"""PASCAL VOC: classes and objects as palette PNG with 255 for void, in image sets; and SBD's `.mat` masks.

M. Everingham et al., "The PASCAL Visual Object Classes Challenge", 2010; B. Hariharan et al., "Semantic
contours from inverse detectors", ICCV 2011 (SBD: the same photographs, 11,355 of them outlined).
"""

from pathlib import Path

import numpy as np

from keras_seg.data.class_table import ClassTable
from keras_seg.data.errors import DataError
from keras_seg.data.file_source import FileSource, check_sizes, missing_mask
from keras_seg.data.image_files import read_mask
from keras_seg.data.instance_classes import instance_class_shares
from keras_seg.data.objects import Objects
from keras_seg.data.path_options import split_options
from keras_seg.utils.palette import class_colors

VOID = 255
# The palette's colour of void, which masks saved as RGB have in its place.
_VOID_COLOR = (224, 224, 192)
_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
# An object of one class, but for a pixel or so where the two maps were drawn or resized by themselves.
_LEAST_SHARE = 0.9
_SBD_FIELDS = {"cls": "GTcls", "inst": "GTinst"}


class VocSource(FileSource):
    """Photographs with a map of classes, and a map of objects where there is one.

    Args:
        items: sequence of (image path, class map path or None, object map path or None); maps are `.png`, or
            `.mat` of SBD.
        table: ClassTable.
    """

    def __init__(self, items, table):
        super().__init__("voc", [(image, classes) for image, classes, _ in items], table, channels=3)
        self._objects = [objects for _, _, objects in items]

    def _read_mask(self, path):
        return self._table.encode(_read_map(path), path)

    def _read_instances(self, row):
        path = self._objects[row]
        return None if path is None else self._read_object_map(row, path)

    @property
    def object_names(self):
        return self.class_names[1:] if any(self._objects) else ()

    def _read_objects(self, row, problems):
        image_path, _ = self._pairs[row]
        path = self._objects[row]
        if path is None:
            raise DataError(
                f"{image_path} has no map of objects. Add one to SegmentationObject, or leave it out."
            )
        image, classes = self._read(row)
        instances = self._read_object_map(row, path)
        check_sizes(image, image_path, instances, path)
        labels = {}
        for number, (kind, share) in instance_class_shares(classes, instances, self.ignore_class).items():
            if kind == 0 or share < _LEAST_SHARE:
                problems.append(
                    f"{path}: object {number} of the image {image_path.name} does not fit its map of classes "
                    f"{self._pairs[row][1]}, which says {self.class_names[kind]} for {100 * share:.0f} % of "
                    "its labelled pixels. Correct one of the two, or set the object's pixels to 0."
                )
            else:
                labels[number] = kind - 1
        return image, Objects.from_id_map(instances, labels)

    def _read_object_map(self, row, path):
        if not path.is_file():
            raise DataError(missing_mask(self._pairs[row][0]).replace("folder of masks", f"{path.parent}"))
        objects = _read_map(path)
        if objects.ndim == 3:
            objects = _ids_of_colors(objects)
        return np.where(objects == VOID, 0, objects).astype("uint16")


def open_voc(path):
    """Open `DIR`, `DIR,set=NAME`, `DIR,sbd=SBD_DIR` or both.

    DIR is a folder like VOCdevkit/VOC2012, with JPEGImages and SegmentationClass, and SegmentationObject
    where objects are wanted; or SBD's `dataset` folder, with img, cls and inst. NAME is a list of
    ImageSets/Segmentation (train, val, trainval), or of SBD's own (train, val); without it, all images that
    have a mask. `sbd=` adds SBD's images that VOC has no mask for, so that none of VOC's `val` is trained on:
    `voc:VOC2012,set=train,sbd=benchmark_RELEASE/dataset` are the 10,582 images known as "train_aug".

    class_names.txt in DIR, one name a line, replaces VOC's 21 names.
    """
    path, options = split_options(str(path), "voc", {"set": str, "sbd": str})
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Check the path.")
    table = _class_table(folder)
    if (folder / "cls").is_dir():
        return VocSource(_sbd_items(folder, _ids(folder, "cls", options.get("set"), folder)), table)
    if not (folder / "SegmentationClass").is_dir():
        raise DataError(
            f"{folder} has neither SegmentationClass (VOC) nor cls (SBD) in it. Give the folder that has, "
            "such as VOCdevkit/VOC2012."
        )
    sets = folder / "ImageSets" / "Segmentation"
    items = [_voc_item(folder, name) for name in _ids(folder, "SegmentationClass", options.get("set"), sets)]
    if "sbd" in options:
        sbd = Path(options["sbd"]).expanduser()
        if not (sbd / "cls").is_dir():
            raise DataError(f"{sbd} has no folder cls. Give SBD's folder `dataset`, with img, cls and inst.")
        own = {file.stem for file in (folder / "SegmentationClass").iterdir()}
        own |= {image.stem for image, _, _ in items}
        items += _sbd_items(sbd, [name for name in _ids(sbd, "cls", None, sbd) if name not in own])
    return VocSource(items, table)


def _class_table(folder):
    file = folder / "class_names.txt"
    names = _NAMES
    if file.is_file():
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
        if not 2 <= len(names) <= VOID:
            raise DataError(f"{file} must have 2 to {VOID} names, one a line. It has {len(names)}.")
    colors = tuple(map(tuple, class_colors(len(names)).tolist()))
    return ClassTable(names, VOID, colors, _VOID_COLOR)


def _ids(folder, masks, set_name, sets):
    """Names of the items: of a set, or of all files in the folder of masks."""
    if set_name is None:
        return sorted(file.stem for file in (folder / masks).iterdir() if file.suffix in (".png", ".mat"))
    file = sets / f"{set_name}.txt"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in sets.glob("*.txt"))) or "none"
        raise DataError(f"There is no set {file}. Sets there: {known}.")
    return file.read_text(encoding="utf-8").split()


def _voc_item(folder, name):
    objects = folder / "SegmentationObject"
    return (
        folder / "JPEGImages" / f"{name}.jpg",
        _file_or_none(folder / "SegmentationClass" / f"{name}.png"),
        objects / f"{name}.png" if objects.is_dir() else None,
    )


def _sbd_items(folder, names):
    return [
        (
            folder / "img" / f"{name}.jpg",
            _file_or_none(folder / "cls" / f"{name}.mat"),
            folder / "inst" / f"{name}.mat" if (folder / "inst").is_dir() else None,
        )
        for name in names
    ]


def _file_or_none(path):
    return path if path.is_file() else None


def _read_map(path):
    return _read_mat(path) if path.suffix == ".mat" else read_mask(path)


def _read_mat(path):
    """`Segmentation` of GTcls or GTinst, integer (H, W)."""
    from scipy.io import loadmat

    field = _SBD_FIELDS[path.parent.name]
    try:
        return np.asarray(loadmat(path)[field]["Segmentation"][0, 0]).astype("int32")
    # Damaged files raise whatever their bytes lead to.
    except Exception as error:
        raise DataError(
            f"{path} cannot be read as one of SBD's masks ({field}.Segmentation): {error}. Copy it again."
        ) from error


def _ids_of_colors(objects):
    """The ids behind VOC's palette, of an object map that was saved as RGB."""
    colors = np.concatenate([class_colors(VOID), [_VOID_COLOR]]).astype("int32")
    places = np.array([65536, 256, 1], "int32")
    id_of = {int(code): number for number, code in enumerate(colors @ places)}
    codes, pixels = np.unique(objects.astype("int32") @ places, return_inverse=True)
    # Other colours are objects too: they get the numbers after the palette's.
    ids = [id_of.get(int(code), VOID + 1 + index) for index, code in enumerate(codes)]
    return np.array(ids)[pixels.reshape(objects.shape[:2])]
