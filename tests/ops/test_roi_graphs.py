"""RoIAlign and RoIPool in TensorFlow's graphs: free sizes, a SavedModel, and the memory that they hold."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_seg.ops import multilevel_roi_align, roi_align, roi_pool
from keras_seg.ops.fast import for_export
from tests.ops.box_cases import boxes_about
from tests.ops.roi_cases import align_reference, pool_reference, random_map

pytestmark = pytest.mark.tf_only

ROOT = Path(__file__).parents[2]
SIZES = [(1, 9, 12, 5), (2, 16, 7, 3)]


OPS = {
    "fixed": lambda features, boxes: roi_align(features, boxes, 3),
    "adaptive": lambda features, boxes: roi_align(features, boxes, 3, sampling_ratio=-1),
    "pool": lambda features, boxes: roi_pool(features, boxes, 3),
}


def free_functions(**options):
    """The ops traced once, for any batch, size and number of boxes."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, None, 4))]
    return {name: tf.function(op, signature, **options) for name, op in OPS.items()}


def check(functions, batch, height, width, count):
    features, boxes = random_map(batch, height, width, 3), boxes_about(count, height, width, images=batch)
    received = {name: function(features, boxes).numpy() for name, function in functions.items()}
    for name, sampling in (("fixed", 2), ("adaptive", -1)):
        expected = align_reference(features, boxes, (3, 3), sampling=sampling)
        np.testing.assert_allclose(received[name], expected, rtol=0, atol=1e-5)
    expected, _ = pool_reference(features, boxes, (3, 3))
    np.testing.assert_array_equal(received["pool"], expected.astype("float32"))


@pytest.mark.parametrize("autograph", [True, False])
def test_one_graph_serves_any_size(form, autograph):
    functions = free_functions(autograph=autograph)
    for size in SIZES:
        check(functions, *size)


def test_graphs_of_one_size_without_autograph(form):
    import tensorflow as tf

    for size in SIZES:
        check({name: tf.function(op, autograph=False) for name, op in OPS.items()}, *size)


def test_a_free_graph_without_boxes(form):
    import tensorflow as tf

    specs = [tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, None, 4))]
    features, boxes = random_map(2, 9, 12, 3), np.zeros((2, 0, 4), "float32")
    for function in free_functions().values():

        def with_gradient(features, boxes, function=function):
            with tf.GradientTape() as tape:
                tape.watch(features)
                value = function(features, boxes)
            return value, tape.gradient(value, features)

        value, gradient = tf.function(with_gradient, specs)(features, boxes)
        assert value.shape == (2, 0, 3, 3, 3)
        np.testing.assert_array_equal(gradient, np.zeros_like(features))


def test_under_xla():
    check(free_functions(jit_compile=True), *SIZES[1])


def test_a_free_pyramid(form):
    import tensorflow as tf

    maps = {f"P{k}": tf.TensorSpec((None, None, None, 3)) for k in (2, 3)}
    free = tf.function(lambda maps, boxes: multilevel_roi_align(maps, boxes, 2)).get_concrete_function(
        maps, tf.TensorSpec((None, None, 4))
    )
    assert free.output_shapes.as_list()[2:] == [2, 2, 3]
    for side in (64, 96):
        features = {f"P{k}": tf.constant(random_map(1, side >> k, side >> k, 3, seed=k)) for k in (2, 3)}
        boxes = boxes_about(9, side, side)
        expected = multilevel_roi_align(features, boxes, 2)
        np.testing.assert_allclose(free(features, tf.constant(boxes)), expected, rtol=0, atol=1e-6)


def test_saved_model_has_stock_ops_only(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.functions = free_functions()
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for size in SIZES:
        check(loaded.functions, *size)
    library = [
        function
        for name in loaded.functions
        for function in loaded.functions[name].concrete_functions[0].graph.as_graph_def().library.function
    ]
    nodes = [node for function in library for node in function.node_def]
    kinds = {node.op for node in nodes}
    assert "SparseMatrixMatMul" in kinds, "the default form does not reach the fast kernel"
    assert not {kind for kind in kinds if "Xla" in kind or "PyFunc" in kind}
    # A hint to compile may be there, an order may not: a server without XLA would refuse it.
    assert not any("_XlaMustCompile" in part.attr for part in (*library, *nodes))
    assert any("_XlaCompile" in node.attr for node in nodes)


def test_a_graph_of_one_size_compiles_the_loop_over_taps():
    """In the forward alone; a graph for another process and one of free sizes have the sparse matrix."""
    import tensorflow as tf

    sizes, free = (tf.TensorSpec((2, 9, 12, 16)), tf.TensorSpec((2, 40, 4))), tf.TensorSpec((2, None, 4))
    features, boxes = random_map(2, 9, 12, 16), boxes_about(40, 9, 12, images=2)

    def with_gradient(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch(features)
            value = roi_align(features, boxes, 3)
        return value, tape.gradient(value, features)

    expected = align_reference(features, boxes, (3, 3), sampling=2)
    found, results = [], []
    for boxes_spec in (sizes[1], free):
        traced = tf.function(with_gradient).get_concrete_function(sizes[0], boxes_spec)
        results.append([part.numpy() for part in traced(tf.constant(features), tf.constant(boxes))])
        found.append(_operations(traced))
    with for_export():
        forward = tf.function(lambda f, b: roi_align(f, b, 3)).get_concrete_function(*sizes)
    found.append(_operations(forward))
    assert [hinted for _, hinted in found] == [True, False, False]
    assert [kinds.count("SparseMatrixMatMul") for kinds, _ in found] == [1, 2, 1]
    for value, gradient in results:
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(gradient, results[0][1], rtol=0, atol=1e-5)


def _operations(traced):
    """The kinds of a concrete function's operations, and whether any has the mark of a hint to compile."""
    graph = traced.graph.as_graph_def()
    nodes = [node for part in (graph.node, *(f.node_def for f in graph.library.function)) for node in part]
    return [node.op for node in nodes], any("_XlaCompile" in node.attr for node in nodes)


def test_bins_of_the_samples_are_no_constant():
    """TensorFlow would fold them, keep them, and copy them in its passes over the graph."""
    import tensorflow as tf

    from keras_seg.ops.roi_bags import fixed_bags
    from keras_seg.ops.roi_regions import lay_on_map
    from keras_seg.ops.roi_samples import region_axis

    def targets(features, boxes):
        _, regions, _ = lay_on_map("roi_align", features, boxes, 1.0)
        x1, y1, x2, y2 = tf.unstack(regions.boxes, axis=1)
        axes = [
            region_axis(low, high, 3, size, 2, True)
            for low, high, size in ((y1, y2, regions.heights), (x1, x2, regions.widths))
        ]
        return fixed_bags(regions, *axes, 4).targets

    features, boxes = random_map(2, 9, 12, 3), boxes_about(5, 9, 12, images=2)
    traced = tf.function(targets).get_concrete_function(tf.constant(features), tf.constant(boxes))
    np.testing.assert_array_equal(traced(tf.constant(features), tf.constant(boxes)), np.arange(90).repeat(16))
    # What is computed from shapes alone is folded; what has a value of the boxes in it is not.
    waiting, seen = [traced.outputs[0].op], set()
    while waiting:
        operation = waiting.pop()
        if operation.name not in seen and operation.type != "Shape":
            seen.add(operation.name)
            waiting.extend(tensor.op for tensor in operation.inputs)
    assert "boxes" in seen


@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_boxes_in_a_graph_that_knows_it(form, jit_compile):
    """All sizes known: TensorFlow folds constants into the sparse kernels, which die of an empty matrix."""
    import tensorflow as tf

    def total(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch(features)
            results = [
                roi_align(features, boxes, 3),
                roi_align(features, boxes, 3, sampling_ratio=-1),
                multilevel_roi_align({"P2": features}, boxes, 3),
                roi_pool(features, boxes, 3),
            ]
            loss = tf.add_n([tf.reduce_sum(result) for result in results])
        return results, tape.gradient(loss, features)

    signature = [tf.TensorSpec((2, 9, 12, 3)), tf.TensorSpec((2, 0, 4))]
    features, boxes = random_map(2, 9, 12, 3), np.zeros((2, 0, 4), "float32")
    results, gradient = tf.function(total, signature, jit_compile=jit_compile)(features, boxes)
    assert [tuple(result.shape) for result in results] == [(2, 0, 3, 3, 3)] * 4
    np.testing.assert_array_equal(gradient, np.zeros_like(features))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory(tmp_path):
    """1000 boxes of 7 x 7 x 256 on a P2 map: at most four times the output beyond inputs, in every form."""
    file = tmp_path / "memory.json"
    command = [sys.executable, "-m", "benchmarks.ops", "--memory", "--out", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [row for row in json.loads(file.read_text())["results"]["rows"] if row["worker"] != "peer"]
    assert {row["worker"] for row in rows} == {"tensorflow", "jax", "torch"}
    assert {row["form"] for row in rows} == {"default", "portable"}
    for row in rows:
        assert row["peak_bytes"] <= 4 * row["output_bytes"], row
