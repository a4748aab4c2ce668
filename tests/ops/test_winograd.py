"""Winograd's 3x3 convolution: a loop over pixels in float64, its gradients, and its form on TensorFlow."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_seg.ops import winograd

# pad, dilation, (H, W): even and odd sides, tiles beyond the map, fewer pixels than a tile, every padding.
GEOMETRIES = [
    (1, 1, (4, 6)),
    (1, 1, (5, 3)),
    (1, 1, (1, 1)),
    (0, 1, (7, 6)),
    (2, 1, (3, 4)),
    (2, 2, (8, 8)),
    (4, 4, (9, 14)),
    (0, 2, (7, 5)),
]


def reference(x, kernel, pad, dilation):
    """Output pixel by output pixel, in float64."""
    x = np.pad(np.asarray(x, "float64"), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height, width = (side - 2 * dilation for side in x.shape[1:3])
    outputs = np.empty((len(x), height, width, kernel.shape[3]))
    for row, column in np.ndindex(height, width):
        window = x[:, row : row + 2 * dilation + 1 : dilation, column : column + 2 * dilation + 1 : dilation]
        outputs[:, row, column] = np.tensordot(window, np.asarray(kernel, "float64"), 3)
    return outputs


def reference_gradients(x, kernel, upstream, pad, dilation):
    """Of the map and the kernel: each output pixel hands its gradient to what it was made of."""
    padded = np.pad(np.asarray(x, "float64"), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    of_map, of_kernel = np.zeros_like(padded), np.zeros(kernel.shape)
    for row, column in np.ndindex(*upstream.shape[1:3]):
        window = np.s_[
            :, row : row + 2 * dilation + 1 : dilation, column : column + 2 * dilation + 1 : dilation
        ]
        here = upstream[:, row, column].astype("float64")
        of_map[window] += np.einsum("nd,ijcd->nijc", here, kernel)
        of_kernel += np.einsum("nijc,nd->ijcd", padded[window], here)
    height, width = x.shape[1:3]
    return of_map[:, pad : pad + height, pad : pad + width], of_kernel


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def arrays(tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


@pytest.mark.parametrize(("pad", "dilation", "size"), GEOMETRIES)
def test_sums_of_products_are_the_convolution(pad, dilation, size):
    x, kernel = numbers(2, *size, 3), numbers(3, 3, 3, 4, seed=1)
    tiles = winograd.input_tiles(ops.convert_to_tensor(x), pad, dilation)
    kernels = winograd.transformed_kernel(ops.convert_to_tensor(kernel))
    products = ops.matmul(tiles, kernels)
    expected = reference(x, kernel, pad, dilation)
    found = ops.convert_to_numpy(winograd.output_map(products, expected.shape[1:3], dilation))
    # 27 products and 24 sums before and after them, each rounded by 2^-24 of numbers below 40.
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["kernel", "output"])
def test_gradients_are_the_transposes(name):
    """Of a linear map: <f(x), y> equals <x, gradient(y)> for any x and y."""
    if name == "kernel":
        x, y = numbers(3, 3, 5, 2), numbers(16, 5, 2, seed=1)
        forward = winograd.transformed_kernel(ops.convert_to_tensor(x))
        back = winograd.transformed_kernel_gradient(ops.convert_to_tensor(y))
    else:
        size, dilation = (7, 5), 2
        x, y = numbers(16, 2 * 4 * 2 * 2, 3), numbers(2, *size, 3, seed=1)
        forward = winograd.output_map(ops.convert_to_tensor(x), size, dilation)
        back = winograd.output_map_gradient(ops.convert_to_tensor(y), dilation)
    forward, back = (array.astype("float64") for array in arrays([forward, back]))
    assert np.vdot(forward, y) == pytest.approx(np.vdot(x, back), rel=1e-4)


@pytest.mark.tf_only
@pytest.mark.parametrize(("part_bytes", "batch"), [(10**6, 3), (500, None), (1, 3)])
@pytest.mark.parametrize(("pad", "dilation", "size"), GEOMETRIES[1::2])
def test_on_tensorflow(pad, dilation, size, batch, part_bytes, monkeypatch):
    """Whole batches, some images and bands of one image at a time."""
    import tensorflow as tf

    from keras_seg.ops.fast import winograd_tensorflow

    monkeypatch.setattr(winograd_tensorflow, "_PART_BYTES", part_bytes)
    # Without the graphs that other sizes of parts have left.
    for name in ("_convolved", "_for_kernel"):
        function = getattr(winograd_tensorflow, name).python_function
        monkeypatch.setattr(winograd_tensorflow, name, winograd_tensorflow._shared(function))
    x, kernel = numbers(3, *size, 4), numbers(3, 3, 4, 5, seed=1)
    expected = reference(x, kernel, pad, dilation)
    upstream = numbers(*expected.shape, seed=2)

    @tf.function(
        input_signature=[tf.TensorSpec((batch, *size, 4)), tf.TensorSpec(kernel.shape)], autograph=False
    )
    def run(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            outputs = winograd_tensorflow.conv_3x3(x, kernel, pad, dilation)
        assert outputs.shape.as_list() == [batch, *expected.shape[1:]]
        return outputs, *tape.gradient(outputs, [x, kernel], upstream)

    found = arrays(run(x, kernel))
    library = run.get_concrete_function().graph.as_graph_def().library.function
    loops = [node.op for function in library for node in function.node_def if "While" in node.op]
    assert bool(loops) == (part_bytes < 10**6), "what is known to be one part needs no loop"
    np.testing.assert_allclose(found[0], expected, atol=2e-5)
    for gradient, wanted in zip(
        found[1:], reference_gradients(x, kernel, upstream, pad, dilation), strict=True
    ):
        np.testing.assert_allclose(gradient, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.tf_only
def test_bfloat16_on_tensorflow():
    import tensorflow as tf

    from keras_seg.ops.fast import winograd_tensorflow

    x, kernel = (
        tf.cast(numbers(*shape, seed=i), "bfloat16")
        for i, shape in enumerate([(2, 8, 8, 64), (3, 3, 64, 32)])
    )
    outputs = tf.function(winograd_tensorflow.conv_3x3)(x, kernel, 1, 1)
    assert outputs.dtype == "bfloat16"
    expected = reference(tf.cast(x, "float32"), tf.cast(kernel, "float32"), 1, 1)
    # Tiles, kernels and products are rounded by 2^-9, and the sum of nine products once more.
    assert np.sqrt(np.mean((tf.cast(outputs, "float64") - expected) ** 2)) < 2**-8 * expected.std() * 2


@pytest.mark.tf_only
def test_where_it_is_used():
    import tensorflow as tf

    from keras_seg.layers import WinogradConv2D
    from keras_seg.ops import portable
    from keras_seg.ops.fast.dispatch import for_export

    def operations(layer, shape, dtype="float32", **options):
        run = tf.function(lambda x: layer(x), input_signature=[tf.TensorSpec(shape, dtype)], **options)
        graph = run.get_concrete_function().graph
        return {operation.type for operation in graph.get_operations()}

    wide, narrow = (WinogradConv2D(units, 3, padding="same") for units in (256, 32))
    of_one_size = (None, 16, 16, 256)
    assert "Conv2D" not in operations(wide, of_one_size)
    assert "Conv2D" in operations(narrow, of_one_size)
    assert "Conv2D" in operations(wide, (None, None, None, 256))
    assert "Conv2D" in operations(wide, (None, 8, 8, 256))
    assert "Conv2D" in operations(wide, of_one_size, jit_compile=True)
    for elsewhere in (for_export(), portable()):
        with elsewhere:
            assert "Conv2D" in operations(wide, of_one_size)
    for policy, products in (("mixed_bfloat16", True), ("mixed_float16", False)):
        keras.config.set_dtype_policy(policy)
        assert ("Conv2D" in operations(WinogradConv2D(256, 3, padding="same"), of_one_size)) != products


@pytest.mark.tf_only
def test_layers_of_one_shape_share_their_graph():
    """A network's graph has each shape once, and makes a layer's kernels in it: when its map is there."""
    import tensorflow as tf

    from keras_seg.ops.fast import winograd_tensorflow

    @tf.function
    def gradients(x, *kernels):
        with tf.GradientTape() as tape:
            tape.watch([x, *kernels])
            outputs = x
            for kernel in kernels:
                outputs = winograd_tensorflow.conv_3x3(outputs, kernel, 1, 1)
        return tape.gradient(outputs, [x, *kernels])

    kernels = [tf.TensorSpec((3, 3, 8, 8))] * 3
    graph = gradients.get_concrete_function(tf.TensorSpec((1, 16, 16, 8)), *kernels).graph
    calls = [op.get_attr("f").name for op in graph.get_operations() if "PartitionedCall" in op.type]
    assert len(calls) == 9
    assert len(set(calls)) == 3
    assert not {"MatMul", "BatchMatMulV2"} & {op.type for op in graph.get_operations()}


@pytest.mark.tf_only
def test_a_graph_saved_with_it_has_stock_ops(tmp_path):
    """Keras's own export keeps the products; they run in any server."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    from keras_seg.layers import WinogradConv2D

    model = keras.Sequential([keras.Input((16, 16, 256)), WinogradConv2D(256, 3, padding="same")])
    model.export(tmp_path / "model", verbose=False)
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((tmp_path / "model" / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert not any("Xla" in name for function in functions for name in function.attr)
    names = {node.op for function in functions for node in function.node_def}
    assert "BatchMatMulV2" in names
    assert "Conv2D" not in names
    x = numbers(2, 16, 16, 256)
    served = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(served.serve(x), model.predict(x, verbose=0), atol=1e-5)
