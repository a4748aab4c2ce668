"""TIFF by tifffile: deep and floating-point pixels, and stacks of pages such as microscopes write.

Single 8-bit and 1-bit pages are left to Pillow, which also knows palettes, CMYK, inverted grey and LZW.
"""

import io
import math

import numpy as np

from keras_seg.data.errors import DataError

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MAX_RATIO = 100_000  # of unpacked to packed bytes; blank pages in Zstandard or fax code come near
_MAX_PIXELS = 2**30  # decoded in memory; larger images are for tiled prediction, which maps the file


def is_tiff(data):
    """True where the first bytes are those of TIFF or BigTIFF."""
    return data[:4] in _MAGIC


def tiff_header(file, name):
    """(height, width, channels, dtype name) of an open file's first image; "uint8" where Pillow reads it."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        page = _first_page(tiff, name)
        shape = dict(zip(page.axes, page.shape, strict=True))
        channels = 3 if shape.get("S", 1) >= 3 else 1
        dtype = "uint8" if _for_pillow(page) else str(page.dtype)
    file.seek(0)
    return shape["Y"], shape["X"], channels, dtype


def tiff_pixels(data, name):
    """Pixels (H, W) or (H, W, C) of a TIFF with one image; None where it is one for Pillow.

    Raises:
        DataError: several pages, truncated, or an arrangement of axes that is no image.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = _first_page(tiff, name)
        # Pages of other sizes are thumbnails and reductions of the first. ImageJ may write one page for many.
        count = len(tiff.pages) if len(tiff.pages) > 1 and tiff.pages[1].shape == page.shape else 1
        count = max(count, (tiff.imagej_metadata or {}).get("images", 1))
        if count > 1 or page.axes.strip("YXS"):
            raise DataError(
                f"{name} is a stack of {count} pages (axes {page.axes}). Save every page as its own file, or "
                "name a pair of stacks by isbi:FOLDER."
            )
        _check_extent([page], data, name)
        return None if _for_pillow(page) else _channels_last(_decoded(page, name), page.axes, name)


def stack_pixels(data, name):
    """All pages of a multi-page TIFF.

    Args:
        data: bytes of the file.
        name: str, for messages.

    Returns:
        Array (pages, H, W), in the file's dtype.

    Raises:
        DataError: not a TIFF, damaged, or pages of colour or of several sizes.
    """
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            _first_page(tiff, name)
            series, count = tiff.series[0], len(tiff.series)
            _check_extent(series.pages, data, name)
            if series.dataoffset is not None and series.dataoffset + series.nbytes > len(data):
                raise _truncated(name)
            array = _decoded(series, name)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name} cannot be read as TIFF: {error}. Copy or export it again.") from error
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or count > 1:
        raise DataError(
            f"{name} is not a stack of grey pages of one size: axes {series.axes}, shape {array.shape}, "
            f"{count} series. Export it as a stack (pages, height, width)."
        )
    return array


def _first_page(tiff, name):
    """The first page. `series` would follow every other too, which in damaged files can take minutes."""
    if not tiff.pages or not {"Y", "X"} <= set(tiff.pages[0].axes) or tiff.pages[0].dtype is None:
        raise DataError(f"{name} is a TIFF without an image. Export it again.")
    page = tiff.pages[0]
    if math.prod(page.shape) > _MAX_PIXELS:
        raise DataError(
            f"{name} is too large to be decoded in memory: shape {page.shape}. Cut it into tiles."
        )
    return page


def _for_pillow(page):
    return page.dtype in (np.uint8, bool) and not page.axes.strip("YXS")


def _check_extent(pages, data, name):
    """Raise unless the file can hold the pixels of its pages.

    tifffile and Pillow fill what is missing by zeros, and tifffile tries for minutes where a damaged size
    asks for millions of strips.
    """
    for page in filter(None, pages):  # pages without a directory of their own are None
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        whole = len(parts) == math.prod(page.chunked) and page.nbytes <= _MAX_RATIO * len(data)
        if not whole or not all(size and start + size <= len(data) for start, size in parts):
            raise _truncated(name)


def _truncated(name):
    return DataError(
        f"{name} is truncated or damaged: its pixels lie beyond the end of the file. Copy or export it again."
    )


def _decoded(part, name):
    """Pixels of a page or series."""
    try:
        return part.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise DataError(
            f"{name} is packed by {part.keyframe.compression.name}, which needs one package more: "
            "pip install imagecodecs. Or save it with deflate, or unpacked."
        ) from error


def _channels_last(array, axes, name):
    if axes == "YX":
        return array
    if axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    elif axes != "YXS":
        raise DataError(f"{name} has axes {axes}. Save an image as (height, width) or with 3 or 4 channels.")
    if array.shape[-1] not in (3, 4):
        raise DataError(f"{name} has {array.shape[-1]} channels. Images have 1 or 3, or 4 with alpha.")
    return array[..., :3]
