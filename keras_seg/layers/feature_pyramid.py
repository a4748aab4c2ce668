"""Feature pyramid: fine maps that know what the coarse ones saw."""

import re

import keras
from keras import layers, ops

from keras_seg.layers.batch_normalization import BatchNormalization
from keras_seg.layers.conv_block import group_normalization
from keras_seg.layers.winograd_conv2d import conv2d
from keras_seg.utils.validation import bad_argument, check_choice, check_integer

_NORMALIZATIONS = (None, "batch", "group")


@keras.saving.register_keras_serializable(package="keras_seg")
class FeaturePyramid(layers.Layer):
    """Maps of one number of channels at every level, made from a backbone's from coarse to fine.

    Each map is brought to `filters` channels by a 1x1 convolution, the coarser one is doubled by its nearest
    pixels and added, and a 3x3 convolution smooths the sum. One more level is the coarsest one's every second
    pixel; it serves the proposals only.

    Reference: Lin et al. 2017, Feature Pyramid Networks for Object Detection, section 3.

    Args:
        filters: int. Channels of every output, default 256.
        extra_level: bool, default True. Add the level above the coarsest.
        normalization: None (the paper's), "batch" or "group": after each convolution, which then has no bias.

    Call arguments:
        maps: dict of consecutive levels, {"P2": (N, H2, W2, C2), ..., "P5": ...}; each map has
            ceil(size / 2) pixels of the one below.

    Returns:
        dict of the same levels, and one more with `extra_level`, each (N, H_k, W_k, filters).

    Raises:
        ValueError: no map, names that are no levels, levels with a gap, or sizes that do not halve.

    Example:
        >>> maps = {"P4": np.ones((1, 16, 16, 8)), "P5": np.ones((1, 8, 8, 16))}
        >>> {level: x.shape[1] for level, x in FeaturePyramid(32)(maps).items()}
        {'P4': 16, 'P5': 8, 'P6': 4}
    """

    def __init__(self, filters=256, extra_level=True, normalization=None, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_integer("filters", filters)
        self.extra_level = bool(extra_level)
        self.normalization = check_choice("normalization", normalization, _NORMALIZATIONS)

    @property
    def parts(self):
        """The layers that hold the weights: "inner_P2", "output_P2", ..., each with its "_norm"."""
        return [
            layer
            for stage in (self._inner, self._output)
            for pair in stage.values()
            for layer in pair
            if layer is not None
        ]

    def build(self, input_shape):
        levels = _ordered(input_shape)
        _check_sizes([tuple(input_shape[level]) for level in levels])
        self._inner, self._output = {}, {}
        for level in levels:
            shape = tuple(input_shape[level])
            self._inner[level] = self._stage(f"inner_{level}", 1, shape)
            self._output[level] = self._stage(f"output_{level}", 3, (*shape[:-1], self.filters))

    def call(self, maps, training=None):
        levels = _ordered(maps)
        merged, outputs = None, {}
        for level in reversed(levels):
            inner = _apply(self._inner[level], maps[level], training)
            if merged is not None:
                inner = inner + _doubled(merged, inner)
            merged = inner
            outputs[level] = _apply(self._output[level], merged, training)
        outputs = {level: outputs[level] for level in levels}
        if self.extra_level:
            outputs[_above(levels[-1])] = outputs[levels[-1]][:, ::2, ::2]
        return outputs

    def compute_output_spec(self, maps, training=None):
        levels = _ordered(maps)
        shapes = {level: (*maps[level].shape[:-1], self.filters) for level in levels}
        if self.extra_level:
            batch, *sides, _ = shapes[levels[-1]]
            sides = [None if side is None else -(-side // 2) for side in sides]
            shapes[_above(levels[-1])] = (batch, *sides, self.filters)
        return {level: keras.KerasTensor(shape, self.compute_dtype) for level, shape in shapes.items()}

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "extra_level": self.extra_level,
            "normalization": self.normalization,
        }

    def _stage(self, name, kernel_size, input_shape):
        """A convolution and its normalization or None, built; attributes, so that Keras saves them."""
        convolution = conv2d(
            self.filters,
            kernel_size,
            padding="same",
            use_bias=self.normalization is None,
            kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "uniform"),
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=name,
        )
        convolution.build(input_shape)
        setattr(self, name, convolution)
        norm = None
        if self.normalization == "batch":
            norm = BatchNormalization(
                momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name=f"{name}_norm"
            )
        elif self.normalization == "group":
            norm = group_normalization(self.filters, dtype=self.dtype_policy, name=f"{name}_norm")
        if norm is not None:
            norm.build((*input_shape[:-1], self.filters))
            setattr(self, f"{name}_norm", norm)
        return convolution, norm


def _apply(stage, x, training):
    convolution, norm = stage
    x = convolution(x)
    return x if norm is None else norm(x, training=training)


def _doubled(coarse, fine):
    """`coarse` with each pixel repeated, cut to the size of `fine` where that is odd."""
    # By hand: in TensorFlow `keras.ops.repeat` is many operations, and each of its passes copies them.
    batch, *size, channels = ops.shape(coarse)
    rows = ops.reshape(ops.concatenate([coarse, coarse], axis=3), (batch, size[0], 2 * size[1] * channels))
    doubled = ops.reshape(ops.concatenate([rows, rows], axis=2), (batch, 2 * size[0], 2 * size[1], channels))
    height, width = ops.shape(fine)[1:3]
    return doubled[:, :height, :width]


def _ordered(maps):
    """The names of consecutive levels, finest first."""
    expected = "a dict of consecutive levels, P2 to P5 for instance"
    if not isinstance(maps, dict) or not all(re.fullmatch(r"P\d+", str(level)) for level in maps):
        raise bad_argument("maps", expected, sorted(maps) if isinstance(maps, dict) else type(maps).__name__)
    levels = sorted(maps, key=lambda level: int(level[1:]))
    numbers = [int(level[1:]) for level in levels]
    if not levels or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise bad_argument("maps", expected, levels)
    return levels


def _check_sizes(shapes):
    for fine, coarse in zip(shapes, shapes[1:], strict=False):
        for side, half in zip(fine[1:3], coarse[1:3], strict=True):
            if None not in (side, half) and half != -(-side // 2):
                raise bad_argument(
                    "maps", "of sizes that halve, rounded up", [shape[1:3] for shape in shapes]
                )


def _above(level):
    return f"P{int(level[1:]) + 1}"
