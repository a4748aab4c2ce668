"""What `benchmarks.ops` times: each op's inputs, its call, its aims, and the bytes that it cannot avoid.

This file imports no backend: the worker of PyTorch's own ops reads it too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks import op_inputs
from benchmarks.op_inputs import CANVAS, LEVELS, MASK_SIZE, OUTPUT_SIZE, SCALE

FORWARD, BACKWARD = "forward", "forward + backward"
SAMPLING_RATIO = 2
NMS_THRESHOLD, MAX_OUTPUT = 0.7, 2000
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
ITEM_SIZES = {"float32": 4, "bfloat16": 2}


class Case(NamedTuple):
    """One op at one size.

    Attributes:
        shapes: what is computed, for the reader.
        inputs: callable from `quick` to a dict of arrays. "upstream" is the gradient of the first output.
        call: callable from `keras_seg.ops` and the tensors to the op's result.
        peer: the package that has the same op, or None.
        features: names of the inputs that take the dtype under test; gradients are those to them.
        aims: dict of (worker, mode, work) to the greatest ratio to the peer that is wanted, float32 on a CPU.
        compare: "values" within a tolerance; "boxes", the same indices but for ties of the arithmetic; or
            "nothing", where the peer's definition is another one.
        maps: whether arrays of rank 4 are maps (N, H, W, C), which the peer takes in the faster layout.
        own: callable from `keras_seg.ops` and the tensors to a dict of those that an earlier op makes, in its
            own form; or None.
    """

    shapes: str
    inputs: Callable
    call: Callable
    peer: str | None
    features: tuple = ()
    aims: dict = {}
    compare: str = "values"
    maps: bool = True
    own: Callable | None = None

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


def _pool_call(ops, x):
    return ops.max_pool_with_argmax(x, 2)


def _own_indices(ops, x, indices):
    """The same numbers as a pool's second result."""
    ones = ops.max_unpool(x * 0 + 1, indices, 2)
    return {"indices": ops.max_pool_with_argmax(ones, 2)[1]}


def _pyramid_call(ops, boxes, **maps):
    return ops.multilevel_roi_align(maps, boxes, OUTPUT_SIZE, sampling_ratio=SAMPLING_RATIO)


def _pyramid_pool_call(ops, boxes, **maps):
    return ops.multilevel_roi_pool(maps, boxes, OUTPUT_SIZE)


def _adaptive_call(ops, x, boxes):
    return ops.roi_align(x, boxes, OUTPUT_SIZE, spatial_scale=SCALE, sampling_ratio=-1)


def _crop_call(ops, masks, boxes, indices):
    return ops.crop_masks(masks, boxes, indices, MASK_SIZE, sampling_ratio=SAMPLING_RATIO)


def _roi_align_call(ops, x, boxes):
    return ops.roi_align(x, boxes, OUTPUT_SIZE, spatial_scale=SCALE, sampling_ratio=SAMPLING_RATIO)


def _anchor_call(ops):
    """As a pyramid of an image of 800 x 800 has them, P2 to P6."""
    sides = [-(-CANVAS // 2**level) for level in range(2, 7)]
    maps = zip(sides, (32, 64, 128, 256, 512), strict=True)
    return tuple(ops.anchor_boxes(CANVAS, side, (size,)) for side, size in maps)


def _aims(tensorflow, others=1.0):
    """Aims: of TensorFlow's graph by work; of JAX and PyTorch the same for all work."""
    aims = {("tensorflow", "graph", work): ratio for work, ratio in tensorflow.items()}
    for backend, mode in (("jax", "jit"), ("torch", "eager")):
        aims |= {(backend, mode, work): others for work in (FORWARD, BACKWARD)}
    return aims


_ROI_SHAPES = "2x100x100x256, 2 x 500 boxes, 7x7"

CASES = {
    "roi_align": Case(
        f"{_ROI_SHAPES}, sampling 2", op_inputs.roi, _roi_align_call, "torchvision", ("x",),
        _aims({FORWARD: 0.20, BACKWARD: 0.10}),
    ),
    "multilevel_roi_align": Case(
        "P2..P5 of 1x800x800, 256 channels, 1000 boxes, 7x7, sampling 2", op_inputs.pyramid, _pyramid_call,
        "torchvision", tuple(LEVELS),
    ),
    "roi_align_adaptive": Case(
        f"{_ROI_SHAPES}, a sample for each begun pixel", op_inputs.roi, _adaptive_call, "torchvision",
        ("x",),
    ),
    "roi_pool": Case(
        _ROI_SHAPES, op_inputs.roi,
        lambda ops, x, boxes: ops.roi_pool(x, boxes, OUTPUT_SIZE, spatial_scale=SCALE), "torchvision", ("x",),
    ),
    "multilevel_roi_pool": Case(
        "P2..P5 of 1x800x800, 256 channels, 1000 boxes, 7x7", op_inputs.pyramid, _pyramid_pool_call,
        "torchvision", tuple(LEVELS),
    ),
    "max_pool_with_argmax": Case(
        "8x224x224x64, pool 2", op_inputs.pool, _pool_call, "torch", ("x",), _aims({FORWARD: 0.30}),
    ),
    "max_unpool": Case(
        "8x112x112x64 to 224x224", op_inputs.unpool, lambda ops, x, indices: ops.max_unpool(x, indices, 2),
        "torch", ("x",), _aims({FORWARD: 0.30}), own=_own_indices,
    ),
    "nms": Case(
        f"5000 clustered boxes, IoU {NMS_THRESHOLD}, at most {MAX_OUTPUT}", op_inputs.proposals,
        lambda ops, boxes, scores: ops.nms(boxes, scores, NMS_THRESHOLD, MAX_OUTPUT), "torchvision",
        aims=_aims({FORWARD: 0.8}), compare="boxes",
    ),
    "batched_nms": Case(
        f"5000 clustered boxes of 80 classes, IoU {NMS_THRESHOLD}, at most 5000", op_inputs.classed_proposals,
        lambda ops, boxes, scores, classes: ops.batched_nms(boxes, scores, classes, NMS_THRESHOLD, 5000),
        "torchvision", compare="boxes",
    ),
    "box_iou": Case(
        "20000 x 100 boxes", op_inputs.iou, lambda ops, boxes, other: ops.box_iou(boxes, other),
        "torchvision",
    ),
    "clip_boxes": Case(
        "160000 boxes", op_inputs.flat_boxes, lambda ops, boxes: ops.clip_boxes(boxes, (CANVAS, CANVAS)),
        "torchvision",
    ),
    "anchor_boxes": Case(
        "159882 anchors, in NumPy: a constant of TensorFlow's graphs and of JAX's compiled code",
        lambda quick: {}, _anchor_call, None,
    ),
    "match_boxes": Case(
        "90000 anchors, 2 x 50 objects, low quality matches", op_inputs.match,
        lambda ops, anchors, objects: ops.match_boxes(anchors, objects, 0.3, 0.7, allow_low_quality=True),
        None,
    ),
    "sample_balanced": Case(
        "256 of 2 x 160000 labels", op_inputs.sample,
        lambda ops, labels: ops.sample_balanced(labels, 256, 0.5, seed=1), None,
    ),
    "encode_boxes": Case(
        "160000 boxes", op_inputs.encode,
        lambda ops, boxes, anchors: ops.encode_boxes(boxes, anchors, BOX_WEIGHTS), "torchvision",
    ),
    "decode_boxes": Case(
        "160000 boxes", op_inputs.decode,
        lambda ops, deltas, anchors: ops.decode_boxes(deltas, anchors, BOX_WEIGHTS), "torchvision",
        ("deltas",),
    ),
    "crop_masks": Case(
        "uint8 2x20x512x512, 2 x 128 boxes, 28x28, sampling 2", op_inputs.crop, _crop_call,
        "torchvision",
    ),
    "crop_soft_masks": Case(
        "as crop_masks, of masks of numbers", op_inputs.soft_crop, _crop_call, "torchvision", ("masks",),
        maps=False,
    ),
    "masks_to_boxes": Case(
        "uint8 100x800x800; torchvision's corners are the last pixels, so not compared",
        op_inputs.mask_boxes, lambda ops, masks: ops.masks_to_boxes(masks), "torchvision",
        compare="nothing",
    ),
    "paste_masks": Case(
        "100 masks 28x28 to 800x800; torchvision rounds the boxes, so not compared", op_inputs.paste,
        lambda ops, masks, boxes: ops.paste_masks(masks, boxes, CANVAS), "torchvision", ("masks",),
        compare="nothing", maps=False,
    ),
}  # fmt: skip

# Not timed: `--memory` asks for its peak, which is to be at most so many times its output.
MEMORY_AIM = 4
MEMORY_CASE = Case(
    "1x200x336x256, 1000 boxes, 7x7, sampling 2",
    op_inputs.memory,
    _roi_align_call,
    "torchvision",
    ("x",),
)
