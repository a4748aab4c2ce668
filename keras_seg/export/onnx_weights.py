"""Smaller weights in an ONNX graph: stored as float16, bfloat16 or int8, computed with in float32.

Each large initializer is replaced by its small form and the standard node that gives float32 back, so that
only rounding of the weights changes the answers: activations keep float32. onnxruntime's own quantization
turns the activations of convolutions to 8 bits as well.
"""

import numpy as np

# Below this many values the node costs more bytes than it saves; biases and scales stay as they are.
_FEWEST = 256


def compress_weights(graph_model, weights):
    """Change an ONNX model in place.

    Args:
        graph_model: onnx.ModelProto.
        weights: "float32" (nothing is changed), "float16", "bfloat16" or "int8" (per output channel,
            symmetric).
    """
    if weights == "float32":
        return
    import onnx

    graph = graph_model.graph
    axes = _channel_axes(graph)
    nodes = []
    for tensor in list(graph.initializer):
        kernel = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2
        if not kernel or np.prod(tensor.dims) < _FEWEST or (weights == "int8" and tensor.name not in axes):
            continue
        values = onnx.numpy_helper.to_array(tensor)
        small, node = _compress(tensor.name, values, weights, axes.get(tensor.name))
        graph.initializer.remove(tensor)
        graph.initializer.extend(small)
        nodes.append(node)
    # In front: ONNX wants nodes in the order in which they can be run.
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _compress(name, values, weights, axis):
    import onnx

    stored = f"{name}/{weights}"
    if weights == "int8":
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.maximum(np.abs(values).max(axis=others) / 127, np.finfo("float32").tiny).astype("float32")
        spread = scale.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        rounded = np.clip(np.rint(values / spread), -127, 127).astype("int8")
        small = [
            onnx.numpy_helper.from_array(rounded, stored),
            onnx.numpy_helper.from_array(scale, f"{stored}/scale"),
        ]
        return small, onnx.helper.make_node(
            "DequantizeLinear", [stored, f"{stored}/scale"], [name], name=f"{stored}/restore", axis=axis
        )
    kind = onnx.TensorProto.FLOAT16 if weights == "float16" else onnx.TensorProto.BFLOAT16
    small = onnx.helper.make_tensor(
        stored,
        kind,
        values.shape,
        values.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)).tobytes(),
        raw=True,
    )
    node = onnx.helper.make_node(
        "Cast", [stored], [name], name=f"{stored}/restore", to=onnx.TensorProto.FLOAT
    )
    return [small], node


def _channel_axes(graph):
    """dict of initializer name to the axis of its output channels: kernels of convolutions and products."""
    axes = {}
    for node in graph.node:
        if node.op_type == "Conv":
            axes[node.input[1]] = 0
        elif node.op_type == "ConvTranspose" or node.op_type in ("MatMul", "Gemm"):
            axes[node.input[1]] = 1
    return axes
