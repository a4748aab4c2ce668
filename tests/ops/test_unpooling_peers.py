"""Pooling with indices and unpooling against others: recorded answers, PyTorch, ONNX Runtime."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_seg.ops import max_pool_with_argmax, max_unpool
from tests.ops.box_cases import golden_answers
from tests.ops.pooling_loops import WINDOWS, distinct, run, tied

BACKEND = keras.backend.backend()
ONE_FORM = ("jax",)


def test_golden(form):
    golden, first = golden_answers(), "channels_first"
    x = golden["pool_in"]
    values, indices = run(lambda x: max_pool_with_argmax(x, 2, data_format=first), x)
    np.testing.assert_array_equal(values, golden["pool_out"])
    np.testing.assert_array_equal(indices, golden["pool_index"])
    unpooled = run(lambda *pooled: max_unpool(*pooled, 2, data_format=first), values, indices)
    np.testing.assert_array_equal(unpooled, golden["unpool_out"])
    values, indices = run(lambda x: max_pool_with_argmax(x, 3, 2, 1, data_format=first), x)
    np.testing.assert_array_equal(values, golden["pool3s2p1_out"])
    np.testing.assert_array_equal(indices, golden["pool3s2p1_index"])


@pytest.mark.parametrize(("pool_size", "strides", "padding", "size"), WINDOWS)
def test_pytorch_agrees(form, pool_size, strides, padding, size):
    """Values, indices, NaN, and unpooling with indices of any kind."""
    torch = pytest.importorskip("torch")
    if BACKEND == "jax" or padding == "same":
        pytest.skip("PyTorch pads by numbers only; JAX is checked against the loops")
    cells = (0, 0) if padding == "valid" else padding
    x = tied((2, 3, *size), lowest=0.2)
    if BACKEND == "torch" or form == "portable":  # TensorFlow's kernels have another rule
        x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    values, indices = max_pool_with_argmax(x, pool_size, strides, padding, "channels_first")
    theirs = torch.nn.functional.max_pool2d(torch.tensor(x), pool_size, strides, cells, return_indices=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(values), theirs[0].numpy())
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), theirs[1].numpy())
    numbers = distinct(tuple(values.shape)) + 1
    for seed in (None, 0, 1):
        places = theirs[1].numpy()
        if seed is not None:
            places = np.random.default_rng(seed).integers(0, size[0] * size[1], places.shape)
        ours = max_unpool(numbers, places, pool_size, strides, padding, size, "channels_first")
        expected = torch.nn.functional.max_unpool2d(
            torch.tensor(numbers), torch.tensor(places), pool_size, strides, cells, size
        )
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), expected.numpy())


def run_onnx(kind, inputs, outputs, **attributes):
    """What one node of ONNX Runtime makes of named arrays."""
    import onnx
    import onnxruntime

    helper = onnx.helper
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    dtypes = {"at": onnx.TensorProto.INT64}
    made = [
        helper.make_tensor_value_info(name, dtypes.get(name, onnx.TensorProto.FLOAT), None)
        for name in outputs
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, list(inputs), outputs, **attributes)], kind, given, made
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.tf_only
@pytest.mark.parametrize(("pool_size", "strides", "padding", "size"), WINDOWS)
def test_onnx_runtime_agrees(form, pool_size, strides, padding, size):
    """Its indices count on over channels and images, and its SAME_UPPER puts the odd cell at the end."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    x, places = tied((2, 3, *size), lowest=0.2), size[0] * size[1]
    windows = {"kernel_shape": pool_size, "strides": strides}
    around = {"auto_pad": "SAME_UPPER"}
    if padding != "same":
        around = {"pads": [0] * 4 if padding == "valid" else [*padding, *padding]}
    pooled, at = run_onnx("MaxPool", {"x": x}, ["pooled", "at"], **windows, **around)
    values, indices = max_pool_with_argmax(x, pool_size, strides, padding, "channels_first")
    np.testing.assert_array_equal(values.numpy(), pooled)
    np.testing.assert_array_equal(indices.numpy(), at % places)

    # Other numbers, so that it shows which claimant stays.
    numbers = distinct(pooled.shape) + 1
    spare = [
        max((count - 1) * stride + pool - length, 0)
        for count, stride, pool, length in zip(pooled.shape[2:], strides, pool_size, size, strict=True)
    ]
    inputs = {"pooled": numbers, "at": at, "size": np.array(x.shape)}
    pads = [*(cells // 2 for cells in spare), *(cells - cells // 2 for cells in spare)]
    (expected,) = run_onnx("MaxUnpool", inputs, ["y"], **windows, pads=pads)
    ours = max_unpool(numbers, at % places, pool_size, strides, padding, size, "channels_first")
    np.testing.assert_array_equal(ours.numpy(), expected)
