"""Rows by their numbers, held against NumPy's indexing, and what they cost a graph."""

import numpy as np
import pytest
from keras import ops

from keras_seg.ops.row_gather import take_rows, take_rows_of_each
from tests.ops.box_cases import gradient

ONE_FORM = ("jax", "torch")


def numbers(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def rows(*shape, below):
    return np.random.default_rng(below).integers(0, below, shape).astype("int32")


@pytest.mark.parametrize(("values", "index"), [((5,), (3,)), ((5, 2, 3), (4,)), ((5, 2), (3, 4))])
def test_rows_of_a_table(form, values, index):
    values, index = numbers(*values), rows(*index, below=values[0])
    taken = take_rows(ops.convert_to_tensor(values), ops.convert_to_tensor(index))
    np.testing.assert_array_equal(ops.convert_to_numpy(taken), values[index])


@pytest.mark.parametrize("rest", [(), (4,), (2, 3)])
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_rows_of_each_table(form, leading, rest):
    values, index = numbers(*leading, 6, *rest), rows(*leading, 5, below=6)
    taken = ops.convert_to_numpy(
        take_rows_of_each(ops.convert_to_tensor(values), ops.convert_to_tensor(index))
    )
    assert taken.shape == (*leading, 5, *rest)
    for place in np.ndindex(*leading):
        np.testing.assert_array_equal(taken[place], values[place][index[place]])


def test_the_gradient_adds_up_what_is_taken_twice(form):
    values, index = numbers(2, 3, 2), np.array([[0, 2, 0], [1, 1, 1]], "int32")
    upstream = np.arange(1, 13, dtype="float32").reshape(2, 3, 2)
    found = gradient(
        lambda values: ops.sum(
            take_rows_of_each(values, ops.convert_to_tensor(index)) * ops.convert_to_tensor(upstream)
        ),
        values,
    )
    expected = np.zeros_like(values)
    for image, places in enumerate(index):
        np.add.at(expected[image], places, upstream[image])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.tf_only
def test_is_few_operations_of_a_graph():
    import tensorflow as tf

    def operations(function, *arrays):
        specs = [tf.TensorSpec(array.shape, array.dtype) for array in arrays]
        graph = tf.function(function, autograph=False).get_concrete_function(*specs).graph
        return [op.type for op in graph.get_operations() if op.type not in ("Placeholder", "Identity")]

    assert len(operations(take_rows_of_each, numbers(2, 5, 4), rows(2, 3, below=5))) <= 2
    assert len(operations(take_rows, numbers(5, 4), rows(2, 3, below=5))) <= 2
