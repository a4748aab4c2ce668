"""What differs on an accelerator, as far as a CPU can tell: where tensors are made, loops, and divisions."""

import contextlib

import keras
import numpy as np
import pytest

from benchmarks.op_cases import CASES
from keras_seg import ops as seg_ops
from keras_seg.ops import roi_pooling, roi_samples
from keras_seg.ops.fast import devices
from tests.ops.box_cases import boxes_about, compiled
from tests.ops.roi_cases import hard_boxes, random_map, value_and_gradient

BACKEND = keras.backend.backend()


@pytest.fixture
def accelerator(monkeypatch):
    """The choices of an accelerator, with the arithmetic on the CPU."""
    monkeypatch.setattr(devices, f"_{BACKEND}", lambda: True)
    assert devices.on_accelerator()


@pytest.mark.skipif(BACKEND != "torch", reason="the other backends have no tensors without a device")
@pytest.mark.parametrize("forced", [False, True], ids=["default", "portable"])
@pytest.mark.parametrize("name", CASES)
def test_every_tensor_is_made_where_the_inputs_are(name, forced):
    """A tensor made without a device lies on PyTorch's default one, here one that mixes with no other."""
    import torch

    case = CASES[name]
    inputs = {key: keras.ops.convert_to_tensor(array) for key, array in case.inputs(True).items()}
    upstream = inputs.pop("upstream", None)
    watched = [inputs[key].requires_grad_() for key in case.features]
    with torch.device("meta"), seg_ops.portable(forced):
        outputs = case.call(seg_ops, **inputs)
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        gradients = torch.autograd.grad(outputs[0], watched, upstream) if watched else ()
    assert {str(tensor.device) for tensor in (*outputs, *gradients)} == {"cpu"}


@pytest.mark.parametrize("bins", [(7, 7), (2, 3)])
@pytest.mark.parametrize("op", ["align", "adaptive", "pool"])
def test_regions_at_once_are_as_in_chunks(op, bins, request):
    features, boxes = random_map(2, 13, 17, 5), hard_boxes().repeat(3, axis=1)
    upstream = random_map(2, boxes.shape[1], *bins, 5, seed=1)

    def read(features):
        if op == "pool":
            return seg_ops.roi_pool(features, boxes, bins, 0.25)
        return seg_ops.roi_align(features, boxes, bins, 0.25, -1 if op == "adaptive" else 2)

    with seg_ops.portable():
        in_chunks = value_and_gradient(read, features, upstream)
    request.getfixturevalue("accelerator")
    for forced in (False, True):
        with seg_ops.portable(forced):
            at_once = value_and_gradient(read, features, upstream)
        for ours, expected in zip(at_once, in_chunks, strict=True):
            np.testing.assert_allclose(ours, expected, atol=2e-6 * max(np.abs(expected).max(), 1))


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("count", [100, 1500])
def test_large_tiles_keep_the_same_boxes(count, classes, request):
    rng = np.random.default_rng(0)
    boxes = np.stack([boxes_about(count, 300, 300, seed=seed)[0] for seed in (0, 1)]).astype("float32")
    scores = rng.uniform(size=(2, count)).astype("float32")
    labels = None if classes is None else rng.integers(0, classes, (2, count)).astype("int32")

    def suppress():
        def run(boxes, scores):
            if labels is None:
                return seg_ops.nms(boxes, scores, 0.5, 200)
            return seg_ops.batched_nms(boxes, scores, keras.ops.convert_to_tensor(labels), 0.5, 200)

        with seg_ops.portable():
            results = compiled(run)(boxes, scores)
        return [keras.ops.convert_to_numpy(result) for result in results]

    small = suppress()
    request.getfixturevalue("accelerator")
    for ours, expected in zip(suppress(), small, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.skipif(BACKEND != "torch", reason="a form of PyTorch")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("objects", [1, 16, 45])
def test_matching_by_blocks_is_as_by_rows(objects, masked, request):
    rng = np.random.default_rng(0)
    anchors = boxes_about(800, 200, 200)[0]
    truth = np.stack([boxes_about(objects, 200, 200, seed=seed)[0] for seed in (2, 3)])
    truth[:, objects // 2] = truth[:, 0]  # a tie: the first is matched
    masks = {
        "gt_valid": rng.uniform(size=truth.shape[:2]) < 0.8,
        "gt_crowd": rng.uniform(size=truth.shape[:2]) < 0.3,
    }

    def match():
        return seg_ops.match_boxes(
            anchors, truth, 0.3, 0.5, allow_low_quality=True, **(masks if masked else {})
        )

    by_rows = match()
    request.getfixturevalue("accelerator")
    for ours, expected in zip(match(), by_rows, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(expected))


@contextlib.contextmanager
def _divisions_off_by(monkeypatch, ulps):
    """XLA divides on GPUs by way of a reciprocal, to two units in the last place."""
    exact = roi_samples.true_divide

    def near(numerator, divisor):
        return exact(numerator, divisor) * np.float32(1 + ulps * 2.0**-23)

    with monkeypatch.context() as patched:
        patched.setattr(roi_samples, "true_divide", near)
        patched.setattr(roi_pooling, "true_divide", near)
        yield


@pytest.mark.parametrize("ulps", [-2, 2])
def test_pixels_and_samples_do_not_hang_on_the_last_bit_of_a_division(ulps, monkeypatch):
    features = random_map(1, 40, 40, 3)
    # Of all lengths, also those that 7 divides.
    corners = np.random.default_rng(0).integers(-5, 20, (1, 60, 2))
    boxes = np.concatenate([corners, corners + np.arange(60)[:, None] % 30 + 1], axis=-1).astype("float32")

    def pooled():
        return keras.ops.convert_to_numpy(seg_ops.roi_pool(features, boxes, 7))

    def sampled():
        lengths = keras.ops.convert_to_tensor(np.arange(1, 60, dtype="float32"))
        size = keras.ops.full_like(lengths, 40)
        axis = roi_samples.region_axis(lengths * 0, lengths, 7, size, -1, True)
        return keras.ops.convert_to_numpy(axis.samples)[:, 0, 0]

    expected = pooled()
    np.testing.assert_array_equal(sampled(), -(-np.arange(1, 60) // 7))
    with _divisions_off_by(monkeypatch, ulps):
        np.testing.assert_array_equal(pooled(), expected)
        np.testing.assert_array_equal(sampled(), -(-np.arange(1, 60) // 7))
