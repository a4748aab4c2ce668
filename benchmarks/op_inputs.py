"""The arrays that `benchmarks.ops` computes on: NumPy's, of one seed, the same ones in every process.

Each function takes `quick`, whether the sizes are to be tiny, and returns a dict of arrays. "upstream" is the
gradient of the op's first output.
"""

import numpy as np

OUTPUT_SIZE, SCALE = 7, 1 / 8
LEVELS = {"P2": 1 / 4, "P3": 1 / 8, "P4": 1 / 16, "P5": 1 / 32}
MASK_SIZE, CANVAS = 28, 800


def _boxes(rng, shape, size, smallest=16, largest=None):
    """Boxes inside an image of `size`, their sides log-uniform."""
    sides = np.exp(rng.uniform(np.log(smallest), np.log(largest or size / 2), (*shape, 2)))
    corners = rng.uniform(0, 1, (*shape, 2)) * (size - sides)
    return np.concatenate([corners, corners + sides], axis=-1).astype("float32")


def proposals(quick):
    """Boxes as a proposal network gives them, dense around objects and thin elsewhere; scores all differ."""
    rng = np.random.default_rng(0)
    count, objects = (300, 10) if quick else (5000, 100)
    centres = _boxes(rng, (objects,), 800, 32, 400)[rng.integers(0, objects, count)]
    sides = np.tile(centres[:, 2:] - centres[:, :2], 2)
    near = centres + rng.normal(0, 0.08, (count, 4)) * sides
    boxes = np.where(rng.uniform(size=(count, 1)) < 0.8, near, _boxes(rng, (count,), 800))
    boxes = np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], axis=1)
    return {"boxes": boxes.astype("float32"), "scores": rng.permutation(count).astype("float32") / count}


def classed_proposals(quick):
    inputs = proposals(quick)
    inputs["classes"] = np.random.default_rng(1).integers(0, 80, len(inputs["scores"])).astype("int32")
    return inputs


def _regions(batch, image, channels, per_image):
    rng = np.random.default_rng(0)
    side = int(image * SCALE)
    features = rng.normal(size=(batch, side, side, channels)).astype("float32")
    upstream = rng.normal(size=(batch, per_image, OUTPUT_SIZE, OUTPUT_SIZE, channels)).astype("float32")
    return {"x": features, "boxes": _boxes(rng, (batch, per_image), image), "upstream": upstream}


def roi(quick):
    return _regions(2, 160, 16, 20) if quick else _regions(2, 800, 256, 500)


def memory(quick):
    rng = np.random.default_rng(0)
    height, width, channels, count = (20, 32, 16, 20) if quick else (200, 336, 256, 1000)
    features = rng.normal(size=(1, height, width, channels)).astype("float32")
    return {"x": features, "boxes": _boxes(rng, (1, count), height / SCALE)}


def pyramid(quick):
    rng = np.random.default_rng(0)
    image, channels, count = (160, 16, 20) if quick else (800, 256, 1000)
    sides = {name: int(image * scale) for name, scale in LEVELS.items()}
    maps = {name: rng.normal(size=(1, n, n, channels)).astype("float32") for name, n in sides.items()}
    upstream = rng.normal(size=(1, count, OUTPUT_SIZE, OUTPUT_SIZE, channels)).astype("float32")
    return {**maps, "boxes": _boxes(rng, (1, count), image, 16, image), "upstream": upstream}


def pool(quick):
    rng = np.random.default_rng(0)
    batch, side, channels = (2, 16, 4) if quick else (8, 224, 64)
    x = rng.normal(size=(batch, side, side, channels)).astype("float32")
    upstream = rng.normal(size=(batch, side // 2, side // 2, channels)).astype("float32")
    return {"x": x, "upstream": upstream}


def unpool(quick):
    pooled = pool(quick)
    batch, side, _, channels = pooled["x"].shape
    half = side // 2
    rng = np.random.default_rng(1)
    row, column = rng.integers(0, 2, (2, batch, half, half, channels))
    y, x = np.mgrid[:half, :half]
    indices = (2 * y[..., None] + row) * side + 2 * x[..., None] + column
    return {"x": pooled["upstream"], "indices": indices.astype("int32"), "upstream": pooled["x"]}


def iou(quick):
    rng = np.random.default_rng(0)
    few, many = (20, 60) if quick else (100, 20000)
    return {"boxes": _boxes(rng, (many,), 800), "other": _boxes(rng, (few,), 800)}


def coding(quick):
    rng = np.random.default_rng(0)
    count = 60 if quick else 160_000
    deltas = rng.normal(0, 0.5, (count, 4)).astype("float32")
    return {"boxes": _boxes(rng, (count,), 800), "anchors": _boxes(rng, (count,), 800), "deltas": deltas}


def flat_boxes(quick):
    return {"boxes": coding(quick)["boxes"] * 1.1 - 40}


def match(quick):
    """Anchors of an image of 800 x 800 on P3, and 50 objects in each of two images."""
    rng = np.random.default_rng(0)
    count, objects = (60, 3) if quick else (90_000, 50)
    return {
        "anchors": _boxes(rng, (count,), 800, 32, 512),
        "objects": _boxes(rng, (2, objects), 800, 32, 400),
    }


def sample(quick):
    rng = np.random.default_rng(0)
    return {
        "labels": rng.choice([-1, 0, 1], (2, 600 if quick else 160_000), p=[0.1, 0.89, 0.01]).astype("int32")
    }


def encode(quick):
    return {name: array for name, array in coding(quick).items() if name != "deltas"}


def decode(quick):
    arrays = {name: array for name, array in coding(quick).items() if name != "boxes"}
    return {
        **arrays,
        "upstream": np.random.default_rng(1).normal(size=arrays["deltas"].shape).astype("float32"),
    }


def crop(quick):
    rng = np.random.default_rng(0)
    batch, objects, side, count = (2, 3, 64, 5) if quick else (2, 20, 512, 128)
    masks = rng.integers(0, 2, (batch, objects, side // 16, side // 16), "uint8").repeat(16, 2).repeat(16, 3)
    indices = rng.integers(0, objects, (batch, count)).astype("int32")
    return {"masks": masks, "boxes": _boxes(rng, (batch, count), side), "indices": indices}


def soft_crop(quick):
    arrays = crop(quick)
    upstream = np.random.default_rng(1).normal(size=(*arrays["indices"].shape, MASK_SIZE, MASK_SIZE))
    return {**arrays, "masks": arrays["masks"].astype("float32"), "upstream": upstream.astype("float32")}


def mask_boxes(quick):
    """Blobs of 1 somewhere in masks of 0."""
    count, side = (3, 64) if quick else (100, CANVAS)
    masks = np.zeros((count, side, side), "uint8")
    for mask, (x1, y1, x2, y2) in zip(
        masks, _boxes(np.random.default_rng(0), (count,), side).astype(int), strict=True
    ):
        mask[y1:y2, x1:x2] = 1
    return {"masks": masks}


def paste(quick):
    rng = np.random.default_rng(0)
    count = 3 if quick else 100
    masks = rng.uniform(size=(1, count, MASK_SIZE, MASK_SIZE)).astype("float32")
    boxes = _boxes(rng, (1, count), CANVAS)
    upstream = rng.normal(size=(1, count, CANVAS, CANVAS)).astype("float32")
    return {"masks": masks, "boxes": boxes, "upstream": upstream}
