"""Reading every image and annotation of a data set once, counting objects, and saying all that is wrong."""

import dataclasses
from collections import Counter
from multiprocessing.pool import ThreadPool

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.data.report import problems_error
from keras_seg.data.specs import open_source
from keras_seg.utils.progress import track

# COCO's: areas below 32 x 32 pixels are small, from 96 x 96 on large.
SIZE_LIMITS = (32**2, 96**2)
_MANY_OBJECTS = 1000
_THREADS = 4


@dataclasses.dataclass(frozen=True)
class ObjectReport:
    """What a check of objects found. Crowd regions are counted by themselves, not as objects.

    Attributes:
        description: str, one line about the data.
        count: int, images of the data set.
        sizes: dict of (height, width) to a number of images, the most frequent first.
        object_names: tuple of str.
        class_objects: int64 (K, 3), objects of each class that are small, medium and large as COCO has it:
            below 32 x 32 and 96 x 96 pixels of area, and above.
        class_images: int64 (K,), images that have any object of each class.
        objects_per_image: int64 array, one number for each image that can be read.
        crowds: int, crowd regions.
        unreadable: dict of int to str: images that cannot be used at all, by index, and why.
        problems: list of str, one for each bad annotation or image; each says where it is and what to do.
        remarks: list of str, what is unusual but can be used.
    """

    description: str
    count: int
    sizes: dict
    object_names: tuple
    class_objects: np.ndarray
    class_images: np.ndarray
    objects_per_image: np.ndarray
    crowds: int
    unreadable: dict
    problems: list
    remarks: list

    def raise_if_bad(self):
        """Raise a DataError with the first problems, if there is any."""
        if self.problems:
            items = self.count + int(self.objects_per_image.sum()) + self.crowds
            raise problems_error(self.problems, items + len(self.problems) - len(self.unreadable))

    def __str__(self):
        sizes = ", ".join(f"{height} x {width} ({count})" for (height, width), count in self.sizes.items())
        lines = [self.description, f"sizes (height x width): {sizes or 'none'}"]
        if len(self.objects_per_image):
            numbers = self.objects_per_image
            lines.append(
                f"objects: {numbers.sum()}, per image {numbers.min()} to {numbers.max()}, median "
                f"{np.median(numbers):g}; {(numbers == 0).sum()} images without; {self.crowds} crowd regions"
            )
        width = max(map(len, ("class", *self.object_names)))
        lines.append(f"  {'class':{width}}  objects  images    small   medium    large")
        for name, images, row in zip(self.object_names, self.class_images, self.class_objects, strict=True):
            parts = "".join(f" {number:8d}" for number in row)
            lines.append(f"  {name:{width}} {row.sum():8d} {images:7d}{parts}")
        lines.extend(f"remark: {remark}" for remark in self.remarks)
        if self.problems:
            lines.append(f"{len(self.problems)} annotations or images cannot be used:")
            lines.extend(f"- {problem}" for problem in self.problems)
        else:
            lines.append("No problems found.")
        return "\n".join(lines)


def check_objects(source, progress=True):
    """Read every image and annotation, count objects by class and size, and collect what is wrong.

    Args:
        source: Source or str, as for `open_source`; one that has objects.
        progress: bool. Show a progress bar on a terminal.

    Returns:
        ObjectReport. Its `problems` are empty for good data; `report.raise_if_bad()` raises them.

    Example:

        print(keras_seg.data.check_objects("coco:annotations.json,images"))
    """
    source = open_source(source)
    return survey_objects(source, source.read_objects, progress)


def survey_objects(source, read, progress=False):
    """`check_objects` with a reader of one's own, of the arguments of `source.read_objects`."""
    count = len(source.object_names)

    def look(index):
        problems = []
        try:
            image, objects = read(index, problems)
        except DataError as error:
            return index, None, [*problems, str(error)]
        kept = objects.take(~objects.crowd)
        groups = np.searchsorted(SIZE_LIMITS, kept.areas, side="right")
        table = np.zeros((count, 3), "int64")
        np.add.at(table, (kept.labels, groups), 1)
        return index, (image.shape[:2], table, len(objects) - len(kept)), problems

    sizes, problems, remarks, unreadable = Counter(), list(source.problems), [], {}
    class_objects, class_images = np.zeros((count, 3), "int64"), np.zeros(count, "int64")
    numbers, crowds = [], 0
    with ThreadPool(_THREADS) as pool:
        results = pool.imap(look, range(len(source)))
        for index, found, bad in track(results, "checking objects", len(source), disable=not progress):
            problems += bad
            if found is None:
                unreadable[index] = bad[-1]
                continue
            size, table, crowded = found
            sizes[size] += 1
            class_objects += table
            class_images += table.any(axis=1)
            crowds += crowded
            numbers.append(table.sum())
            if numbers[-1] >= _MANY_OBJECTS:
                remarks.append(
                    f"the image {source.ids[index]} has {numbers[-1]} objects. Training takes `max_objects` "
                    "of them at random, and the rest count as background: raise that, or cut the image into "
                    "tiles."
                )
    return ObjectReport(
        source.describe(),
        len(source),
        dict(sizes.most_common()),
        source.object_names,
        class_objects,
        class_images,
        np.array(numbers, "int64"),
        crowds,
        unreadable,
        problems,
        remarks,
    )


def usable_rows(source, read, bad="refuse"):
    """Check all items before training, and decide what happens with those that cannot be used.

    Args:
        source: Source that has objects.
        read: callable of the arguments of `source.read_objects`.
        bad: "refuse" raises; "skip" prints how many annotations and images are left out.

    Returns:
        int array: the items that can be read.

    Raises:
        DataError: there is something to refuse, or no item is left.
    """
    report = survey_objects(source, read, progress=True)
    if bad == "refuse":
        report.raise_if_bad()
    if report.problems:
        print(
            f"{source.name}: {len(report.problems) - len(report.unreadable)} annotations and "
            f"{len(report.unreadable)} of {len(source)} images left out; `keras-seg check-data` names them."
        )
    if len(report.unreadable) == len(source):
        raise DataError(f"No image of `{source.name}` can be read. The first: {report.problems[0]}")
    return np.setdiff1d(np.arange(len(source)), list(report.unreadable))


def without_bad_objects(source):
    """The same data without the images and annotations that cannot be used; says how many they are.

    Args:
        source: Source or str, as for `open_source`; one that has objects.

    Returns:
        Source, whose `read_objects` leaves out bad annotations in place of raising.
    """
    source = open_source(source)
    usable = source.subset(usable_rows(source, source.read_objects, "skip"))
    usable.skips_bad = True
    return usable
