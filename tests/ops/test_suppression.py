"""Suppression in every form against loops, exact fractions, torchvision's answers and ONNX Runtime."""

import contextlib
import functools
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

from keras_seg.ops import batched_nms, gather_kept, nms, portable
from tests.ops.box_cases import golden_answers, scored_boxes

BACKEND = keras.backend.backend()

FORMS = {
    "tensorflow": ["eager", "graph", "xla", "tiles"],
    "jax": ["jit"],
    "torch": ["eager", "tiles"],
}[BACKEND]
forms = pytest.mark.parametrize("form", FORMS)


@functools.cache
def suppressor(form, threshold, size, by_class=False, images=False):
    """`nms` or `batched_nms` as a function of arrays, in one of the ways to run it; compiled once."""

    def function(*arrays):
        with portable() if form == "tiles" else contextlib.nullcontext():
            return (batched_nms if by_class else nms)(*arrays, threshold, size)

    if BACKEND == "tensorflow" and form != "eager":
        import tensorflow as tf

        rows = [None, None] if images else [None]
        signature = [tf.TensorSpec([*rows, 4]), tf.TensorSpec(rows), tf.TensorSpec(rows, "int32")]
        return tf.function(function, signature[: 2 + by_class], jit_compile=form == "xla" or None)
    if form == "jit":
        import jax

        return jax.jit(function)
    return function


def run(form, threshold, size, *arrays):
    return suppressor(form, threshold, size, len(arrays) == 3, np.ndim(arrays[1]) == 2)(*arrays)


def fill(boxes, scores, count=300):
    """The same with rows of padding: what is compiled for 300 boxes serves many tests."""
    more = count - len(boxes)
    return np.pad(boxes, [[0, more], [0, 0]]), np.pad(scores, [0, more], constant_values=-math.inf)


def greedy(boxes, scores, above, classes=None):
    """Indices by the definition: each box against all that stay. `above(a, b)` compares two boxes."""
    order = sorted((i for i in range(len(boxes)) if scores[i] > -math.inf), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        rivals = [j for j in kept if classes is None or classes[i] == classes[j]]
        if not any(above(boxes[i], boxes[j]) for j in rivals):
            kept.append(i)
    return kept


def overlap32(a, b):
    """IoU in float32, rounded at each step; 0 for 0 / 0."""
    a, b = np.asarray(a, "float32"), np.asarray(b, "float32")
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), np.float32(0))
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    shared = sides[0] * sides[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = shared / (area_a + area_b - shared)
    return np.float32(0) if np.isnan(ratio) else ratio


def above32(threshold):
    return lambda a, b: overlap32(a, b) > np.float32(threshold)


def exactly_above(threshold):
    """For boxes of small integers: IoU as a fraction, compared with the decimal that the user wrote."""

    def above(a, b):
        width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
        union = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - width * height
        return union > 0 and Fraction(int(width * height), int(union)) > Fraction(str(threshold))

    return above


def padded(indices, size):
    return np.array(list(indices[:size]) + [-1] * max(size - len(indices), 0), "int32")


def check(result, expected, size):
    indices, count = (ops.convert_to_numpy(part) for part in result)
    assert indices.dtype == np.int32 and count.dtype == np.int32 and count.shape == ()
    np.testing.assert_array_equal(indices, padded(expected, size))
    assert count == min(len(expected), size)


@pytest.fixture(scope="module")
def golden():
    return golden_answers()


@forms
def test_torchvision_keeps_the_same_boxes(form, golden):
    boxes, scores, classes = golden["nms_boxes"], golden["nms_scores"], golden["nms_classes"].astype("int32")
    check(run(form, 0.5, 300, boxes, scores), golden["nms_keep_05"], 300)
    check(run(form, 0.5, 300, boxes, scores, classes), golden["batched_nms_keep_05"], 300)


@forms
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_loop(form, threshold):
    # 300 boxes are three tiles, and two rounds of pairs.
    boxes, scores = scored_boxes(300)
    expected = greedy(boxes, scores, above32(threshold))
    assert 5 < len(expected) < 300 or threshold == 1
    check(run(form, threshold, 300, boxes, scores), expected, 300)


@forms
@pytest.mark.parametrize("size", [7, 500])
def test_fewer_and_more_than_are_kept(form, size):
    boxes, scores = scored_boxes(300, seed=1)
    expected = greedy(boxes, scores, above32(0.3))
    assert 7 < len(expected) < 300
    check(run(form, 0.3, size, boxes, scores), expected, size)


@forms
def test_classes(form):
    boxes, scores = scored_boxes(300, seed=2, side=60)
    # Ids may be any integers: negative, far apart, and equal in their last 16 bits.
    classes = np.random.default_rng(3).choice([-1, 0, 7, 7 + 2**16, 2**30], 300).astype("int32")
    expected = greedy(boxes, scores, above32(0.5), classes)
    assert len(greedy(boxes, scores, above32(0.5))) < len(expected) < 300
    check(run(form, 0.5, 300, boxes, scores, classes), expected, 300)


@forms
def test_images_of_a_batch_do_not_meet(form):
    """Padded, empty, done early, and never done: each image ends by itself."""
    images = [scored_boxes(400, seed, side) for seed, side in ((4, 200), (5, 200), (6, 900), (7, 60))]
    boxes, scores = (np.stack(part) for part in zip(*images, strict=True))
    scores[0, 20:], boxes[0, 20:] = -math.inf, np.nan
    scores[1] = -math.inf
    # Nine survivors of the first 128, then more than 100 of the next: a tile may overshoot the 40 asked for.
    boxes[2, np.argsort(-scores[2])[:120]] = [1000, 1000, 1080, 1080]
    classes = np.arange(1600, dtype="int32").reshape(4, 400) % 2
    plain, by_class = run(form, 0.3, 40, boxes, scores), run(form, 0.3, 40, boxes, scores, classes)
    for i in range(4):
        check([part[i] for part in plain], greedy(boxes[i], scores[i], above32(0.3)), 40)
        check([part[i] for part in by_class], greedy(boxes[i], scores[i], above32(0.3), classes[i]), 40)


@forms
def test_the_last_bit_of_iou_decides(form):
    """Thousands of pairs whose IoU is the threshold or a rounding away: compilers may round less often."""
    random = np.random.default_rng(8)
    x, y = random.uniform(0, 50, (2, 2000)).astype("float32")
    width, height = random.uniform(10, 60, (2, 2000)).astype("float32")
    # The second box is the first one, cut to three quarters.
    first = np.stack([x, y, x + width, y + height], 1)
    second = np.stack([x, y, x + width * np.float32(0.75), y + height], 1)
    expected = [
        [0, -1] if overlap32(a, b) > np.float32(0.75) else [0, 1] for a, b in zip(first, second, strict=True)
    ]
    assert 200 < sum(index < 0 for _, index in expected) < 1800
    scores = np.tile(np.array([0.9, 0.8], "float32"), (2000, 1))
    indices, _ = run(form, 0.75, 2, np.stack([first, second], 1), scores)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), expected)


def test_a_ratio_equal_to_the_threshold_stays():
    """IoU 3/10 is not above 0.3, though the float32 nearest to 3/10 is above the float64 nearest to 0.3."""
    for threshold in (0.3, 0.7):
        boxes = np.array([[0, 0, 10, 10], [0, 0, threshold * 10, 10]], "float32")
        boxes, scores = fill(boxes, np.array([0.9, 0.8], "float32"))
        check(run(FORMS[0], threshold, 300, boxes, scores), [0, 1], 300)
        boxes[1, 2] += 1e-4
        check(run(FORMS[0], threshold, 300, boxes, scores), [0], 300)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(0, 5)] * 2, st.integers(0, 3), st.integers(0, 2)),
        min_size=1,
        max_size=24,
    ),
    threshold=st.sampled_from([0.0, 0.3, 0.5]),
)
def test_ties_duplicates_and_boxes_without_area(rows, threshold):
    """On a grid of few values nearly all scores tie, boxes repeat, and IoU often equals the threshold."""
    rows = np.array(rows)
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1)
    scores, classes = (
        (rows[:, 4] / 4).astype("float32"),
        np.pad(rows[:, 5].astype("int32"), [0, 24 - len(rows)]),
    )
    boxes, scores = fill(boxes, scores, 24)
    above = exactly_above(threshold)
    for form in {FORMS[0], FORMS[-1]}:
        check(run(form, threshold, 24, boxes.astype("float32"), scores), greedy(boxes, scores, above), 24)
    by_class = run(FORMS[0], threshold, 24, boxes.astype("float32"), scores, classes)
    check(by_class, greedy(boxes, scores, above, classes), 24)


@forms
def test_ties_go_to_the_lower_index(form):
    boxes = np.tile(np.array([[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]], "float32"), (100, 1))
    scores = np.where(np.arange(300) % 2 == 0, 0.0, -0.0).astype("float32")
    check(run(form, 0.7, 300, boxes, scores), [0, 2], 300)
    scores[100:] = 0.25
    check(run(form, 1.0, 300, boxes, scores), [*range(100, 300), *range(100)], 300)


@forms
def test_scores_that_are_no_numbers_are_never_kept(form):
    boxes, scores = scored_boxes(300, seed=9)
    scores[[3, 4, 5, 20]] = [np.nan, -math.inf, math.inf, -np.nan]
    expected = greedy(boxes, scores, above32(0.3))
    assert expected[0] == 5 and not {3, 4, 20} & set(expected)
    check(run(form, 0.3, 300, boxes, scores), expected, 300)
    check(run(form, 0.3, 300, boxes, np.full(300, np.nan, "float32")), [], 300)


@forms
def test_odd_boxes_overlap_nothing(form):
    """No area, ends before it starts, NaN, infinite: such a box neither drops nor is dropped."""
    box = [0, 0, 10, 10]
    odd = [[5, 5, 5, 9], [9, 9, 1, 1], [9, 1, 1, 9], [0, 0, np.nan, 10], [np.nan] * 4,
           [-math.inf, -math.inf, math.inf, math.inf], [-3e38, -3e38, 3e38, 3e38]]  # fmt: skip
    boxes, scores = fill(
        np.array([*odd, box, *odd, box], "float32"), np.linspace(1, 0.1, 16, dtype="float32")
    )
    check(run(form, 0.0, 300, boxes, scores), list(range(15)), 300)


@forms
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_sizes_and_places_far_apart(form, threshold):
    near, _ = scored_boxes(100, seed=10)
    tiny, _ = scored_boxes(100, seed=11, side=0.1, lowest=1e-3, highest=0.1)
    boxes = np.concatenate(
        [near, tiny, near[:98] + np.float32(1e5), np.array([[-1e6, -1e6, 1e6, 1e6]] * 2, "float32")]
    )
    scores = np.random.default_rng(12).random(300, "float32")
    scores[-2:] = 0  # they overlap all others, which would leave little to look at
    check(run(form, threshold, 300, boxes, scores), greedy(boxes, scores, above32(threshold)), 300)


@forms
def test_the_farthest_boxes_that_overlap_enough(form):
    """A box at one end of another as long as can be: their centres are as far apart as IoU 0.7 allows."""
    small, long = 70.0, 100.0 - 1e-3
    corner = np.stack(np.meshgrid(np.arange(10) * 130.0, np.arange(15) * 130.0), -1).reshape(-1, 2)
    shift = np.where(np.arange(150)[:, None] % 2 == 0, 0.0, long - small)
    along_x = np.arange(150)[:, None] % 4 < 2
    axis = np.where(along_x, [1, 0], [0, 1])
    short = np.concatenate([corner + shift * axis, corner + (shift + small) * axis + 100 * (1 - axis)], 1)
    whole = np.concatenate([corner, corner + long * axis + 100 * (1 - axis)], 1)
    boxes = np.concatenate([short, whole]).astype("float32")
    scores = np.linspace(1, 0.1, 300, dtype="float32")
    assert all(0.7 < overlap32(a, b) < 0.70002 for a, b in zip(boxes[:150], boxes[150:], strict=True))
    check(run(form, 0.7, 300, boxes, scores), list(range(150)), 300)


@forms
@pytest.mark.parametrize("count", [0, 1, 129])
def test_counts_at_the_edges(form, count):
    boxes, scores = scored_boxes(count, seed=13, side=30)
    check(run(form, 0.3, 7, boxes, scores), greedy(boxes, scores, above32(0.3)), 7)
    if count == 0:
        check(run(form, 0.3, 7, boxes, scores, np.zeros(0, "int32")), [], 7)


@forms
def test_all_but_the_best_are_dropped_and_a_chain(form):
    boxes = np.tile(np.array([[3, 4, 50, 60]], "float32"), (300, 1))
    scores = np.random.default_rng(14).random(300, "float32")
    check(run(form, 0.3, 300, boxes, scores), [int(scores.argmax())], 300)
    # Each box drops the next, which would drop the one after it: every second stays.
    left = 4 * np.arange(300, dtype="float32")
    chain = np.stack([left, 0 * left, left + 10, 0 * left + 10], 1)
    check(run(form, 0.3, 300, chain, np.linspace(1, 0, 300, dtype="float32")), list(range(0, 300, 2)), 300)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has the form of tiles only")
def test_rounds_may_end_anywhere(monkeypatch):
    """With few pairs to a round, and one box in the first."""
    boxes, scores = scored_boxes(300, seed=15, side=40)
    module = f"keras_seg.ops.fast.suppression_{BACKEND}"
    monkeypatch.setattr(f"{module}.PAIRS", 3000)
    monkeypatch.setattr(f"{module}.FIRST_ROUND", 1)
    # A threshold that no other test has: TensorFlow's function is traced with these figures in it.
    for size in (300, 12):
        check(nms(boxes, scores, 0.4375, size), greedy(boxes, scores, above32(0.4375)), size)


def test_half_precision_is_compared_in_float32():
    boxes, scores = scored_boxes(300, seed=16)
    boxes, scores = ops.cast(boxes, "bfloat16"), ops.cast(scores, "bfloat16")
    wide = [ops.convert_to_numpy(ops.cast(part, "float32")) for part in (boxes, scores)]
    check(nms(boxes, scores, 0.3, 300), greedy(*wide, above32(0.3)), 300)
    check(nms(wide[0].astype("float64"), wide[1], 0.3, 300), greedy(*wide, above32(0.3)), 300)


def test_gather_kept():
    boxes = np.arange(12, dtype="float32").reshape(3, 4)
    rows = ops.convert_to_numpy(gather_kept(boxes, np.array([2, 0, -1, -1])))
    np.testing.assert_array_equal(rows, [boxes[2], boxes[0], [0] * 4, [0] * 4])
    labels = gather_kept(np.array([[5, 6], [7, 8]]), np.array([[1, -1, -1], [0, 1, -1]]), padding=-1)
    np.testing.assert_array_equal(ops.convert_to_numpy(labels), [[6, -1, -1], [7, 8, -1]])
    assert keras.backend.is_int_dtype(labels.dtype)
    masks = np.random.default_rng(17).random((2, 3, 5, 4, 2)).astype("float32")
    rows = ops.convert_to_numpy(gather_kept(masks, np.array([[2, -1], [-1, -1]])))
    np.testing.assert_array_equal(rows, [[masks[0, 2], 0 * masks[0, 0]], [0 * masks[0, 0]] * 2])
    assert tuple(gather_kept(np.zeros((0, 4), "float32"), np.array([-1, -1])).shape) == (2, 4)


def test_no_gradient_passes_through_the_choice_and_all_of_it_through_the_values():
    boxes, scores = scored_boxes(300, seed=18)
    indices = ops.convert_to_numpy(nms(boxes, scores, 0.3, 7)[0])

    def loss(boxes, scores):
        kept, count = nms(boxes, scores, 0.3, 7)
        return ops.sum(gather_kept(scores, kept) ** 2) + ops.sum(ops.cast(count, "float32"))

    expected = np.zeros(300, "float32")
    expected[indices[indices >= 0]] = 2 * scores[indices[indices >= 0]]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        values = tf.constant(boxes), tf.constant(scores)
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = loss(*values)
        through_boxes, through_scores = tape.gradient(total, values)
        assert through_boxes is None
    elif BACKEND == "jax":
        import jax

        through_boxes, through_scores = jax.grad(loss, (0, 1))(boxes, scores)
        assert not np.any(through_boxes)
    else:
        import torch

        values = torch.from_numpy(boxes).requires_grad_(), torch.from_numpy(scores).requires_grad_()
        loss(*values).backward()
        through_boxes, through_scores = values[0].grad, values[1].grad
        assert through_boxes is None
    np.testing.assert_allclose(ops.convert_to_numpy(through_scores), expected, rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_inside_a_model(jit):
    """`predict` traces with an unknown batch, and its last batch is smaller."""
    if jit and BACKEND == "torch":
        pytest.skip("torch.compile is not ours to test")

    class Suppress(keras.Model):
        def call(self, inputs):
            return nms(inputs["boxes"], inputs["scores"], 0.3, 40)

    boxes, scores = (
        np.stack(part) for part in zip(*(scored_boxes(150, seed) for seed in (4, 5, 6)), strict=True)
    )
    model = Suppress()
    model.compile(jit_compile=jit)
    indices, count = model.predict({"boxes": boxes, "scores": scores}, batch_size=2, verbose=0)
    for i in range(3):
        check((indices[i], count[i]), greedy(boxes[i], scores[i], above32(0.3)), 40)


@pytest.mark.tf_only
def test_onnx_runtime_keeps_the_same_boxes():
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    boxes, scores = scored_boxes(500, seed=19)
    classes = np.random.default_rng(20).integers(0, 4, 500).astype("int32")
    helper, kinds = onnx.helper, onnx.TensorProto
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "threshold"], ["kept"])
    graph = helper.make_graph(
        [node],
        "suppression",
        [
            helper.make_tensor_value_info("boxes", kinds.FLOAT, [1, 500, 4]),
            helper.make_tensor_value_info("scores", kinds.FLOAT, [1, 4, 500]),
        ],
        [helper.make_tensor_value_info("kept", kinds.INT64, [None, 3])],
        [
            helper.make_tensor("most", kinds.INT64, [1], [500]),
            helper.make_tensor("threshold", kinds.FLOAT, [1], [0.3]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    # Each class has scores of its own; boxes of other classes come last, and are taken out of the answer.
    of_class = np.where(classes == np.arange(4)[:, None], scores, -1.0).astype("float32")[None]
    answer = session.run(None, {"boxes": boxes[None], "scores": of_class})[0]
    kept = [i for _, label, i in answer if classes[i] == label]
    expected = sorted(kept, key=lambda i: -scores[i])
    assert 100 < len(expected) < 500
    check(batched_nms(boxes, scores, classes, 0.3, 500), expected, 500)


@pytest.mark.tf_only
def test_saved_model_needs_tensorflow_only(tmp_path):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    signature = [
        tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None)), tf.TensorSpec((None, None), "int64")
    ]  # fmt: skip

    class Detections(tf.Module):
        @tf.function(input_signature=signature)
        def serve(self, boxes, scores, classes):
            indices, count = batched_nms(boxes, scores, classes, 0.5, 10)
            return gather_kept(boxes, indices), indices, count

    tf.saved_model.save(Detections(), tmp_path)
    graph = tf.saved_model.load(tmp_path).serve
    for count in (0, 3, 300):
        boxes, scores = scored_boxes(count, seed=21, side=20)
        boxes = boxes.reshape(1, count, 4)
        classes = np.arange(count) % 2
        kept, indices, number = graph(boxes, scores[None], classes[None])
        check((indices[0], number[0]), greedy(boxes[0], scores, above32(0.5), classes), 10)
        assert kept.shape == (1, 10, 4)
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert not {node.op for function in functions for node in function.node_def} & {"PyFunc", "EagerPyFunc"}
    # TensorFlow Serving refuses functions that must be compiled by XLA.
    assert not any("_XlaMustCompile" in function.attr for function in functions)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"boxes": np.zeros((3, 5))}, ValueError, r"`boxes.shape` must be \(K, 4\) or.*\(3, 5\)"),
        ({"boxes": np.zeros(4)}, ValueError, r"`boxes.shape` must be \(K, 4\) or \(N, K, 4\).*\(4,\)"),
        ({"boxes": np.zeros((1, 1, 3, 4))}, ValueError, r"`boxes.shape`.*\(1, 1, 3, 4\)"),
        ({"scores": np.zeros(2)}, ValueError, r"`scores.shape` must be \(3,\), one for each box.*\(2,\)"),
        ({"scores": np.zeros((1, 3))}, ValueError, r"`scores.shape` must be \(3,\)"),
        (
            {"classes": np.zeros(4, int)},
            ValueError,
            r"`classes.shape` must be \(3,\), one for each box.*\(4,\)",
        ),
        ({"classes": np.zeros(3)}, ValueError, r"`classes.dtype` must be an integer type.*float"),
        ({"iou_threshold": 1.5}, ValueError, r"`iou_threshold` must be a number within \[0, 1\].*1.5"),
        ({"iou_threshold": -0.1}, ValueError, "`iou_threshold`"),
        ({"iou_threshold": math.nan}, ValueError, "`iou_threshold`.*nan"),
        ({"iou_threshold": "0.5"}, TypeError, "`iou_threshold`.*'0.5'"),
        ({"max_output": 0}, ValueError, "`max_output` must be an integer of at least 1.*0"),
        ({"max_output": -3}, ValueError, "`max_output`.*-3"),
        ({"max_output": 2.0}, TypeError, "`max_output`.*2.0"),
    ],
)
def test_bad_arguments_are_named(changes, error, message):
    arguments = {
        "boxes": np.zeros((3, 4)), "scores": np.zeros(3), "classes": np.zeros(3, int), "iou_threshold": 0.5,
        "max_output": 3,
    }  # fmt: skip
    with pytest.raises(error, match=message):
        batched_nms(**{**arguments, **changes})


def test_placeholders_are_refused():
    with pytest.raises(TypeError, match="`ops.nms` takes tensors.*call it in the `call` of a layer"):
        nms(keras.Input((3, 4)), keras.Input((3,)), 0.5, 2)


def test_bad_gathers_are_named():
    with pytest.raises(ValueError, match=r"`indices.shape` must be \(M,\) or \(N, M\)"):
        gather_kept(np.zeros((3, 4)), np.zeros((1, 1, 2), int))
    with pytest.raises(ValueError, match=r"`values.shape` must be \(N, K, ...\).*\(3,\)"):
        gather_kept(np.zeros(3), np.zeros((1, 2), int))
    with pytest.raises(ValueError, match=r"`values.shape` must be \(2, K, ...\).*\(3, 4\)"):
        gather_kept(np.zeros((3, 4)), np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="`indices.dtype` must be an integer type.*float"):
        gather_kept(np.zeros((3, 4)), np.zeros(2, "float32"))


def test_batches_that_differ_are_named():
    with pytest.raises(ValueError, match=r"`scores.shape` must be \(2, 3\), one for each box.*\(1, 3\)"):
        nms(np.zeros((2, 3, 4)), np.zeros((1, 3)), 0.5, 2)


@forms
def test_half_precision_is_computed_in_float32(form):
    """Boxes and scores that float16 holds keep what they keep in float32: only the inputs are rounded."""
    boxes, scores = scored_boxes(300)
    boxes, scores = boxes.astype("float16"), scores.astype("float16")
    expected = run(form, 0.5, 300, boxes.astype("float32"), scores.astype("float32"))
    received = run(form, 0.5, 300, boxes, scores)
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))


@pytest.mark.skipif(BACKEND == "jax", reason="the grid is of the native forms, which JAX has none of")
def test_the_grid_holds_boxes_whose_widths_add_up_to_infinity():
    from keras_seg.ops.suppression_pairs import CLASSES, STRIDE, STRIPS, pair_rows

    boxes = (
        np.tile(np.float32([[-1.5e38, 0, 1.5e38, 0.5]]), (6, 1))
        + np.float32([[0, 3, 0, 3]]) * np.arange(6)[:, None]
    )
    rows = pair_rows(
        ops.convert_to_tensor(boxes[None].astype("float32")), ops.ones((1, 6), "bool"), None, 0.5
    )
    keys = ops.convert_to_numpy(rows.key)
    assert (keys >= 0).all() and (keys < CLASSES * STRIPS * STRIDE).all()
    assert len(np.unique(keys // STRIDE)) > 1, "boxes far from each other share a strip"
