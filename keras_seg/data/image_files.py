"""Image and mask files as arrays: every common pixel mode read right, every bad file named.

Images come out as 0..255 with 1 or 3 channels, masks as the stored integers. Pillow decodes 8-bit files,
TensorFlow 16-bit PNG (Pillow drops the low byte of 16-bit colour), tifffile deep and floating-point TIFF.
"""

import io
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from keras_seg.data.errors import DataError
from keras_seg.data.tiff_files import is_tiff, tiff_header, tiff_pixels

_ORIENTATION = 274  # the EXIF tag
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")


class ImageHeader(NamedTuple):
    """What a file says about itself, without its pixels being decoded."""

    height: int
    width: int
    channels: int
    dtype: str


def read_image(path, channels=None):
    """Read an image file.

    8-bit values stay as they are and 1-bit ones become 0 and 255; 16-bit values are divided by 257, which
    maps 65535 to 255 and loses nothing in float32; floating-point TIFF is taken as it is, in 0..255. Palette
    images get their colours, CMYK is converted to RGB, alpha is dropped (the stored colours are kept, not
    blended), and the EXIF orientation of a photograph is applied.

    Args:
        path: str or Path.
        channels: 1, 3 or None. 1 makes grey by the ITU-R 601 luma, 3 repeats grey; None keeps the file's.

    Returns:
        uint8 or float32 array (H, W, channels).

    Raises:
        DataError: the file is absent, empty, truncated, not an image, too large, of several pages, or holds
            NaN, infinite or out-of-range values.
    """
    return decode_image(read_bytes(path), channels, str(path))


def decode_image(data, channels=None, name="the image"):
    """`read_image` for bytes in memory; `name` stands for the file in messages."""
    if channels not in (None, 1, 3):
        raise ValueError(f"`channels` must be 1, 3 or None. Received: channels={channels!r}.")
    image = _guarded(_image_pixels, data, name)
    if image.ndim == 2:
        image = image[..., None]
    return np.ascontiguousarray(with_channels(image, channels or image.shape[-1]))


def read_mask(path):
    """Read a mask file: the stored integers, without scaling, palette colours or EXIF orientation.

    Args:
        path: str or Path.

    Returns:
        Integer array (H, W); palette images give their indices, 1-bit ones 0 and 1. An RGB or RGBA file gives
        uint8 (H, W, 3), to be turned into ids by a table of colours.

    Raises:
        DataError: as for `read_image`, and for masks of floating-point numbers.
    """
    return _guarded(_mask_pixels, read_bytes(path), str(path))


def read_bytes(path):
    """The bytes of a file, or a DataError that names it."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}. Check the path.") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes). Copy it again, or remove it and its mask or image.")
    return data


def read_header(path):
    """Size, channels and dtype that `read_image` would give, from the file's first bytes.

    Raises:
        DataError: the header cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(32)
        file.seek(0)
        if is_tiff(start):
            height, width, channels, dtype = _guarded(tiff_header, file, str(path))
            if dtype != "uint8":
                return ImageHeader(height, width, channels, "float32")
        return _guarded(_pillow_header, file, str(path), start)


def with_channels(image, channels):
    """Grey to colour or colour to grey, where the image has not `channels` already."""
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).convert("L"))[..., None]
    return (image @ np.array([0.299, 0.587, 0.114], "float32"))[..., None]


def _guarded(decode, data, name, *args):
    """Run a decoder on bytes of unknown quality: whatever it raises becomes a DataError with the name.

    Decoders raise almost anything on damaged files (OSError, SyntaxError, struct.error, zlib.error, ...), so
    nothing narrower than Exception would do.
    """
    try:
        return decode(data, name, *args)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name} is too large to be decoded safely: {error} Cut it into tiles, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS if you trust the file."
        ) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not an image that can be read. Use PNG, JPEG, TIFF, BMP or WebP, and check that the "
            "file is what its name says."
        ) from error
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(
            f"{name} is truncated or damaged: {reason}. Copy or export it again, or remove it and its mask "
            "or image."
        ) from error


def _pillow_header(file, name, start):
    with Image.open(file) as image:
        width, height = image.size
        # A PNG is read to its end for EXIF that it does not announce, so only announced EXIF is asked for.
        if "exif" in image.info and image.getexif().get(_ORIENTATION, 1) >= 5:
            width, height = height, width
        deep = _is_deep_png(start) or image.mode.startswith("I") or image.mode == "F"
        return ImageHeader(
            height, width, 1 if image.mode in _GREY_MODES else 3, "float32" if deep else "uint8"
        )


def _image_pixels(data, name):
    if is_tiff(data):
        pixels = tiff_pixels(data, name)
        if pixels is not None:
            return _scaled(pixels, name)
    if _is_deep_png(data):
        return _scaled(_drop_alpha(_deep_png(data)), name)
    with Image.open(io.BytesIO(data)) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode == "1":
            image = image.convert("L")
        elif image.mode not in (*_GREY_MODES, "RGB", "RGBA"):
            image = image.convert("RGB")
        pixels = _drop_alpha(np.array(image))
    if image.mode.startswith("I") or image.mode == "F":
        pixels = pixels.astype("float32" if image.mode == "F" else "uint16")
        return _scaled(pixels, name)
    return pixels


def _mask_pixels(data, name):
    pixels = None
    if is_tiff(data):
        pixels = tiff_pixels(data, name)
    elif _is_deep_png(data):
        pixels = _drop_alpha(_deep_png(data))
    if pixels is None:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
                raise DataError(f"{name} is a {image.mode} image, not a mask. Save class ids as 8-bit PNG.")
            pixels = _drop_alpha(np.array(image))
    if pixels.dtype == bool:
        return pixels.astype("uint8")
    if pixels.dtype.kind == "f":
        raise DataError(f"{name} holds floating-point numbers. Save a mask's class ids as 8-bit PNG.")
    if pixels.ndim == 3 and pixels.shape[-1] != 3:
        raise DataError(f"{name} has {pixels.shape[-1]} channels. A mask has one, or three colours.")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _is_deep_png(data):
    """True for PNG with 16 bits a channel, by the bit depth in its first chunk (byte 24)."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 25 and data[24] == 16


def _deep_png(data):
    import tensorflow as tf

    width, height = struct.unpack(">II", data[16:24])
    limit = Image.MAX_IMAGE_PIXELS and 2 * Image.MAX_IMAGE_PIXELS  # the factor is Pillow's own
    if limit and width * height > limit:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {limit}.")
    try:
        pixels = tf.io.decode_png(data, dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("its compressed pixels cannot be unpacked") from error
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _drop_alpha(pixels):
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels = pixels[..., :-1]
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels


def _scaled(pixels, name):
    """16-bit and floating-point pixels in 0..255, float32."""
    if pixels.dtype == bool:
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        return pixels.astype("float32") / np.float32(257)
    if pixels.dtype.kind != "f":
        raise DataError(f"{name} has pixels of type {pixels.dtype}. Save it with 8 or 16 bits, unsigned.")
    bad = ~np.isfinite(pixels)
    if bad.any():
        row, column = np.argwhere(bad)[0][:2]
        raise DataError(
            f"{name} has NaN or infinite values ({int(bad.sum())} of {bad.size}, the first at row {row}, "
            f"column {column}). Replace them and save the image again."
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 255 or (0 < high <= 1 and np.any(pixels % 1)):
        raise DataError(
            f"{name} has floating-point values from {low:g} to {high:g}. Images are 0..255 here: scale the "
            "values, or save 16-bit integers."
        )
    return pixels.astype("float32")
