"""Reading every file of a data set once, before training, and saying all that is wrong with it at once."""

import dataclasses
from collections import Counter
from multiprocessing.pool import ThreadPool

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.data.specs import open_source
from keras_seg.utils.progress import track

_SHOWN = 10
_THREADS = 4


@dataclasses.dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        description: str, one line about the data.
        count: int, items of the data set.
        sizes: dict of (height, width) to a number of images, the most frequent first.
        class_names: tuple of str.
        class_pixels: int64 (num_classes,), pixels of each class.
        class_images: int64 (num_classes,), images that have any pixel of each class.
        class_areas: int64 (num_classes,), all labelled pixels of those images.
        ignored_pixels: int.
        problems: list of str, one for each bad item; each names the file and says what to do.
    """

    description: str
    count: int
    sizes: dict
    class_names: tuple
    class_pixels: np.ndarray
    class_images: np.ndarray
    class_areas: np.ndarray
    ignored_pixels: int
    problems: list

    def raise_if_bad(self):
        """Raise a DataError with the first problems, if there is any."""
        if self.problems:
            raise problems_error(self.problems, self.count)

    def __str__(self):
        sizes = ", ".join(f"{height} x {width} ({count})" for (height, width), count in self.sizes.items())
        total = max(1, int(self.class_pixels.sum()) + self.ignored_pixels)
        width = max(map(len, (*self.class_names, "ignored")))
        lines = [self.description, f"sizes (height x width): {sizes or 'none'}", "share of pixels, images:"]
        for name, pixels, images in zip(self.class_names, self.class_pixels, self.class_images, strict=True):
            lines.append(f"  {name:{width}} {100 * pixels / total:7.3f} %  {images:6d}")
        if self.ignored_pixels:
            lines.append(f"  {'ignored':{width}} {100 * self.ignored_pixels / total:7.3f} %")
        if self.problems:
            lines.append(f"{len(self.problems)} of {self.count} items cannot be used:")
            lines.extend(f"- {problem}" for problem in self.problems)
        else:
            lines.append("No problems found.")
        return "\n".join(lines)


def problems_error(problems, count):
    """One error of many.

    Args:
        problems: list of str, at least one, for each bad item.
        count: int, items of the data set.

    Returns:
        DataError with the first problems, to be raised by the caller.
    """
    if len(problems) == 1:
        return DataError(problems[0])
    lines = [f"- {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"- and {len(problems) - _SHOWN} more; `keras-seg check-data` lists all.")
    return DataError("\n".join([f"{len(problems)} of {count} items cannot be used:", *lines]))


def check(source, progress=True):
    """Read every image and mask, count classes and sizes, and collect what is wrong.

    Args:
        source: Source or str, as for `open_source`.
        progress: bool. Show a progress bar on a terminal.

    Returns:
        Report. Its `problems` are empty for good data; `report.raise_if_bad()` raises them.
    """
    source = open_source(source)
    return survey(source, source.read, progress)


def survey(source, read, progress=False):
    """`check` with a reader of one's own, such as one that keeps what it has read."""

    def look(index):
        try:
            image, mask = read(index)
        except DataError as error:
            return str(error)
        counts = np.bincount(mask.ravel(), minlength=256)
        return image.shape[:2], counts

    sizes, problems = Counter(), []
    pixels, images, areas = np.zeros((3, source.num_classes), "int64")
    ignored = 0
    with ThreadPool(_THREADS) as pool:
        results = pool.imap(look, range(len(source)))
        for result in track(results, "checking data", len(source), disable=not progress):
            if isinstance(result, str):
                problems.append(result)
                continue
            size, counts = result
            known = counts[: source.num_classes]
            sizes[size] += 1
            pixels += known
            images += known > 0
            areas += np.where(known > 0, known.sum(), 0)
            ignored += int(counts[source.num_classes :].sum())
    return Report(
        source.describe(),
        len(source),
        dict(sizes.most_common()),
        source.class_names,
        pixels,
        images,
        areas,
        ignored,
        problems,
    )
