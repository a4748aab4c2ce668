"""Data named by one string, `FORMAT:PATH#START:STOP`: the table of formats, and the one that opens them."""

import os
import re

from keras_seg.data.camvid import open_camvid
from keras_seg.data.coco import open_coco
from keras_seg.data.errors import DataError
from keras_seg.data.folder import open_folder
from keras_seg.data.isbi import open_isbi
from keras_seg.data.labelme import open_labelme
from keras_seg.data.nuclei import open_kaggle_nuclei, open_nuclei
from keras_seg.data.source import Source
from keras_seg.data.synthetic import open_shapes
from keras_seg.data.voc import open_voc

FORMATS = {
    "shapes": open_shapes,
    "folder": open_folder,
    "voc": open_voc,
    "camvid": open_camvid,
    "isbi": open_isbi,
    "nuclei": open_nuclei,
    "kaggle-nuclei": open_kaggle_nuclei,
    "coco": open_coco,
    "labelme": open_labelme,
}

_SLICE = re.compile(r"#(-?\d*):(-?\d*)(?::(-?\d*))?$")


def open_source(spec, **options):
    """Open a data set by its name.

    Args:
        spec: str, `FORMAT:PATH`, perhaps with `#START:STOP` or `#START:STOP:STEP`, a Python slice over the
            items in sorted order: `isbi:data/isbi2012#0:20`. A Source is returned as it is. Formats:
            `shapes:COUNT` or `shapes:count=200,size=128,num_classes=4,seed=0` (drawn, no files),
            `folder:PATH`, `voc:PATH` or `voc:PATH,set=train,sbd=PATH`, `camvid:PATH`, `isbi:PATH`,
            `nuclei:PATH`, `kaggle-nuclei:PATH`, `coco:ANNOTATIONS.json,IMAGES` (with `,labels=ids` a class
            for each category id, as torchvision's weights have), `labelme:PATH`.
        **options: passed to the format; `border` (int, 2 pixels; 0 for two classes) for the two of nuclei,
            which may also stand behind the path, as in `nuclei:PATH,border=0`.

    Returns:
        Source.

    Raises:
        DataError: the format is unknown, or there is no such data at the path.

    Example:

        source = open_source("shapes:20")
        image, mask = source.read(0)      # (128, 128, 3) and (128, 128), uint8
    """
    if isinstance(spec, Source):
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"`spec` must be a str such as 'folder:PATH', or a Source. Received: spec={spec!r}.")
    part = _SLICE.search(spec)
    format_name, colon, path = (spec[: part.start()] if part else spec).partition(":")
    if format_name not in FORMATS:
        raise DataError(
            f"The data {spec!r} are of no known format. Write FORMAT:PATH with one of "
            f"{', '.join(FORMATS)}, as in folder:my/data."
        )
    if not path and format_name != "shapes":
        raise DataError(f"The data {spec!r} have no path. Write {format_name}:PATH.")
    # The shell leaves a ~ alone that does not begin a word.
    source = FORMATS[format_name](os.path.expanduser(path), **options)
    if not part:
        return source
    return source[slice(*(int(number) if number else None for number in part.groups()))]
