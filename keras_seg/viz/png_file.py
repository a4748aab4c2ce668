"""PNG files that appear whole or not at all."""

import numpy as np

from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.validation import bad_argument


def save_png(path, array):
    """Write an array as a PNG file; an existing file is replaced in one step.

    Args:
        path: str or Path ending in .png. Its folder is made if absent.
        array: uint8 (H, W) grey or class ids, uint8 (H, W, 3) RGB, or uint16 (H, W) instance ids.

    Raises:
        ValueError: another shape, dtype or suffix.
    """
    from PIL import Image

    array = np.asarray(array)
    kinds = {(2, "uint8"), (3, "uint8"), (2, "uint16")}
    if (array.ndim, str(array.dtype)) not in kinds or (array.ndim == 3 and array.shape[-1] != 3):
        received = f"shape {array.shape} and dtype {array.dtype}"
        raise bad_argument("array", "uint8 (H, W) or (H, W, 3), or uint16 (H, W)", received)
    if not str(path).lower().endswith(".png"):
        raise bad_argument("path", "a name ending in .png", str(path))
    with atomic_file(path) as temporary:
        Image.fromarray(array).save(temporary)
