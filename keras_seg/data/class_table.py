"""The classes of a data set, and how a mask file's values become class ids.

Masks come as class ids, as 0 and 255, or as colours; whatever is not in the table is an error that names the
file, the pixel and what is allowed.
"""

import dataclasses
import json

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.utils.palette import class_colors


@dataclasses.dataclass(frozen=True)
class ClassTable:
    """Names, ignore value and colours of the classes.

    Args:
        names: tuple of str, class 0 first.
        ignore: int or None. The id of pixels that count nowhere.
        colors: tuple of (r, g, b) or None. The classes' colours; needed for masks of colours.
        ignore_color: (r, g, b) or None. The colour of ignored pixels in masks of colours.
    """

    names: tuple
    ignore: int | None = None
    colors: tuple | None = None
    ignore_color: tuple | None = None

    @property
    def display_colors(self):
        """uint8 (K, 3), for pictures."""
        return class_colors(len(self.names)) if self.colors is None else np.array(self.colors, "uint8")

    def encode(self, mask, name):
        """Class ids of a mask as it was read from the file `name`.

        Three equal channels count as one. In a set of two classes a mask of only 0 and 255 (neither of them
        the ignore value) is binary: 255 becomes 1.

        Args:
            mask: integer array (H, W), or uint8 (H, W, 3).
            name: str or Path, for messages.

        Returns:
            uint8 array (H, W).
        """
        if mask.ndim == 3:
            if self.colors is not None:
                return self._encode_colors(mask, name)
            if (mask != mask[..., :1]).any():
                raise DataError(
                    f"{name} is a mask of colours. List them in classes.json, "
                    '{"classes": [...], "colors": [[r, g, b], ...]}, or save class ids as 8-bit PNG.'
                )
            mask = mask[..., 0]
        if len(self.names) == 2 and self.ignore != 255 and mask.max() == 255:
            white = mask == 255
            if not mask[~white].any():
                return white.astype("uint8")
        allowed = mask < len(self.names)
        if mask.dtype.kind == "i":
            allowed &= mask >= 0
        if self.ignore is not None:
            allowed |= mask == self.ignore
        if not allowed.all():
            row, column = np.argwhere(~allowed)[0]
            raise DataError(
                f"{name} has the unknown class id {mask[row, column]} at row {row}, column {column}. "
                f"Known are 0 to {len(self.names) - 1}{self._ignored()}. Add the class to classes.json, set "
                'its "ignore_index", or correct the mask (save it as PNG: JPEG changes ids).'
            )
        return mask.astype("uint8")

    def _encode_colors(self, mask, name):
        table = np.array(self.colors, "int64")
        ids = np.arange(len(table))
        if self.ignore_color is not None:
            table = np.concatenate([table, np.array([self.ignore_color], "int64")])
            ids = np.append(ids, self.ignore)
        codes = table @ [65536, 256, 1]
        order = np.argsort(codes)
        pixels = mask.astype("int32") @ np.array([65536, 256, 1], "int32")
        places = np.searchsorted(codes[order], pixels).clip(max=len(codes) - 1)
        unknown = codes[order][places] != pixels
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            raise DataError(
                f"{name} has the unknown colour {mask[row, column].tolist()} at row {row}, column {column}. "
                f'Known are the {len(self.colors)} "colors" of classes.json; add it, or correct the mask.'
            )
        return ids[order][places].astype("uint8")

    def _ignored(self):
        return "" if self.ignore is None else f", and {self.ignore} for pixels to ignore"


def read_class_table(path):
    """Read classes.json: a list of names, or {"classes": [...], "ignore_index": 11, "colors": [[r, g, b]]}.

    "colors" makes masks of colours readable, and is used in pictures; "ignore_color" is the colour of ignored
    pixels in such masks.

    Raises:
        DataError: the file is not such a table; the message says what is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from error
    if isinstance(content, list):
        content = {"classes": content}
    names = content.get("classes") if isinstance(content, dict) else None
    if (
        not isinstance(names, list)
        or not 2 <= len(names) <= 255
        or not all(isinstance(n, str) for n in names)
    ):
        raise DataError(f'{path} must have "classes", a list of 2 to 255 names. Received: {names!r}.')
    ignore, colors, ignore_color = (content.get(key) for key in ("ignore_index", "colors", "ignore_color"))
    if ignore is not None and (not isinstance(ignore, int) or not len(names) <= ignore <= 255):
        raise DataError(
            f'{path}: "ignore_index" must be an integer from {len(names)}, the number of classes, to 255. '
            f"Received: {ignore!r}."
        )
    if colors is not None and (len(colors) != len(names) or not all(map(_is_color, colors))):
        raise DataError(f'{path}: "colors" must be {len(names)} lists [r, g, b], one for each class.')
    if ignore_color is not None and (not _is_color(ignore_color) or ignore is None):
        raise DataError(f'{path}: "ignore_color" must be a list [r, g, b], beside an "ignore_index".')
    return ClassTable(
        tuple(names),
        ignore,
        None if colors is None else tuple(map(tuple, colors)),
        None if ignore_color is None else tuple(ignore_color),
    )


def _is_color(value):
    return isinstance(value, list) and len(value) == 3 and all(v in range(256) for v in value)
