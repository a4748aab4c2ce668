"""Drawn data with known truth: coloured shapes on a textured ground, for demos, tests and first steps.

Every class has its own kind of shape and its own range of hues, so a network can learn them in a minute;
shapes overlap, hide one another and carry noise, so it has something to learn. Nothing is downloaded.
"""

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw

from keras_seg.data.errors import DataError
from keras_seg.data.instance_classes import instance_classes
from keras_seg.data.objects import Objects
from keras_seg.data.source import Source
from keras_seg.utils.validation import bad_argument, check_integer, check_number, check_pair

# Of an object's circle, as parts of the image's shorter side.
_RADIUS = (0.1, 0.24)
_KINDS = ("circle", "rectangle", "triangle", "star", "cross", "ring")


class ShapesSource(Source):
    """Images drawn on demand: the same seed, size and index give the same image on every run.

    Args:
        count: int. Number of images.
        size: int or (height, width), at least 16.
        num_classes: int, 2 to 255. Background is class 0.
        seed: int.
        radius: (least, largest), of the circle around an object, as parts of the shorter side.
    """

    drawn = True

    def __init__(self, count=200, size=(128, 128), num_classes=4, seed=0, radius=_RADIUS):
        count = check_integer("count", count)
        self._shape = check_pair("size", size, 16)
        self._seed = check_integer("seed", seed, 0)
        if check_integer("num_classes", num_classes, 2) > 255:
            raise bad_argument("num_classes", "at most 255", num_classes)
        self._radius = tuple(check_number("radius", part, 0.001, 1) for part in radius)
        if len(self._radius) != 2 or self._radius[0] > self._radius[1]:
            raise bad_argument("radius", "(least, largest)", radius)
        self._rings = math.ceil((num_classes - 1) / len(_KINDS))
        names = [self._class_name(number) for number in range(1, num_classes)]
        ids = [f"shapes_{number:05d}" for number in range(count)]
        super().__init__("shapes", ids, ("background", *names))

    def _class_name(self, number):
        ring, kind = divmod(number - 1, len(_KINDS))
        return _KINDS[kind] if self._rings == 1 else f"{_KINDS[kind]}_{ring + 1}"

    def _read(self, row):
        image, mask, _ = self._draw(row)
        return image, mask

    def _read_instances(self, row):
        return self._draw(row)[2]

    @property
    def object_names(self):
        return self.class_names[1:]

    def _read_objects(self, row, problems):
        image, mask, instances = self._draw(row)
        labels = {number: kind - 1 for number, kind in instance_classes(mask, instances).items()}
        return image, Objects.from_id_map(instances, labels)

    def _size(self, row):
        return self._shape

    def _draw(self, row):
        random = np.random.default_rng((self._seed, int(row)))
        image = _ground(random, self._shape)
        mask = np.zeros(self._shape, "uint8")
        instances = np.zeros(self._shape, "uint16")
        side = min(self._shape)
        for number in range(1, random.integers(4, 9) + 1):
            class_id = random.integers(1, self.num_classes)
            radius = side * random.uniform(*self._radius)
            center = random.uniform(0, 1, 2) * self._shape
            inside = _stencil(_KINDS[(class_id - 1) % len(_KINDS)], self._shape, center, radius, random)
            # A shade that falls off across the shape, so that one object is not one colour.
            rows, columns = np.nonzero(inside)
            slope = random.uniform(-0.3, 0.3, 2)
            shade = 1 + (rows - center[0]) / radius * slope[0] + (columns - center[1]) / radius * slope[1]
            image[inside] = self._color(class_id, random) * shade[:, None]
            mask[inside] = class_id
            instances[inside] = number
        image += random.normal(0, 8, image.shape)
        visible, instances = np.unique(instances, return_inverse=True)
        if visible[0] != 0:
            instances = instances + 1
        return (
            image.round().clip(0, 255).astype("uint8"),
            mask,
            instances.reshape(self._shape).astype("uint16"),
        )

    def _color(self, class_id, random):
        """RGB of one object: hues of one kind are apart by 1 / rings, and vary by a quarter of that."""
        ring, kind = divmod(class_id - 1, len(_KINDS))
        hue = kind / len(_KINDS) + ring / self._rings
        hue += random.uniform(-0.25, 0.25) / max(self._rings, len(_KINDS))
        return 255 * np.array(
            colorsys.hsv_to_rgb(hue % 1, random.uniform(0.65, 0.95), random.uniform(0.6, 0.95))
        )


def open_shapes(text=""):
    """Open drawn data from the text after `shapes:`: nothing, a count, or `count=200,size=128x96,...`."""
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.rpartition("=")
        key = key if equals else "count"
        try:
            options[key] = _PARSE[key](value)
        except (KeyError, ValueError) as error:
            raise DataError(
                f"`{part}` in shapes:{text} is not understood. Write shapes:COUNT, or "
                "shapes:count=200,size=128,num_classes=4,seed=0,radius=0.1x0.24 with the parts that you need."
            ) from error
    return ShapesSource(**options)


def _whole(text):
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def _sides(text):
    sides = tuple(map(_whole, text.split("x")))
    return sides if len(sides) > 1 else sides[0]


def _radii(text):
    least, largest = text.split("x")
    return float(least), float(largest)


_PARSE = {"count": _whole, "size": _sides, "num_classes": _whole, "seed": _whole, "radius": _radii}


def _ground(random, shape):
    """A grey, faintly coloured texture: smooth noise of two scales, (H, W, 3) float."""
    ground = np.full((*shape, 3), random.uniform(60, 190, ()), "float32")
    for cells, strength in ((4, 30), (16, 14)):
        coarse = random.normal(0, strength, (cells, cells)) * np.ones((3, 1, 1))
        coarse += random.normal(0, strength / 5, (3, cells, cells))
        for channel in range(3):
            layer = Image.fromarray(coarse[channel].astype("float32"))
            ground[..., channel] += np.asarray(layer.resize(shape[::-1], Image.Resampling.BICUBIC))
    return ground


def _stencil(kind, shape, center, radius, random):
    """Pixels of one shape, bool (H, W), without soft edges, so that the truth is exact."""
    canvas = Image.new("1", shape[::-1])
    pen = ImageDraw.Draw(canvas)
    y, x = center
    if kind in ("circle", "ring"):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
        if kind == "ring":
            hole = radius * random.uniform(0.45, 0.6)
            pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
        return np.array(canvas)
    turn = random.uniform(0, 2 * math.pi)
    pen.polygon(
        [(x + radius * px, y + radius * py) for px, py in _turned(_outline(kind, random), turn)], fill=1
    )
    return np.array(canvas)


def _outline(kind, random):
    """Corner points (x, y) of a polygon in the unit circle."""
    if kind == "rectangle":
        half = random.uniform(0.5, 0.85)
        return [(-half, -0.5), (half, -0.5), (half, 0.5), (-half, 0.5)]
    if kind == "triangle":
        return [_on_circle(third / 3) for third in range(3)]
    if kind == "star":
        return [_on_circle(tenth / 10, 0.42 if tenth % 2 else 1) for tenth in range(10)]
    arm = 0.28
    corner = [(arm, 0.95), (arm, arm), (0.95, arm)]
    quarters = [corner, [(0.95, -arm), (arm, -arm), (arm, -0.95)]]
    return [*corner, *quarters[1], *((-px, -py) for quarter in quarters for px, py in quarter)]


def _on_circle(part, radius=1.0):
    return radius * math.cos(2 * math.pi * part), radius * math.sin(2 * math.pi * part)


def _turned(points, angle):
    cosine, sine = math.cos(angle), math.sin(angle)
    return [(cosine * x - sine * y, sine * x + cosine * y) for x, y in points]
