"""DeconvNet's training data: crops around the objects of another data set, as a data set of their own.

H. Noh, S. Hong and B. Han, ICCV 2015, section 4: the network learns one object at a time first, and then
whatever lies in object proposals.
"""

import numpy as np

from keras_seg.data.box_crops import crop_box, crop_box_mask, enlarged
from keras_seg.data.errors import DataError
from keras_seg.data.instance_classes import instance_classes
from keras_seg.data.proposals import instance_boxes, overlapping
from keras_seg.data.report import problems_error
from keras_seg.data.source import Source
from keras_seg.utils.progress import track
from keras_seg.utils.validation import check_integer, check_number

CROP_SIZE = 250
ENLARGE = 1.2
# A rare class is not repeated more often than this: its few crops would be learned by heart.
_MOST_REPEATS = 10


class BoxCrops(Source):
    """Boxes of a data set's images, each an image of its own.

    Args:
        source: Source.
        crops: list of (index in the source, box xyxy in pixels, instance id or None). With an id, all pixels
            that are neither the object's nor ignored become background, or ignored where the source has no
            background.
        size: int. Side of a crop, pixels.
    """

    def __init__(self, source, crops, size=CROP_SIZE):
        if not crops:
            raise DataError(f"No crop could be cut from `{source.name}`: its images have no boxes.")
        ids, counts = source.ids, {}
        names = []
        for index, _, _ in crops:
            counts[index] = counts.get(index, 0) + 1
            names.append(f"{ids[index]}_{counts[index]}")
        super().__init__(
            source.name,
            names,
            source.class_names,
            channels=source.channels,
            dtype=source.dtype,
            ignore_class=source.ignore_class,
            colors=source.colors,
        )
        self.has_background = source.has_background
        # Whoever found the boxes has read the images; once more for each crop would take hours.
        self.drawn = True
        self._source = source
        self._crops = list(crops)
        self._side = check_integer("size", size)

    def _read(self, row):
        index, box, instance = self._crops[row]
        image, mask = self._source.read(index)
        nothing = 0 if self.has_background else self.ignore_class
        if instance is not None:
            other = objects(self._source, index, mask) != instance
            if self.ignore_class is not None:
                other &= mask != self.ignore_class
            mask = np.where(other, nothing, mask).astype(mask.dtype)
        return crop_box(image, box, self._side), crop_box_mask(mask, box, self._side, nothing)

    def _size(self, row):
        return self._side, self._side


def instance_crops(source, *, size=CROP_SIZE, enlarge=ENLARGE, min_side=8, balance=True):
    """Stage 1: every object of a data set, centred, with all else turned to background.

    Objects are the format's instances; where it has none, the connected parts of each class but background.
    Whole scenes have no background (`Source.has_background`): all else is ignored there.

    Args:
        source: Source.
        size: int. Side of a crop, pixels; 250, of which training takes 224.
        enlarge: float. The crop as a multiple of the object's box.
        min_side: float. Objects whose box has a shorter side are left out, pixels.
        balance: bool. Repeat the crops of rare classes, see `balanced`.

    Returns:
        BoxCrops.

    Raises:
        DataError: there are no objects; or files that cannot be used, all of them named.
    """
    check_number("enlarge", enlarge)
    crops, classes = [], []
    for index, _, mask, instances in _items(source, "Objects"):
        class_of = instance_classes(mask, instances, source.ignore_class)
        for instance, box in zip(*instance_boxes(instances), strict=True):
            if _is_object(source, class_of.get(int(instance))) and min(box[2:] - box[:2]) >= min_side:
                crops.append((index, enlarged(box, enlarge), int(instance)))
                classes.append(class_of[int(instance)])
    if not crops:
        raise DataError(
            f"No crop could be cut from `{source.name}`: its {len(source)} images have no object of a class "
            f"but {source.class_names[0]} that is at least {min_side} pixels high and wide."
        )
    return BoxCrops(source, balanced(crops, classes) if balance else crops, size)


def proposal_crops(source, propose, *, size=CROP_SIZE, threshold=0.5, balance=True):
    """Stage 2: proposals that overlap an object, with all their labels.

    Args:
        source: Source.
        propose: callable from an image (H, W, C) to boxes (P, 4), xyxy in pixels, or a dict of the source's
            ids to boxes. Boxes are taken as they are.
        size: int. Side of a crop, pixels.
        threshold: float. Least IoU of a proposal with an object's box.
        balance: bool. Repeat the crops of rare classes, a crop's class being that of the object.

    Returns:
        BoxCrops.

    Raises:
        DataError: no proposal overlaps an object, the dict lacks an image; or files that cannot be used, all
            of them named.
    """
    ids, crops, classes = source.ids, [], []
    for index, image, mask, instances in _items(source, "Proposals"):
        boxes = boxes_of(propose, ids[index], lambda image=image: image)
        class_of = instance_classes(mask, instances, source.ignore_class)
        numbers, truth = instance_boxes(instances)
        matched, overlap = overlapping(boxes, truth)
        for box, best, counts in zip(np.asarray(boxes), matched, overlap >= threshold, strict=True):
            if counts and _is_object(source, class_of.get(int(numbers[best]))):
                crops.append((index, box, None))
                classes.append(class_of[int(numbers[best])])
    if not crops:
        raise DataError(
            f"No crop could be cut from `{source.name}`: no proposal of its {len(source)} images overlaps an "
            f"object by an IoU of {threshold:g}. Are the proposals those of these images?"
        )
    return BoxCrops(source, balanced(crops, classes) if balance else crops, size)


def boxes_of(proposals, name, read_image):
    """One image's proposals.

    Args:
        proposals: callable from an image to boxes (P, 4), or dict of names to boxes.
        name: str. The image's id.
        read_image: callable that gives the image; called only where it is needed.

    Raises:
        DataError: the dict does not have the image.
    """
    if callable(proposals):
        return proposals(read_image())
    if name not in proposals:
        raise DataError(
            f"There are no proposals for the image {name}; there are some for {len(proposals)} others. Make "
            "them for this data set, or give it an empty list."
        )
    return proposals[name]


def balanced(items, classes):
    """Items of rare classes repeated, each in turn, until every class has half as many as the commonest.

    None is repeated more than ten times.

    Args:
        items: list.
        classes: list of int, the class of each item.

    Returns:
        list: the items, and the repeated ones after them.

    Example:
        >>> balanced(["a", "b", "c", "d", "e"], [1, 1, 1, 1, 2])
        ['a', 'b', 'c', 'd', 'e', 'e']
    """
    members = {}
    for item, number in zip(items, classes, strict=True):
        members.setdefault(number, []).append(item)
    wanted = max(map(len, members.values()), default=0) // 2
    result = list(items)
    for group in members.values():
        missing = min(wanted, _MOST_REPEATS * len(group)) - len(group)
        result += [group[i % len(group)] for i in range(missing)]
    return result


def objects(source, index, mask):
    """Instance ids of an item, integers (H, W): the format's own, or the connected parts of each class."""
    instances = source.read_instances(index)
    if instances is not None:
        return instances
    from skimage.measure import label

    ignored = mask == source.ignore_class if source.ignore_class is not None else False
    # Background is 0 for `label`: classes move up by one where class 0 is one of them.
    classes = mask if source.has_background else mask.astype(int) + 1
    return label(np.where(ignored, 0, classes), background=0, connectivity=2)


def _is_object(source, number):
    """Whether a class, None for none, is one of objects."""
    return number is not None and (number > 0 or not source.has_background)


def _items(source, title):
    """(index, image, mask, instances) of each item; in the end an error that names all that is wrong."""
    problems = []
    for index in track(range(len(source)), title):
        try:
            image, mask = source.read(index)
            instances = objects(source, index, mask)
        except DataError as error:
            problems.append(str(error))
            continue
        yield index, image, mask, instances
    if problems:
        raise problems_error(problems, len(source))
