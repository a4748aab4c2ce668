"""The size of an encoded image from its header, so that what is too large is refused before it is decoded.

PNG, JPEG and BMP are accepted. GIF is not: TensorFlow's decoder unpacks all frames of a file before it
returns the first, so that a small file may take any amount of memory.
"""

import struct

from keras_seg.serving.errors import invalid

# A progressive JPEG is decoded by one pass over the whole image per scan. Encoders write about ten; a file of
# tens of thousands of empty scans would keep the decoder busy for hours.
_MOST_SCANS = 64
# Start of frame: baseline, extended, progressive, lossless and their arithmetic-coded forms.
_START_OF_FRAME = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}


def check_image(encoded, limits):
    """Return (height, width) of an encoded image that may be decoded.

    Raises:
        RequestError: no PNG, JPEG or BMP, or larger than `limits.image_pixels`.
    """
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        height, width = _png_size(encoded)
    elif encoded.startswith(b"\xff\xd8\xff"):
        height, width = _jpeg_size(encoded)
    elif encoded.startswith(b"BM"):
        height, width = _bmp_size(encoded)
    else:
        raise invalid("Input is not an image that is served here: PNG, JPEG or BMP.")
    if height < 1 or width < 1:
        raise invalid(f"Image of {width}x{height} pixels: a side is not positive.")
    if height * width > limits.image_pixels:
        raise invalid(
            f"Image of {width}x{height} pixels is larger than the {limits.image_pixels} that are taken here."
        )
    return height, width


def _png_size(encoded):
    if len(encoded) < 33 or encoded[12:16] != b"IHDR":
        raise invalid("PNG image is truncated or has no header.")
    width, height = struct.unpack(">II", encoded[16:24])
    return height, width


def _bmp_size(encoded):
    # TensorFlow reads Windows' headers of 40 bytes and more; a negative height means top row first.
    if len(encoded) < 54 or struct.unpack("<I", encoded[14:18])[0] < 40:
        raise invalid("BMP image is truncated or of a kind that is not served.")
    width, height = struct.unpack("<ii", encoded[18:26])
    return abs(height), width


def _jpeg_size(encoded):
    if encoded.count(b"\xff\xda") > _MOST_SCANS:
        raise invalid(f"JPEG image of more than {_MOST_SCANS} scans.")
    position = 2
    while position + 4 <= len(encoded):
        if encoded[position] != 0xFF:
            break
        marker = encoded[position + 1]
        if marker == 0xFF:  # fill bytes may stand before any marker
            position += 1
            continue
        if marker in _START_OF_FRAME and position + 9 <= len(encoded):
            return struct.unpack(">HH", encoded[position + 5 : position + 9])
        if marker == 0xDA:  # the first scan comes after the frame's header
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without content
            position += 2
            continue
        position += 2 + struct.unpack(">H", encoded[position + 2 : position + 4])[0]
    raise invalid("JPEG image is truncated or has no header.")
