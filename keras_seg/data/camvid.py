"""CamVid, road scenes in the split of SegNet: FOLDER/images, FOLDER/masks of ids 0 to 10, 11 is ignored.

Source: Brostow et al. 2009; the 11 classes and the split are those of Badrinarayanan et al., SegNet, 2015.
"""

from pathlib import Path

from keras_seg.data.class_table import ClassTable, read_class_table
from keras_seg.data.file_source import FileSource, pair_files

# Names in the order of SegNet's ids, with the colours CamVid gives them.
_CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
CAMVID = ClassTable(tuple(_CLASSES), ignore=11, colors=tuple(_CLASSES.values()))


def open_camvid(path):
    """Open a part of CamVid, such as `camvid/train`.

    classes.json in the folder or in the one above names the classes; without it the built-in names are used.
    """
    path = Path(path)
    pairs = pair_files(path / "images", path / "masks")
    for file in (path / "classes.json", path.parent / "classes.json"):
        if file.is_file():
            table = read_class_table(file)
            if table.names == CAMVID.names and table.colors is None:
                table = ClassTable(table.names, table.ignore, CAMVID.colors)
            break
    else:
        table = CAMVID
    source = FileSource("camvid", pairs, table, channels=3)
    source.has_background = False  # class 0 is the sky
    return source
