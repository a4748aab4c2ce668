"""RoIAlign against torchvision's answers, a loop in float64 and ONNX Runtime."""

from functools import partial

import keras
import numpy as np
import pytest

from keras_seg.ops import roi_align, roi_means
from keras_seg.ops.roi_chunks import even_chunk
from tests.ops.box_cases import boxes_about
from tests.ops.roi_cases import (
    HARD_BOXES,
    align_reference,
    align_weights,
    channels_last,
    golden,
    hard_boxes,
    many_channels,
    random_map,
    value_and_gradient,
)

BACKEND = keras.backend.backend()
# Features are about 1 and coordinates below 100: float32 coordinates are off by 4e-6, times a slope of about
# 3.
TOLERANCE = 1e-5


def run(features, boxes, bins, upstream=None, **settings):
    """Value and gradient, as models get them: in a graph on TensorFlow, compiled on JAX."""
    if upstream is None:
        upstream = np.ones((*boxes.shape[:2], *bins, features.shape[-1]), "float32")
    return value_and_gradient(
        lambda features: roi_align(features, boxes, bins, **settings), features, upstream, BACKEND == "jax"
    )


def values(features, boxes, bins, **settings):
    """Value alone, outside any graph; compiled on JAX, which is slow op by op."""
    function = partial(roi_align, output_size=bins, **settings)
    if BACKEND == "jax":
        import jax

        function = jax.jit(function)
    return keras.ops.convert_to_numpy(function(features, boxes))


@pytest.mark.parametrize("sampling", [2, 1, 3, -1])
@pytest.mark.parametrize("aligned", [True, False])
def test_torchvision(aligned, sampling, form):
    answers, boxes, place = golden()
    settings = {"spatial_scale": float(answers["roi_scale"]), "sampling_ratio": sampling, "aligned": aligned}
    value = values(many_channels(channels_last(answers["roi_features"])), boxes, (7, 5), **settings)
    expected = many_channels(channels_last(answers[f"roi_align_aligned{int(aligned)}_sampling{sampling}"]))
    np.testing.assert_allclose(value[place], expected, rtol=0, atol=TOLERANCE)


def test_gradient_of_torchvision(form):
    answers, boxes, place = golden()
    features = many_channels(channels_last(answers["roi_features"]))
    upstream = np.zeros((*boxes.shape[:2], 7, 5, features.shape[-1]), "float32")
    upstream[place] = many_channels(channels_last(answers["roi_grad_weight"]))
    _, gradient = run(features, boxes, (7, 5), upstream, spatial_scale=float(answers["roi_scale"]))
    expected = many_channels(channels_last(answers["roi_align_grad"]))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("sampling", "aligned"), [(2, True), (-1, True), (1, True), (2, False), (-1, False)])
def test_loop_in_float64(sampling, aligned, form):
    """Boxes of every awkward kind and 40 random ones; gradients by the weights' transpose."""
    features = random_map(2, 13, 17, 16)
    boxes = np.concatenate([hard_boxes(), boxes_about(40, 52, 68, images=2)], axis=1)
    upstream = random_map(*boxes.shape[:2], 3, 2, 16, seed=1)
    settings = {"spatial_scale": 0.25, "sampling_ratio": sampling, "aligned": aligned}
    value, gradient = run(features, boxes, (3, 2), upstream, **settings)
    weights = align_weights(boxes, (13, 17), (3, 2), 0.25, sampling, aligned)
    expected = np.einsum("nkpqyx,nyxc->nkpqc", weights, features)
    np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCE)
    expected = np.einsum("nkpqyx,nkpqc->nyxc", weights, upstream)
    # Each pixel adds up some tens of boxes.
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=10 * TOLERANCE)


def test_few_channels(form):
    """TensorFlow reads maps of few channels by another form."""
    features, boxes = random_map(2, 13, 17, 1), hard_boxes()
    upstream = random_map(*boxes.shape[:2], 4, 4, 1, seed=1)
    value, gradient = run(features, boxes, (4, 4), upstream, spatial_scale=0.25)
    weights = align_weights(boxes, (13, 17), (4, 4), 0.25)
    np.testing.assert_allclose(
        value, np.einsum("nkpqyx,nyxc->nkpqc", weights, features), rtol=0, atol=TOLERANCE
    )
    expected = np.einsum("nkpqyx,nkpqc->nyxc", weights, upstream)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=10 * TOLERANCE)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no XLA here")
@pytest.mark.parametrize("sampling", [2, 4, -1])
def test_compiled_by_xla(sampling):
    """XLA divides by constants through reciprocals, which must not change how many samples a bin has."""
    features, boxes = random_map(1, 40, 40, 2), boxes_about(20, 40, 40)
    # Boxes of whole pixels whose bins have whole sides: one sample too many would show.
    boxes[0, :10, :2], boxes[0, :10, 2:] = 1.0, 1.0 + 3.0 * np.arange(1, 11)[:, None]
    upstream = random_map(1, 20, 3, 3, 2, seed=1)
    value, gradient = value_and_gradient(
        lambda features: roi_align(features, boxes, 3, sampling_ratio=sampling),
        features,
        upstream,
        compiled=True,
    )
    weights = align_weights(boxes, (40, 40), (3, 3), sampling=sampling)
    np.testing.assert_allclose(
        value, np.einsum("nkpqyx,nyxc->nkpqc", weights, features), rtol=0, atol=TOLERANCE
    )
    expected = np.einsum("nkpqyx,nkpqc->nyxc", weights, upstream)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=10 * TOLERANCE)


def test_adaptive_sampling_in_chunks_by_entries(form, monkeypatch):
    """Where a box has so many entries that few of them share a chunk."""
    monkeypatch.setattr(roi_means, "BAG_ENTRIES", 1000)
    features, boxes = random_map(2, 13, 17, 4), boxes_about(20, 52, 68, images=2)
    upstream = random_map(2, 20, 3, 2, 4, seed=1)
    value, gradient = run(features, boxes, (3, 2), upstream, spatial_scale=0.25, sampling_ratio=-1)
    weights = align_weights(boxes, (13, 17), (3, 2), 0.25, -1)
    expected = np.einsum("nkpqyx,nyxc->nkpqc", weights, features)
    np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCE)
    expected = np.einsum("nkpqyx,nkpqc->nyxc", weights, upstream)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=10 * TOLERANCE)


@pytest.mark.parametrize("sampling", [2, -1])
def test_gradient_is_the_slope(sampling):
    """The result is linear in the features, so a difference quotient is exact up to rounding."""
    features, direction = random_map(1, 9, 8, 16), random_map(1, 9, 8, 16, seed=1)
    boxes = boxes_about(12, 9, 8)
    upstream = random_map(1, 12, 2, 2, 16, seed=2)
    _, gradient = run(features, boxes, (2, 2), upstream, sampling_ratio=sampling)
    ends = [
        values(features + step * direction, boxes, (2, 2), sampling_ratio=sampling) for step in (0.5, -0.5)
    ]
    slope = np.sum((ends[0] - ends[1]) * upstream, dtype="float64")
    np.testing.assert_allclose(np.sum(gradient * direction, dtype="float64"), slope, rtol=1e-5, atol=1e-4)


def test_gradient_loses_no_addition():
    """Hundreds of boxes on the same pixels: the sum of the gradient is the sum of what came in, every time.

    TensorFlow's own gradient of `crop_and_resize` fails this on a machine with two cores.
    """
    features = np.zeros((1, 8, 8, 64), "float32")
    boxes = np.tile(np.array([1.0, 1.0, 7.0, 7.0], "float32"), (1, 500, 1))
    runs = [run(features, boxes, (7, 7))[1] for _ in range(3)]
    # Sums of some thousand float32 numbers; an addition that gets lost is 1 / 24500.
    np.testing.assert_allclose(runs[0].sum((0, 1, 2), dtype="float64"), 500 * 49, rtol=2e-5)
    for other in runs[1:]:
        np.testing.assert_array_equal(other, runs[0])


def test_boxes_have_no_gradient():
    features, boxes = random_map(1, 8, 8, 3), boxes_about(5, 8, 8)
    upstream = np.ones((1, 5, 2, 2, 3), "float32")
    if BACKEND == "torch":
        import torch

        tensor = torch.tensor(boxes, requires_grad=True)
        assert not roi_align(torch.tensor(features), tensor, 2).requires_grad
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tensor = tf.constant(boxes)
            tape.watch(tensor)
            value = roi_align(features, tensor, 2)
        assert tape.gradient(value, tensor) is None
    else:
        _, gradient = value_and_gradient(lambda boxes: roi_align(features, boxes, 2), boxes, upstream)
        assert not gradient.any()


@pytest.mark.parametrize("sampling", [2, -1])
def test_boxes_that_are_no_numbers(sampling, form):
    """What a diverging network makes gives finite numbers, and the other boxes are right."""
    features = random_map(1, 8, 8, 16)
    odd = [np.nan, np.inf, -np.inf, 3e38]
    boxes = [(1.0, 1.0, 6.0, 5.0)] + [(n, 0.0, 4.0, 4.0) for n in odd] + [(0.0, 0.0, 4.0, n) for n in odd]
    boxes = np.array([boxes], "float32")
    value, gradient = run(features, boxes, (2, 2), sampling_ratio=sampling)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    expected = align_reference(features, boxes[:, :1], (2, 2), sampling=sampling)
    np.testing.assert_allclose(value[:, :1], expected, rtol=0, atol=TOLERANCE)
    assert not value[0, np.isnan(boxes[0]).any(-1)].any()


# 80 channels are read in two parts where maps are made wide; 2 * 67 boxes fill no number of chunks.
@pytest.mark.parametrize(("channels", "count"), [(16, 67), (80, 20)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(form, dtype, channels, count):
    """Read and written with 8 or 11 bits, computed in float32: off by half a unit in the last place."""
    ops = keras.ops
    features = ops.cast(random_map(2, 13, 17, channels), dtype)
    boxes = boxes_about(count, 52, 68, images=2) + 300.5 / 4 - 75
    upstream = ops.cast(random_map(2, count, 3, 3, channels, seed=1), dtype)
    assert keras.backend.standardize_dtype(roi_align(features, boxes, 3, 0.25).dtype) == dtype
    value, gradient = run(features, boxes, (3, 3), upstream, spatial_scale=0.25)
    exact, exact_upstream = (ops.convert_to_numpy(ops.cast(x, "float32")) for x in (features, upstream))
    weights = align_weights(boxes, (13, 17), (3, 3), 0.25)
    half_unit = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
    expected = np.einsum("nkpqyx,nyxc->nkpqc", weights, exact)
    assert np.all(np.abs(value - expected) <= half_unit * np.abs(expected) + TOLERANCE)
    expected = np.einsum("nkpqyx,nkpqc->nyxc", weights, exact_upstream)
    assert np.all(np.abs(gradient - expected) <= half_unit * np.abs(expected) + 10 * TOLERANCE)


@pytest.mark.parametrize(("count", "size"), [(1000, 10), (128, 16), (17, 16), (5, 5), (0, 1), (None, 16)])
def test_chunks_that_leave_nothing_over(count, size):
    assert even_chunk(count, 16) == size


@pytest.mark.parametrize("sampling", [2, -1])
def test_no_boxes(form, sampling):
    features, boxes = random_map(2, 5, 6, 16), np.zeros((2, 0, 4), "float32")
    value, gradient = run(features, boxes, (3, 2), sampling_ratio=sampling)
    assert value.shape == (2, 0, 3, 2, 16)
    np.testing.assert_array_equal(gradient, np.zeros_like(features))


def test_one_bin():
    features, boxes = random_map(1, 9, 9, 16), boxes_about(10, 9, 9)
    expected = align_reference(features, boxes, (1, 1))
    np.testing.assert_allclose(values(features, boxes, (1, 1)), expected, rtol=0, atol=TOLERANCE)


def test_example_of_the_docstring():
    features = np.arange(16.0, dtype="float32").reshape(1, 4, 4, 1)
    value = roi_align(features, np.array([[[0.0, 0.0, 4.0, 4.0]]], "float32"), 2)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value)[0, 0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])


@pytest.mark.tf_only
@pytest.mark.parametrize("sampling", [2, 3, 0])
@pytest.mark.parametrize("aligned", [True, False])
def test_onnx_runtime(sampling, aligned):
    """A second implementation; its 0 is our -1."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    features = random_map(2, 13, 17, 16)
    left_out = ("reversed", "without area", "without height")
    usable = np.array([box for name, box in HARD_BOXES.items() if name not in left_out], "float32")
    boxes = np.concatenate([np.tile(usable, (2, 1, 1)), boxes_about(30, 52, 68, images=2)], 1)
    node = helper.make_node(
        "RoiAlign", ["x", "rois", "image"], ["y"], output_height=4, output_width=3, spatial_scale=0.25,
        sampling_ratio=sampling, mode="avg",
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
    )  # fmt: skip
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 4),
        helper.make_tensor_value_info("rois", TensorProto.FLOAT, [None, 4]),
        helper.make_tensor_value_info("image", TensorProto.INT64, [None]),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    model = helper.make_model(
        helper.make_graph([node], "roi", inputs, [output]), opset_imports=[helper.make_opsetid("", 16)]
    )
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.repeat(np.arange(2), boxes.shape[1])
    feed = {"x": np.moveaxis(features, -1, 1), "rois": boxes.reshape(-1, 4), "image": image}
    expected = np.moveaxis(session.run(None, feed)[0], 1, -1)
    value = roi_align(features, boxes, (4, 3), 0.25, sampling or -1, aligned)
    np.testing.assert_allclose(np.reshape(value, expected.shape), expected, rtol=0, atol=TOLERANCE)


FEATURES, BOXES = np.zeros((2, 8, 8, 3), "float32"), np.zeros((2, 5, 4), "float32")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": FEATURES[0]}, ValueError, r"`features.shape` must be \(N, H, W, C\)"),
        ({"features": FEATURES.astype("int32")}, ValueError, "`features.dtype` must be a floating-point"),
        ({"features": None}, TypeError, "`features` must be a tensor"),
        ({"boxes": BOXES[0]}, ValueError, r"`boxes.shape` must be \(N, K, 4\)"),
        ({"boxes": np.zeros((5, 5), "float32")}, ValueError, r"`boxes.shape` must be \(N, K, 4\)"),
        ({"boxes": np.zeros((2, 5, 5), "float32")}, ValueError, r"Received: .*\(2, 5, 5\)"),
        ({"boxes": BOXES[:1]}, ValueError, r"`boxes.shape` must be \(2, K, 4\).*\(1, 5, 4\)"),
        ({"output_size": 0}, ValueError, "`output_size` must be an integer of at least 1"),
        ({"output_size": (7, -1)}, ValueError, "`output_size` must be an integer of at least 1"),
        ({"output_size": 7.0}, TypeError, "`output_size` must be an integer or a pair"),
        ({"sampling_ratio": 0}, ValueError, "`sampling_ratio`.*Received: sampling_ratio=0.*-1 adapts"),
        ({"sampling_ratio": -2}, ValueError, "`sampling_ratio`.*Received: sampling_ratio=-2"),
        ({"sampling_ratio": 2.0}, TypeError, "`sampling_ratio` must be an integer"),
        ({"spatial_scale": 0.0}, ValueError, "`spatial_scale` must be a positive number"),
        ({"spatial_scale": np.nan}, ValueError, "`spatial_scale` must be a positive number"),
        ({"spatial_scale": "1/4"}, TypeError, "`spatial_scale` must be a number"),
        ({"features": keras.KerasTensor((2, 8, 8, 3))}, TypeError, "use `keras_seg.layers.RoIAlign`"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        roi_align(**{"features": FEATURES, "boxes": BOXES, "output_size": 7, **change})
