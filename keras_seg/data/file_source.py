"""Data sets of image and mask files: files found and paired by name, read and checked one pair at a time."""

from multiprocessing.pool import ThreadPool
from pathlib import Path

from keras_seg.data.errors import DataError
from keras_seg.data.image_files import read_header, read_image, read_mask, with_channels
from keras_seg.data.source import Source

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_MASK_ENDINGS = ("", "_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg", "_L")


class FileSource(Source):
    """Pairs of an image file and a mask file of class ids.

    Args:
        name: str. The format.
        pairs: sequence of (image path, mask path or None). None, for a mask that is absent, is an error when
            that item is read, so that a check can list every one.
        table: ClassTable.
        channels: 1, 3 or None. None: 1 if all files are grey, else 3.
    """

    def __init__(self, name, pairs, table, channels=None):
        with ThreadPool(4) as pool:
            self._headers = pool.map(_header_or_none, [image for image, _ in pairs])
        known = [header for header in self._headers if header]
        if channels is None:
            channels = max((header.channels for header in known), default=3)
        super().__init__(
            name,
            [image.stem for image, _ in pairs],
            table.names,
            channels=channels,
            dtype="float32" if any(header.dtype == "float32" for header in known) else "uint8",
            ignore_class=table.ignore,
            colors=table.display_colors,
            image_paths=[image for image, _ in pairs],
        )
        self._pairs = tuple(pairs)
        self._table = table

    def _read(self, row):
        image_path, mask_path = self._pairs[row]
        if mask_path is None:
            raise DataError(missing_mask(image_path))
        image = self._read_image(row)
        mask = self._read_mask(mask_path)
        check_sizes(image, image_path, mask, mask_path)
        return image, mask

    def _read_image(self, row):
        image = read_image(self._pairs[row][0])
        return with_channels(image, self.channels).astype(self.dtype, copy=False)

    def _read_mask(self, path):
        """Class ids from a mask file, uint8 (H, W)."""
        return self._table.encode(read_mask(path), path)

    def _size(self, row):
        header = self._headers[row]
        return header and (header.height, header.width)


def check_sizes(image, image_path, mask, mask_path):
    """Raise a DataError unless a mask has its image's size."""
    if mask.shape != image.shape[:2]:
        raise DataError(
            f"{mask_path} is {mask.shape[0]} x {mask.shape[1]} pixels (height x width), its image "
            f"{image_path} is {image.shape[0]} x {image.shape[1]}. Export the mask at the image's size."
        )


def list_images(folder):
    """Image files in a folder, sorted by name; hidden files and other suffixes are passed over.

    Raises:
        DataError: there is no such folder, or no image in it, or two with one stem.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Check the path.")
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not files:
        raise DataError(f"{folder} is empty: it has no file that ends in {', '.join(IMAGE_SUFFIXES)}.")
    stems = {}
    for path in files:
        if stems.setdefault(path.stem, path) is not path:
            raise DataError(f"{stems[path.stem]} and {path} have one name. Rename or remove one of them.")
    return files


def pair_files(image_folder, mask_folder):
    """Pairs (image, mask or None) by stem; the mask's may end in _mask, _label, _gt, _seg or _L."""
    images = list_images(image_folder)
    masks = {path.stem: path for path in list_images(mask_folder)}
    return [
        (image, next((masks[image.stem + end] for end in _MASK_ENDINGS if image.stem + end in masks), None))
        for image in images
    ]


def missing_mask(image_path):
    """The message for an image without a mask."""
    return (
        f"{image_path} has no mask. Add one of the same name (such as {image_path.stem}.png) to the folder "
        "of masks, or remove the image."
    )


def _header_or_none(path):
    try:
        return read_header(path)
    except (DataError, OSError):
        return None
