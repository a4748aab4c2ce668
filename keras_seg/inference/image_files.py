"""Images and maps larger than memory: rows read from .npy and TIFF files, and results written to them.

Memory-mapped files are read and written band by band, and after each band their pages are handed back to
the system: otherwise the process would seem to hold the whole of each file it has walked through.
"""

import contextlib
import mmap
import os
from pathlib import Path

import numpy as np

from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.validation import bad_argument

TIFF_SUFFIXES = (".tif", ".tiff")
_DIVISORS = {"uint16": 257, "bool": 1 / 255}


@contextlib.contextmanager
def open_image(image):
    """Give (source, divisor): `source` has `shape`, `dtype` and `[first:last]` along rows.

    Pixels divided by `divisor` are in 0..255: it is 257 for files of 16 bits and 1 / 255 for files of 1 bit,
    as `data.read_image` has it, and 1 for other files and for arrays, whose values are taken as they are.

    Args:
        image: array-like (H, W) or (H, W, C), also `np.memmap`; or the path of a .npy file, which is
            memory-mapped, or of a TIFF file, memory-mapped when it is uncompressed and else decoded strip
            by strip or tile by tile (a file compressed as one single strip has to be decoded whole).

    Raises:
        ValueError: not two or three axes, an empty image, numbers that are not real, a file of another kind,
            or a TIFF of several pages.
        FileNotFoundError: no such file.
    """
    with contextlib.ExitStack() as stack:
        from_file = isinstance(image, (str, os.PathLike))
        if from_file:
            source, name = stack.enter_context(_open_path(Path(image))), str(image)
        else:
            source = image if isinstance(image, np.ndarray) else np.asarray(image)
            name = f"array of shape {source.shape} and dtype {source.dtype}"
        if len(source.shape) not in (2, 3) or 0 in source.shape:
            raise bad_argument("image", "an image (H, W) or (H, W, C) with pixels", name)
        if source.dtype.kind not in "buif":
            raise bad_argument("image", "an image of integers or real numbers", name)
        yield source, _DIVISORS.get(source.dtype.name, 1) if from_file else 1


@contextlib.contextmanager
def _open_path(path):
    if not path.is_file():
        raise FileNotFoundError(f"`image` must be the path of an image file. There is none at {path}.")
    if path.suffix.lower() == ".npy":
        try:
            yield np.lib.format.open_memmap(path, "r")
        except ValueError as error:
            raise ValueError(f"{path} is not a .npy file that can be memory-mapped: {error}.") from error
    elif path.suffix.lower() in TIFF_SUFFIXES:
        with _open_tiff(path) as source:
            yield source
    else:
        raise bad_argument(
            "image",
            "an array, or the path of a .npy or TIFF file",
            str(path),
            "Read other files first, for instance with np.asarray(PIL.Image.open(path)).",
        )


@contextlib.contextmanager
def _open_tiff(path):
    import tifffile

    try:
        file = tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        raise ValueError(f"{path} is not a TIFF file that can be read: {error}.") from error
    with file:
        if len(file.pages) != 1:
            raise bad_argument(
                "image",
                "a TIFF file of one page",
                f"{path} with {len(file.pages)} pages",
                "Give the pages one by one, read with tifffile.imread(path, key=page).",
            )
        page = file.pages[0]
        yield tifffile.memmap(path, page=0, mode="r") if page.is_memmappable else _CompressedRows(page)


class _CompressedRows:
    """Rows of a TIFF page that has to be decoded; the segments of the last rows read are kept.

    Bands of tiles overlap, so that the next band asks for some of the same segments again.
    """

    def __init__(self, page):
        self._page = page
        self._planes = page.samplesperpixel if page.planarconfig == 2 else 1
        self._height, self._width = page.imagelength, page.imagewidth
        self._rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, self._height)
        self._columns = -(-self._width // page.tilewidth) if page.is_tiled else 1
        self._decoded = {}
        samples = page.samplesperpixel
        self.shape = (self._height, self._width) + ((samples,) if samples > 1 else ())
        self.dtype = page.dtype

    def __getitem__(self, rows):
        first, last, _ = rows.indices(self._height)
        strips = range(first // self._rows, -(-last // self._rows))
        per_plane = -(-self._height // self._rows) * self._columns
        wanted = [
            plane * per_plane + strip * self._columns + column
            for plane in range(self._planes)
            for strip in strips
            for column in range(self._columns)
        ]
        self._decoded = {index: self._decoded.get(index) for index in wanted}
        self._decode([index for index, segment in self._decoded.items() if segment is None])
        pixels = np.empty((last - first, self._width, self._page.samplesperpixel), self.dtype)
        for data, (plane, _, top, left, _) in self._decoded.values():
            rows, columns = _cut(first, last, top, data.shape[0]), _cut(0, self._width, left, data.shape[1])
            samples = slice(plane, plane + 1) if self._planes > 1 else slice(None)
            pixels[rows[0], columns[0], samples] = data[rows[1], columns[1]]
        return pixels.reshape(last - first, *self.shape[1:])

    def _decode(self, indices):
        page = self._page
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.jpegtables else {}
        segments = page.parent.filehandle.read_segments(
            [page.dataoffsets[i] for i in indices],
            [page.databytecounts[i] for i in indices],
            indices,
            flat=True,
        )
        for data, index in segments:
            try:
                decoded, position, shape = page.decode(data, index, **tables)
            except Exception as error:  # whatever a codec raises on a broken or unknown stream
                raise ValueError(
                    f"{page.parent.filehandle.path} cannot be decoded: {error}. Some compressions need the "
                    "package `imagecodecs`: pip install imagecodecs"
                ) from error
            if decoded is None:  # a sparse file leaves empty segments out
                decoded = np.full(shape, page.nodata, self.dtype)
            self._decoded[index] = decoded[0], position


def _cut(first, last, start, length):
    """Where a segment at `start` lies in the window from `first` to `last`, and which part of it does."""
    low, high = max(first, start), min(last, start + length)
    return slice(low - first, high - first), slice(low - start, high - start)


@contextlib.contextmanager
def open_output(out, shape, dtype):
    """Give an array of `shape` and `dtype` to fill; a file appears under its name only once it is whole.

    Args:
        out: None for a new array in memory; an array to be filled; or a path ending in .npy or .tif.
        shape: tuple of int.
        dtype: str. Numpy type.

    Raises:
        ValueError: the array has another shape or type, or the path another suffix.
    """
    if out is None:
        yield np.empty(shape, dtype)
    elif isinstance(out, (str, os.PathLike)):
        suffix = Path(out).suffix.lower()
        if suffix != ".npy" and suffix not in TIFF_SUFFIXES:
            raise bad_argument("out", "None, an array, or a path ending in .npy or .tif", str(out))
        with atomic_file(out) as path:
            target = _create(path, shape, dtype)
            yield target
            target.flush()
            del target
    else:
        received = (getattr(out, "shape", None), str(getattr(out, "dtype", type(out).__name__)))
        if received != (tuple(shape), str(np.dtype(dtype))):
            raise bad_argument("out", f"an array of shape {tuple(shape)} and dtype {dtype}", received)
        yield out


def _create(path, shape, dtype):
    if path.suffix.lower() == ".npy":
        return np.lib.format.open_memmap(path, "w+", dtype, shape)
    import tifffile

    # Without planarconfig, tifffile would write (H, W, K) as H pages of W x K.
    layout = {"planarconfig": "contig"} if len(shape) == 3 and shape[2] > 1 else {}
    return tifffile.memmap(path, shape=shape, dtype=dtype, photometric="minisblack", **layout)


def read_output(out, shape):
    """Memory-map, read-only, a file that `open_output` has written; TIFF drops a last axis of one."""
    with _open_path(Path(out)) as array:
        return array.reshape(shape)


def release_pages(array):
    """Hand a memory-mapped array's pages back to the system: what was written stays in its file cache.

    Does nothing for other arrays, and for copy-on-write maps, whose changes exist in those pages only.
    """
    mode = None
    while isinstance(array, np.ndarray):
        mode = getattr(array, "mode", mode)
        array = array.base
    if isinstance(array, mmap.mmap) and mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        array.madvise(mmap.MADV_DONTNEED)
