"""How the weights of one Keras layer lie in PyTorch: their names, shapes and order of axes, by kind of layer.

| layer | PyTorch | Keras |
|---|---|---|
| Conv2D | (out, in, h, w) | (h, w, in, out) |
| Conv2D or EinsumDense from a linear layer on a flattened map | (out, in * h * w) | (h, w, in, out) |
| Conv2DTranspose | (in, out, h, w) | (h, w, out, in) |
| DepthwiseConv2D | (in * multiplier, 1, h, w) | (h, w, in, multiplier) |
| Dense | (out, in) | (in, out) |
| BatchNormalization | weight, bias, running_mean, running_var | gamma, beta, moving_mean, moving_variance |

PyTorch flattens a map channel by channel, so the linear layer's second axis is (in, h, w) laid out flat.
"""

import dataclasses

from keras import layers

from keras_seg.backbones.input_channels import adapt_first_kernel

_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclasses.dataclass(frozen=True)
class Slot:
    """One variable of a layer and the tensor that belongs there.

    Attributes:
        layer: str. The layer's name.
        variable: keras.Variable.
        tensor: str. The tensor's name in the checkpoint.
        shape: tuple. Its shape there.
        flat_shape: tuple or None. The shape of a linear layer that serves as well.
        split: tuple. The shape to bring it to before its axes are exchanged.
        axes: tuple of int. Keras's axes, as axes of `split`.
        adapted: bool. The kernel is for RGB images and the layer has another number of channels.
    """

    layer: str
    variable: object
    tensor: str
    shape: tuple
    flat_shape: tuple | None
    split: tuple
    axes: tuple
    adapted: bool = False

    @property
    def title(self):
        """Layer, variable and shape, for people."""
        return f"{self.layer} {self.variable.name} {tuple(self.variable.shape)}"

    def fits(self, shape):
        return tuple(shape) in (self.shape, self.flat_shape)

    def convert(self, array):
        """The tensor's array as the variable wants it; a view of it unless the kernel is adapted."""
        array = array.reshape(self.split).transpose(self.axes)
        return adapt_first_kernel(array, self.variable.shape[2]) if self.adapted else array

    def for_rgb(self):
        """The same slot for a kernel that was trained on RGB images."""
        out, _, height, width = self.shape
        shape = (out, 3, height, width)
        return dataclasses.replace(self, shape=shape, flat_shape=None, split=shape, adapted=True)


def slots_of(layer, path):
    """The slots of a layer that has weights.

    Args:
        layer: keras.layers.Layer, built.
        path: str. The module's path in PyTorch, as in "layer1.0.conv1".

    Returns:
        list of Slot.

    Raises:
        TypeError: there is no rule for this kind of layer.
    """
    if isinstance(layer, layers.BatchNormalization):
        named = {ours: getattr(layer, ours) for ours in _BATCH_NORM}
        return [
            _vector(layer, variable, f"{path}.{_BATCH_NORM[ours]}")
            for ours, variable in named.items()
            if variable is not None
        ]
    for kind, rule in _KERNELS.items():
        if isinstance(layer, kind):
            shape, flat_shape, split, axes = rule(tuple(layer.kernel.shape))
            slots = [Slot(layer.name, layer.kernel, f"{path}.weight", shape, flat_shape, split, axes)]
            if layer.bias is not None:
                slots.append(_vector(layer, layer.bias, f"{path}.bias"))
            return slots
    known = ", ".join(kind.__name__ for kind in (*_KERNELS, layers.BatchNormalization))
    raise TypeError(
        f"Layer {layer.name!r} is a {type(layer).__name__}, whose weights have no rule here: {known} have."
    )


def _vector(layer, variable, tensor):
    shape = tuple(variable.shape)
    return Slot(layer.name, variable, tensor, shape, None, shape, (0,))


def _convolution(kernel):
    height, width, inputs, outputs = kernel
    shape = (outputs, inputs, height, width)
    return shape, (outputs, inputs * height * width), shape, (2, 3, 1, 0)


def _transposed(kernel):
    height, width, outputs, inputs = kernel
    shape = (inputs, outputs, height, width)
    return shape, None, shape, (2, 3, 1, 0)


def _depthwise(kernel):
    height, width, inputs, multiplier = kernel
    shape = (inputs * multiplier, 1, height, width)
    return shape, None, (inputs, multiplier, height, width), (2, 3, 0, 1)


def _dense(kernel):
    inputs, outputs = kernel
    return (outputs, inputs), None, (outputs, inputs), (1, 0)


# Kind of layer to rule: the kernel's shape to the tensor's shape, flat shape, split and axes.
_KERNELS = {
    layers.Conv2D: _convolution,
    layers.Conv2DTranspose: _transposed,
    layers.DepthwiseConv2D: _depthwise,
    layers.Dense: _dense,
    layers.EinsumDense: _convolution,
}
