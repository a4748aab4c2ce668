"""Request bodies that no server should have to see: each must get a 4xx, in bounded time and memory."""

import base64
import functools
import gzip
import json
import struct
import zlib

import numpy as np

from tests.serving.toy_server import bytes_request, drawn, encoded


def huge_png(height, width, rows=2):
    """A PNG whose header promises `height` x `width`; its pixels are a few rows of zeros, compressed."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(min(rows * (3 * width + 1), 1 << 20)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def huge_jpeg(height, width):
    """A real JPEG whose header was given another size."""
    file = bytearray(encoded(drawn(8, 8), "JPEG"))
    place = file.index(b"\xff\xc0") + 5
    file[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(file)


def huge_bmp(height, width):
    """A real BMP whose header was given another size."""
    file = bytearray(encoded(drawn(8, 8), "BMP"))
    file[18:26] = struct.pack("<ii", width, height)
    return bytes(file)


def hostile_bodies(count, seed=0):
    """Yield (kind, body, headers) of `count` requests to the toy's `:predict`, all wrong in some way."""
    rng = np.random.default_rng(seed)
    kinds = list(_KINDS)
    for i in range(count):
        kind = kinds[i % len(kinds)]
        made = _KINDS[kind](rng)
        body, headers = made if isinstance(made, tuple) else (made, {})
        yield kind, body, headers


def _truncated(rng):
    format = ("PNG", "JPEG", "BMP")[rng.integers(3)]
    file = encoded(drawn(int(rng.integers(8, 64)), 32, seed=int(rng.integers(1000))), format)
    # A JPEG that ends in its pixels is completed with grey by the decoder: cut it in the header.
    longest = len(file) // 2 if format == "PNG" else 150 if format == "JPEG" else 60
    return bytes_request(file[: int(rng.integers(0, longest))])


def _broken_png(rng):
    """One byte of the compressed pixels or of the checksums changed."""
    file = bytearray(encoded(drawn(16, 16, seed=int(rng.integers(1000)))))
    place = int(rng.integers(45, len(file) - 12))
    file[place] ^= int(rng.integers(1, 256))
    return bytes_request(bytes(file))


def _bomb(rng):
    side = int(rng.integers(4096, 30_000))
    return bytes_request(huge_png(side, side, rows=side))


def _huge_header(rng):
    make = (huge_png, huge_bmp, lambda h, w: huge_jpeg(60_000, 60_000))[rng.integers(3)]
    return bytes_request(make(100_000, 100_000))


def _many_scans(rng):
    file = encoded(drawn(64, 64), "JPEG", progressive=True)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x01\x00"
    return bytes_request(file[:-2] + scan * int(rng.integers(100, 5000)) + file[-2:])


def _broken_base64(rng):
    text = base64.b64encode(encoded(drawn(9, 9))).decode()
    place = int(rng.integers(len(text) - 4))
    text = text[:place] + "!@ \u00e9"[rng.integers(4)] + text[place + 1 :]
    return json.dumps({"signature_name": "serve_bytes", "instances": [{"b64": text}]}).encode()


def _broken_json(rng):
    body = bytes_request(encoded(drawn(9, 9)))
    return body[: int(rng.integers(0, len(body)))]


def _noise(rng):
    return rng.bytes(int(rng.integers(0, 2000)))


def _deep(rng):
    depth = int(rng.integers(10, 100_000))
    return b'{"instances": ' + b"[" * depth + b"1" + b"]" * depth + b"}"


def _long(rng):
    """Many small elements, far more than one request may have."""
    return json.dumps({"instances": [[[[0, 0, 0]]]] * int(rng.integers(20, 20_000))}).encode()


def _wrong_type(rng):
    values = (
        None,
        True,
        "text",
        {"a": 1},
        [],
        [[]],
        1e400,
        -1,
        2**70,
        [[["1", "2", "3"]]],
        [[[1, 2]]],
        {"b64": 3},
    )
    value = values[rng.integers(len(values))]
    names = ("serving_default", "serving_uint8", "serve_bytes", "absent", "", 3, None)
    key = ("instances", "inputs")[rng.integers(2)]
    name = names[rng.integers(len(names))]
    body = {"signature_name": name, key: [value] if key == "instances" else value}
    return json.dumps(body).encode()


def _ragged(rng):
    rows = [[[0, 0, 0]] * int(rng.integers(1, 4)) for _ in range(4)]
    rows[0], rows[1] = [[0, 0, 0]], [[0, 0, 0]] * 2
    return json.dumps({"instances": [rows]}).encode()


def _huge_number(rng):
    return b'{"instances": [[[[' + b"9" * int(rng.integers(400, 20_000)) + b", 0, 0]]]]}"


def _other_format(rng):
    file = (encoded(drawn(9, 9), "GIF"), encoded(drawn(9, 9), "TIFF"), b"%PDF-1.4", b"")[rng.integers(4)]
    return bytes_request(file)


def _too_many_pixels(rng):
    # Eight images of the largest size: 9 KiB of body, 32 million pixels.
    return bytes_request(*[huge_png(2048, 2048)] * 8)


def _compressed_bomb(rng):
    return _zeros_compressed(), {"Content-Encoding": "gzip"}


@functools.cache
def _zeros_compressed():
    return gzip.compress(bytes(40 << 20), 6)


def _wrong_encoding(rng):
    return rng.bytes(100), {"Content-Encoding": ("gzip", "deflate")[rng.integers(2)]}


_KINDS = {
    "truncated image": _truncated,
    "broken pixels": _broken_png,
    "bomb": _bomb,
    "huge header": _huge_header,
    "many scans": _many_scans,
    "broken base64": _broken_base64,
    "broken JSON": _broken_json,
    "noise": _noise,
    "deep JSON": _deep,
    "long JSON": _long,
    "wrong type": _wrong_type,
    "ragged": _ragged,
    "huge number": _huge_number,
    "other format": _other_format,
    "too many pixels": _too_many_pixels,
    "compressed bomb": _compressed_bomb,
    "wrong encoding": _wrong_encoding,
}
