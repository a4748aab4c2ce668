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
        series = _first_series(tiff, name)
        shape = dict(zip(series.axes, series.shape, strict=True))
        channels = 3 if shape.get("S", 1) >= 3 else 1
        dtype = "uint8" if _for_pillow(series) else str(series.dtype)
    file.seek(0)
    return shape["Y"], shape["X"], channels, dtype


def tiff_pixels(data, name):
    """Pixels (H, W) or (H, W, C) of a TIFF with one image; None where it is one for Pillow.

    Raises:
        DataError: several pages, truncated, or an arrangement of axes that is no image.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        series = _first_series(tiff, name)
        if len(series.pages) > 1 or series.axes.strip("YXS"):
            raise DataError(
                f"{name} is a stack of {len(series.pages)} pages (axes {series.axes}). Save every page as "
                "its own file, or name a pair of stacks by isbi:FOLDER."
            )
        _check_extent(series, data, name)
        return None if _for_pillow(series) else _channels_last(_decoded(series, name), series.axes, name)


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
            series = _first_series(tiff, name)
            count = len(tiff.series)
            _check_extent(series, data, name)
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


def _first_series(tiff, name):
    if not tiff.series or not tiff.series[0].shape or not {"Y", "X"} <= set(tiff.series[0].axes):
        raise DataError(f"{name} is a TIFF without an image. Export it again.")
    series = tiff.series[0]
    if math.prod(series.shape) > _MAX_PIXELS:
        raise DataError(
            f"{name} is too large to be decoded in memory: shape {series.shape}. Cut it into tiles."
        )
    return series


def _for_pillow(series):
    return (
        len(series.pages) == 1
        and series.dtype is not None
        and (series.dtype == np.uint8 or series.dtype == bool)
        and not series.axes.strip("YXS")
    )


def _check_extent(series, data, name):
    """Raise unless the file can hold the series' pixels.

    tifffile and Pillow fill what is missing by zeros, and tifffile tries for minutes where a damaged size
    asks for millions of strips.
    """
    fits = math.prod(series.shape) * series.dtype.itemsize <= _MAX_RATIO * len(data)
    for page in filter(None, series.pages):  # pages without a directory of their own are None
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        whole = len(parts) == math.prod(page.chunked) or series.dataoffset is not None
        fits = fits and whole and all(size and start + size <= len(data) for start, size in parts)
    if series.dataoffset is not None:
        fits = fits and series.dataoffset + series.nbytes <= len(data)
    if not fits:
        raise DataError(
            f"{name} is truncated or damaged: its pixels lie beyond the end of the file. Copy or export it "
            "again."
        )


def _decoded(series, name):
    try:
        return series.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise DataError(
            f"{name} is packed by {series.keyframe.compression.name}, which needs one package more: "
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
