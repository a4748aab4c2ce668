"""Batches in parts: each row's result, whatever the parts, in graphs and outside."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_seg.ops.row_parts import in_parts

KINDS = {"sums": ((2,), "float32"), "firsts": ((), "int32")}


def function(values, numbers):
    return {"sums": ops.sum(values, axis=1), "firsts": numbers[:, 0]}


def rows(count):
    rng = np.random.default_rng(count)
    return rng.normal(size=(count, 3, 2)).astype("float32"), rng.integers(0, 9, (count, 4)).astype("int32")


def check(found, values, numbers):
    # Sums of three numbers below 4, rounded by 2^-24.
    np.testing.assert_allclose(ops.convert_to_numpy(found["sums"]), values.sum(axis=1), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(found["firsts"]), numbers[:, 0])


@pytest.mark.parametrize("most", [1, 2, 5, 7, 100])
@pytest.mark.parametrize("count", [1, 5, 7])
def test_is_what_the_whole_batch_gives(count, most):
    arrays = rows(count)
    check(in_parts(function, tuple(ops.convert_to_tensor(array) for array in arrays), most, KINDS), *arrays)


@pytest.mark.tf_only
@pytest.mark.parametrize("count", [None, 7])
def test_in_a_graph_on_a_cpu_no_part_has_more_rows(count):
    import tensorflow as tf

    sizes = []

    def counted(values, numbers):
        tf.py_function(lambda size: sizes.append(int(size)), [tf.shape(values)[0]], [])
        return function(values, numbers)

    signature = [tf.TensorSpec((count, 3, 2)), tf.TensorSpec((count, 4), "int32")]

    @tf.function(input_signature=signature, autograph=False)
    def run(*tensors):
        found = in_parts(counted, tensors, 3, KINDS)
        assert {name: tensor.shape.as_list() for name, tensor in found.items()} == {
            "sums": [count, 2],
            "firsts": [count],
        }
        return found

    arrays = rows(7)
    check(run(*arrays), *arrays)
    assert sorted(sizes) == [1, 3, 3]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="of the form on PyTorch")
def test_on_pytorch_no_part_has_more_rows():
    sizes = []

    def counted(values, numbers):
        sizes.append(len(values))
        return function(values, numbers)

    arrays = rows(7)
    check(in_parts(counted, tuple(ops.convert_to_tensor(array) for array in arrays), 3, KINDS), *arrays)
    from keras_seg.ops.fast.devices import has_accelerator

    assert sizes == ([7] if has_accelerator() else [3, 3, 1])


@pytest.mark.tf_only
@pytest.mark.parametrize("most", [1, 3])
def test_in_a_graph_no_rows_give_none(most):
    import tensorflow as tf

    signature = [tf.TensorSpec((None, 3, 2)), tf.TensorSpec((None, 4), "int32")]
    run = tf.function(
        lambda *tensors: in_parts(function, tensors, most, KINDS), input_signature=signature, autograph=False
    )
    arrays = rows(0)
    check(run(*arrays), *arrays)


@pytest.mark.tf_only
def test_a_part_of_one_row_says_so():
    import tensorflow as tf

    shapes = []

    def looked_at(values, numbers):
        shapes.append(values.shape.as_list())
        return function(values, numbers)

    signature = [tf.TensorSpec((None, 3, 2)), tf.TensorSpec((None, 4), "int32")]
    tf.function(lambda *tensors: in_parts(looked_at, tensors, 1, KINDS), input_signature=signature)(*rows(2))
    assert shapes == [[1, 3, 2]]


@pytest.mark.tf_only
def test_a_batch_known_to_be_one_part_is_no_loop():
    import tensorflow as tf

    for count in (1, 4, 5, None):
        specs = [tf.TensorSpec((count, 3, 2)), tf.TensorSpec((count, 4), "int32")]
        run = tf.function(lambda *tensors: in_parts(function, tensors, 4, KINDS), autograph=False)
        traced = run.get_concrete_function(*specs)
        loops = [op.type for op in traced.graph.get_operations() if "While" in op.type]
        assert len(loops) == (count not in (1, 4))
        assert traced.structured_outputs["sums"].shape.as_list() == [count, 2]
        arrays = rows(count or 7)
        check(traced(*map(tf.constant, arrays)), *arrays)
