"""What `benchmarks.ops` times: each op's inputs, its call, its aims, and the bytes that it cannot avoid.

Arrays are NumPy and come from one seed, so that every process makes the same ones. This file imports no
backend: the worker of PyTorch's own ops reads it too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

FORWARD, BACKWARD = "forward", "forward + backward"
OUTPUT_SIZE, SAMPLING_RATIO, SCALE = 7, 2, 1 / 8
NMS_THRESHOLD, MAX_OUTPUT = 0.7, 2000
LEVELS = {"P2": 1 / 4, "P3": 1 / 8, "P4": 1 / 16, "P5": 1 / 32}
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
MASK_SIZE, CANVAS = 28, 800
ITEM_SIZES = {"float32": 4, "bfloat16": 2}


class Case(NamedTuple):
    """One op at one size.

    Attributes:
        shapes: what is computed, for the reader.
        inputs: callable from `quick` to a dict of arrays. "upstream" is the gradient of the first output.
        call: callable from `keras_seg.ops` and the tensors to the op's result.
        peer: the package that has the same op.
        features: names of the inputs that take the dtype under test; gradients are those to them.
        aims: dict of (worker, mode, work) to the greatest ratio to the peer that is wanted, float32 on a CPU.
        compare: "values" within a tolerance; "boxes", the same indices but for ties of the arithmetic; or
            "nothing", where the peer's definition is another one.
    """

    shapes: str
    inputs: Callable
    call: Callable
    peer: str
    features: tuple = ()
    aims: dict = {}
    compare: str = "values"

    @property
    def works(self):
        return (FORWARD, BACKWARD) if self.features else (FORWARD,)


def arrays_of(case, dtype, quick):
    """The inputs of a case with the features rounded to `dtype`, still stored as float32."""
    arrays = case.inputs(quick)
    if dtype == "bfloat16":
        import ml_dtypes

        for name in (*case.features, "upstream"):
            if name in arrays:
                arrays[name] = arrays[name].astype(ml_dtypes.bfloat16).astype("float32")
    return arrays


def least_bytes(case, work, inputs, outputs, gradients, dtype):
    """Bytes read and written when each input is read once and each result written once.

    The backward pass reads the gradient of the first output and, once more, what its own result depends on:
    boxes or indices. What a forward pass could save for it is not counted.

    Args:
        case, work: what ran.
        inputs: dict of arrays, with the "upstream" gradient or without.
        outputs, gradients: lists of arrays; int64 counts as int32.
        dtype: str. The dtype of the features, in which the arrays are counted though they are float32.
    """
    wide = ITEM_SIZES[dtype] if case.features else 4
    inputs = {name: array for name, array in inputs.items() if name != "upstream"}
    others = [array.nbytes for name, array in inputs.items() if name not in case.features]
    total = sum(others) + wide * sum(inputs[name].size for name in case.features)
    total += wide * outputs[0].size + 4 * sum(array.size for array in outputs[1:])
    if work == BACKWARD:
        total += sum(others) + wide * outputs[0].size + 4 * sum(array.size for array in outputs[1:])
        total += wide * sum(array.size for array in gradients)
    return total


def agrees(case, ours, expected, dtype):
    """Whether results agree, with the error: relative in the L2 norm, or the share of other boxes.

    Args:
        ours: list of arrays.
        expected: list of arrays in float32 of the same number of elements, computed from the same inputs.
        dtype: str. The dtype of the features. A bfloat16 result is rounded by 2^-9 and may be summed from
            many such; float32 sums differ by their order.
    """
    if case.compare == "nothing":
        return True, None
    if case.compare == "boxes":
        ours, expected = (set(np.asarray(indices[0]).ravel().tolist()) - {-1} for indices in (ours, expected))
        error = len(ours ^ expected) / max(len(expected), 1)
        return error <= 0.005, error
    if len(ours) != len(expected) or any(a.size != b.size for a, b in zip(ours, expected, strict=True)):
        return False, float("inf")
    pairs = [(a, b.reshape(a.shape)) for a, b in zip(ours, expected, strict=True)]
    if any(a.dtype.kind in "iub" and not np.array_equal(a, b) for a, b in pairs):
        return False, float("inf")
    errors = [np.linalg.norm((a - b).ravel()) / max(np.linalg.norm(b.ravel()), 1e-30) for a, b in pairs]
    error = float(max(errors))
    return error <= (2e-2 if dtype == "bfloat16" else 1e-4), error


def _boxes(rng, shape, size, smallest=16, largest=None):
    """Boxes inside an image of `size`, their sides log-uniform."""
    sides = np.exp(rng.uniform(np.log(smallest), np.log(largest or size / 2), (*shape, 2)))
    corners = rng.uniform(0, 1, (*shape, 2)) * (size - sides)
    return np.concatenate([corners, corners + sides], axis=-1).astype("float32")


def _proposals(quick):
    """Boxes as a proposal network gives them, dense around objects and thin elsewhere; scores all differ."""
    rng = np.random.default_rng(0)
    count, objects = (300, 10) if quick else (5000, 100)
    centres = _boxes(rng, (objects,), 800, 32, 400)[rng.integers(0, objects, count)]
    sides = np.tile(centres[:, 2:] - centres[:, :2], 2)
    near = centres + rng.normal(0, 0.08, (count, 4)) * sides
    boxes = np.where(rng.uniform(size=(count, 1)) < 0.8, near, _boxes(rng, (count,), 800))
    boxes = np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], axis=1)
    return {"boxes": boxes.astype("float32"), "scores": rng.permutation(count).astype("float32") / count}


def _classed_proposals(quick):
    inputs = _proposals(quick)
    inputs["classes"] = np.random.default_rng(1).integers(0, 80, len(inputs["scores"])).astype("int32")
    return inputs


def _regions(batch, image, channels, per_image):
    rng = np.random.default_rng(0)
    side = int(image * SCALE)
    features = rng.normal(size=(batch, side, side, channels)).astype("float32")
    upstream = rng.normal(size=(batch, per_image, OUTPUT_SIZE, OUTPUT_SIZE, channels)).astype("float32")
    return {"x": features, "boxes": _boxes(rng, (batch, per_image), image), "upstream": upstream}


def _roi_inputs(quick):
    return _regions(2, 160, 16, 20) if quick else _regions(2, 800, 256, 500)


def _memory_inputs(quick):
    rng = np.random.default_rng(0)
    height, width, channels, count = (20, 32, 16, 20) if quick else (200, 336, 256, 1000)
    features = rng.normal(size=(1, height, width, channels)).astype("float32")
    return {"x": features, "boxes": _boxes(rng, (1, count), height / SCALE)}


def _pyramid_inputs(quick):
    rng = np.random.default_rng(0)
    image, channels, count = (160, 16, 20) if quick else (800, 256, 1000)
    sides = {name: int(image * scale) for name, scale in LEVELS.items()}
    maps = {name: rng.normal(size=(1, n, n, channels)).astype("float32") for name, n in sides.items()}
    upstream = rng.normal(size=(1, count, OUTPUT_SIZE, OUTPUT_SIZE, channels)).astype("float32")
    return {**maps, "boxes": _boxes(rng, (1, count), image, 16, image), "upstream": upstream}


def _pool_inputs(quick):
    rng = np.random.default_rng(0)
    batch, side, channels = (2, 16, 4) if quick else (8, 224, 64)
    x = rng.normal(size=(batch, side, side, channels)).astype("float32")
    upstream = rng.normal(size=(batch, side // 2, side // 2, channels)).astype("float32")
    return {"x": x, "upstream": upstream}


def _unpool_inputs(quick):
    pooled = _pool_inputs(quick)
    batch, side, _, channels = pooled["x"].shape
    half = side // 2
    rng = np.random.default_rng(1)
    row, column = rng.integers(0, 2, (2, batch, half, half, channels))
    y, x = np.mgrid[:half, :half]
    indices = (2 * y[..., None] + row) * side + 2 * x[..., None] + column
    return {"x": pooled["upstream"], "indices": indices.astype("int32"), "upstream": pooled["x"]}


def _iou_inputs(quick):
    rng = np.random.default_rng(0)
    few, many = (20, 60) if quick else (100, 20000)
    return {"boxes": _boxes(rng, (many,), 800), "other": _boxes(rng, (few,), 800)}


def _coding_inputs(quick):
    rng = np.random.default_rng(0)
    count = 60 if quick else 160_000
    deltas = rng.normal(0, 0.5, (count, 4)).astype("float32")
    return {"boxes": _boxes(rng, (count,), 800), "anchors": _boxes(rng, (count,), 800), "deltas": deltas}


def _encode_inputs(quick):
    return {name: array for name, array in _coding_inputs(quick).items() if name != "deltas"}


def _decode_inputs(quick):
    return {name: array for name, array in _coding_inputs(quick).items() if name != "boxes"}


def _crop_inputs(quick):
    rng = np.random.default_rng(0)
    batch, objects, side, count = (2, 3, 64, 5) if quick else (2, 20, 512, 128)
    masks = rng.integers(0, 2, (batch, objects, side // 16, side // 16), "uint8").repeat(16, 2).repeat(16, 3)
    indices = rng.integers(0, objects, (batch, count)).astype("int32")
    return {"masks": masks, "boxes": _boxes(rng, (batch, count), side), "indices": indices}


def _paste_inputs(quick):
    rng = np.random.default_rng(0)
    count = 3 if quick else 100
    masks = rng.uniform(size=(1, count, MASK_SIZE, MASK_SIZE)).astype("float32")
    return {"masks": masks, "boxes": _boxes(rng, (1, count), CANVAS)}


def _pool_call(ops, x):
    return ops.max_pool_with_argmax(x, 2)


def _pyramid_call(ops, boxes, **maps):
    return ops.multilevel_roi_align(maps, boxes, OUTPUT_SIZE, sampling_ratio=SAMPLING_RATIO)


def _roi_align_call(ops, x, boxes):
    return ops.roi_align(x, boxes, OUTPUT_SIZE, spatial_scale=SCALE, sampling_ratio=SAMPLING_RATIO)


def _aims(tensorflow, others=1.0):
    """Aims: of TensorFlow's graph by work; of JAX and PyTorch the same for all work."""
    aims = {("tensorflow", "graph", work): ratio for work, ratio in tensorflow.items()}
    for backend, mode in (("jax", "jit"), ("torch", "eager")):
        aims |= {(backend, mode, work): others for work in (FORWARD, BACKWARD)}
    return aims


_ROI_SHAPES = "2x100x100x256, 2 x 500 boxes, 7x7"

CASES = {
    "roi_align": Case(
        f"{_ROI_SHAPES}, sampling 2", _roi_inputs, _roi_align_call, "torchvision", ("x",),
        _aims({FORWARD: 0.20, BACKWARD: 0.10}),
    ),
    "multilevel_roi_align": Case(
        "P2..P5 of 1x800x800, 256 channels, 1000 boxes, 7x7, sampling 2", _pyramid_inputs, _pyramid_call,
        "torchvision", tuple(LEVELS),
    ),
    "roi_pool": Case(
        _ROI_SHAPES, _roi_inputs,
        lambda ops, x, boxes: ops.roi_pool(x, boxes, OUTPUT_SIZE, spatial_scale=SCALE), "torchvision", ("x",),
    ),
    "max_pool_with_argmax": Case(
        "8x224x224x64, pool 2", _pool_inputs, _pool_call, "torch", ("x",), _aims({FORWARD: 0.30}),
    ),
    "max_unpool": Case(
        "8x112x112x64 to 224x224", _unpool_inputs, lambda ops, x, indices: ops.max_unpool(x, indices, 2),
        "torch", ("x",), _aims({FORWARD: 0.30}),
    ),
    "nms": Case(
        f"5000 clustered boxes, IoU {NMS_THRESHOLD}, at most {MAX_OUTPUT}", _proposals,
        lambda ops, boxes, scores: ops.nms(boxes, scores, NMS_THRESHOLD, MAX_OUTPUT), "torchvision",
        aims=_aims({FORWARD: 0.8}), compare="boxes",
    ),
    "batched_nms": Case(
        f"5000 clustered boxes of 80 classes, IoU {NMS_THRESHOLD}, at most 5000", _classed_proposals,
        lambda ops, boxes, scores, classes: ops.batched_nms(boxes, scores, classes, NMS_THRESHOLD, 5000),
        "torchvision", compare="boxes",
    ),
    "box_iou": Case(
        "20000 x 100 boxes", _iou_inputs, lambda ops, boxes, other: ops.box_iou(boxes, other), "torchvision",
    ),
    "encode_boxes": Case(
        "160000 boxes", _encode_inputs,
        lambda ops, boxes, anchors: ops.encode_boxes(boxes, anchors, BOX_WEIGHTS), "torchvision",
    ),
    "decode_boxes": Case(
        "160000 boxes", _decode_inputs,
        lambda ops, deltas, anchors: ops.decode_boxes(deltas, anchors, BOX_WEIGHTS), "torchvision",
    ),
    "crop_masks": Case(
        "uint8 2x20x512x512, 2 x 128 boxes, 28x28, sampling 2", _crop_inputs,
        lambda ops, masks, boxes, indices: ops.crop_masks(
            masks, boxes, indices, MASK_SIZE, sampling_ratio=SAMPLING_RATIO
        ), "torchvision",
    ),
    "paste_masks": Case(
        "100 masks 28x28 to 800x800; torchvision rounds the boxes, so not compared", _paste_inputs,
        lambda ops, masks, boxes: ops.paste_masks(masks, boxes, CANVAS), "torchvision", compare="nothing",
    ),
}  # fmt: skip

# Not timed: `--memory` asks for its peak, which is to be at most so many times its output.
MEMORY_AIM = 4
MEMORY_CASE = Case(
    "1x200x336x256, 1000 boxes, 7x7, sampling 2", _memory_inputs, _roi_align_call, "torchvision", ("x",)
)
