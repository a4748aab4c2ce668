"""Pooling with indices and unpooling in TensorFlow's graphs: free sizes, XLA, a SavedModel, gradients."""

import numpy as np
import pytest
from keras import ops

from keras_seg.ops import max_pool_with_argmax, max_unpool
from keras_seg.ops.fast import for_export
from tests.ops import pooling_loops
from tests.ops.pooling_loops import distinct, reference_pool, reference_unpool, tied

pytestmark = pytest.mark.tf_only

WINDOWS = [
    ((2, 2), (2, 2), "valid"),
    ((2, 2), (2, 2), "same"),
    ((3, 3), (2, 2), "valid"),
    ((3, 2), (2, 1), "same"),
    ((3, 3), (2, 2), (1, 1)),
]
SIZES = [(4, 6), (5, 7), (9, 3)]


def there_and_back(windows):
    def run(x):
        values, indices = max_pool_with_argmax(x, *windows)
        return (
            values,
            indices,
            max_unpool(values, indices, *windows, output_size=ops.shape(x)[1:3]),
        )

    return run


def with_gradient(windows):
    """Gradients of both ops, each for itself."""
    import tensorflow as tf

    def run(x, upstream):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            values, indices = max_pool_with_argmax(x, *windows)
            other = tf.stop_gradient(values) * 2.0
            tape.watch(other)
            unpooled = max_unpool(other, indices, *windows, output_size=ops.shape(x)[1:3])
        return tape.gradient(values, x, other), tape.gradient(unpooled, other, upstream)

    return run


def check(run, windows, size):
    x = tied((2, *size, 3), lowest=0.2)
    expected, places = reference_pool(x, *windows)
    values, indices, unpooled = (tensor.numpy() for tensor in run(x))
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(unpooled, reference_unpool(expected, places, size))


def check_gradients(run, windows, size):
    x = tied((2, *size, 3))
    expected, places = reference_pool(x, *windows)
    upstream = distinct(x.shape)
    pooled, unpooled = (tensor.numpy() for tensor in run(x, upstream))
    winners = np.zeros((2, size[0] * size[1], 3))
    for image, i, j, channel in np.ndindex(expected.shape):
        winners[image, places[image, i, j, channel], channel] += 2 * expected[image, i, j, channel]
    np.testing.assert_array_equal(pooled, winners.reshape(x.shape))
    np.testing.assert_array_equal(unpooled, reference_unpool(expected, places, size, upstream))


@pytest.mark.parametrize("windows", WINDOWS)
def test_one_graph_serves_any_batch_and_size(form, windows):
    import tensorflow as tf

    free = tf.TensorSpec((None, None, None, 3))
    run = tf.function(there_and_back(windows), input_signature=[free])
    gradients = tf.function(with_gradient(windows), input_signature=[free, free])
    assert run.get_concrete_function().output_shapes[0].as_list() == [None, None, None, 3]
    for size in SIZES:
        check(run, windows, size)
        check_gradients(gradients, windows, size)


@pytest.mark.parametrize(
    ("windows", "known"),
    [
        (WINDOWS[0], (2, 5, 7, 3)),
        (WINDOWS[0], (None, 5, 7, 3)),
        (WINDOWS[1], (None, None, None, 3)),
        (WINDOWS[2], (None, 5, 7, 3)),
        (WINDOWS[4], (None, None, None, 3)),
    ],
)
def test_under_xla(windows, known):
    import tensorflow as tf

    x = tf.TensorSpec(known)
    run = tf.function(there_and_back(windows), input_signature=[x], jit_compile=True)
    gradients = tf.function(with_gradient(windows), input_signature=[x, x], jit_compile=True)
    check(run, windows, (5, 7))
    check_gradients(gradients, windows, (5, 7))


def test_static_sizes_stay_known(form):
    import tensorflow as tf

    @tf.function
    def run(x):
        values, indices = max_pool_with_argmax(x)
        assert values.shape == indices.shape == (2, 4, 3, 5)
        assert max_unpool(values, indices, output_size=(9, 7)).shape == x.shape
        return values

    run(tf.zeros((2, 9, 7, 5)))


@pytest.mark.parametrize(("pool_size", "strides", "padding", "size"), pooling_loops.WINDOWS)
def test_one_size_in_a_graph(pool_size, strides, padding, size):
    """Where the ops are fused, for any number of images."""
    import tensorflow as tf

    windows, x = (pool_size, strides, padding), tf.TensorSpec((None, *size, 3))
    check(tf.function(there_and_back(windows), input_signature=[x]), windows, size)
    check_gradients(tf.function(with_gradient(windows), input_signature=[x, x]), windows, size)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("windows", WINDOWS[::2])
def test_half_precision_in_a_graph_of_one_size(dtype, windows):
    """Fused, with gradients: whole numbers below 2**8 are exact, and so are their sums here."""
    import tensorflow as tf

    x, upstream = distinct((2, 5, 7, 3)) % 61, distinct((2, 5, 7, 3), seed=1) % 31
    expected, places = reference_pool(x, *windows)
    weights = distinct(expected.shape, seed=2) % 31

    @tf.function
    def run(x, weights, upstream):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            values, indices = max_pool_with_argmax(x, *windows)
            fixed = tf.stop_gradient(values)
            tape.watch(fixed)
            unpooled = max_unpool(fixed, indices, *windows, output_size=(5, 7))
        gradients = tape.gradient(values, x, weights), tape.gradient(unpooled, fixed, upstream)
        return [tf.cast(part, "float32") for part in (values, unpooled, *gradients)]

    received = run(*(tf.cast(part, dtype) for part in (x, weights, upstream)))
    winners = np.zeros((2, 35, 3))
    for image, i, j, channel in np.ndindex(expected.shape):
        winners[image, places[image, i, j, channel], channel] += weights[image, i, j, channel]
    np.testing.assert_array_equal(received[0], expected)
    np.testing.assert_array_equal(received[1], reference_unpool(expected, places, (5, 7)))
    np.testing.assert_array_equal(received[2], winners.reshape(x.shape))
    np.testing.assert_array_equal(received[3], reference_unpool(expected, places, (5, 7), upstream))


@pytest.mark.parametrize("windows", WINDOWS[::2])
def test_any_index_in_a_graph_of_one_size(windows):
    """Where indices are found to lie outside of their windows, though inside the output, and outside it."""
    import tensorflow as tf

    size = (5, 7)
    places = reference_pool(np.zeros((2, *size, 3)), *windows)[1]
    values, upstream = distinct(places.shape) + 1, distinct((2, *size, 3), seed=1) + 1

    @tf.function
    def run(values, indices):
        with tf.GradientTape() as tape:
            tape.watch(values)
            unpooled = max_unpool(values, indices, *windows, output_size=size)
        return unpooled, tape.gradient(unpooled, values, upstream)

    for indices in (places, np.random.default_rng(0).integers(0, size[0] * size[1], places.shape)):
        unpooled, received = run(tf.constant(values), tf.constant(indices, tf.int32))
        np.testing.assert_array_equal(unpooled, reference_unpool(values, indices, size))
        np.testing.assert_array_equal(received, reference_unpool(values, indices, size, upstream))
    for index in (-1, size[0] * size[1]):
        places[1, 0, 0, 0] = index
        with pytest.raises(tf.errors.InvalidArgumentError, match="out of bounds|is not in"):
            run(tf.constant(values), tf.constant(places, tf.int32))


def nodes(run, *specs):
    """All nodes of a function's graph, those of the functions that it calls too."""
    graph = run.get_concrete_function(*specs).graph.as_graph_def()
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def test_the_default_form_reaches_the_fast_kernels():
    """Otherwise everything would pass with the portable form alone."""
    import tensorflow as tf

    def kinds(jit_compile, size):
        run = tf.function(there_and_back(WINDOWS[0]), jit_compile=jit_compile)
        return {node.op for node in nodes(run, tf.TensorSpec((2, *size, 3)))}

    assert {"MaxPool", "SparseToDense"} <= kinds(False, (None, None))
    assert not {"MaxPool", "SparseToDense"} & kinds(True, (4, 6))
    # Of one size: no pool, and the scatter only for indices from elsewhere.
    assert "MaxPool" not in kinds(False, (4, 6))


def test_only_graphs_of_one_size_are_fused_and_no_exported_one():
    """Fused by a hint, which a server without XLA passes over, never by an order, which it could not obey."""
    import tensorflow as tf

    def marks(size):
        run = tf.function(there_and_back(WINDOWS[0]))
        made = nodes(run, tf.TensorSpec((None, *size, 3)))
        assert not any("_XlaMustCompile" in node.attr for node in made)
        return sum("_XlaCompile" in node.attr for node in made)

    assert marks((4, 6)) > 10
    assert marks((None, None)) == 0
    assert marks((5, None)) == 0
    with for_export():
        assert marks((4, 6)) == 0


@pytest.mark.parametrize("known", [(None, None), (5, 7)])
def test_saved_model_has_stock_ops_only(tmp_path, known):
    """Also if it was saved past `keras_seg.export`."""
    import tensorflow as tf

    module = tf.Module()
    module.run = tf.function(there_and_back(WINDOWS[1]), input_signature=[tf.TensorSpec((None, *known, 3))])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for size in SIZES if None in known else [known]:
        check(loaded.run, WINDOWS[1], size)
    made = [
        node
        for function in loaded.run.concrete_functions[0].graph.as_graph_def().library.function
        for node in function.node_def
    ]
    assert "SparseToDense" in {node.op for node in made}
    assert not [node.op for node in made if "Xla" in node.op or "PyFunc" in node.op]
    assert not any("_XlaMustCompile" in node.attr for node in made)
