"""RoIAlign and RoIPool as layers: features of boxes, from one map or from a pyramid."""

import keras
from keras import ops, tree

from keras_seg.ops.pyramid_levels import level_numbers
from keras_seg.ops.roi_alignment import check_sampling_ratio, multilevel_roi_align, roi_align
from keras_seg.ops.roi_pooling import multilevel_roi_pool, roi_pool
from keras_seg.ops.roi_regions import check_maps, maps_by_argument
from keras_seg.utils.validation import bad_argument, check_integer, check_pair, check_positive


class _RegionLayer(keras.layers.Layer):
    """What the two layers share: the pair of features and boxes, its types and its shapes."""

    def __init__(self, output_size, spatial_scale, canonical_size, canonical_level, **kwargs):
        # Without Keras's casting of every input: in bfloat16 a box at 300.5 pixels would move to 300. The
        # features are cast in `call`.
        super().__init__(autocast=False, **kwargs)
        self.output_size = check_pair("output_size", output_size)
        self.spatial_scale = check_positive("spatial_scale", spatial_scale)
        self.canonical_size = check_positive("canonical_size", canonical_size)
        self.canonical_level = check_integer("canonical_level", canonical_level, minimum=0)

    def _cast_features(self, inputs):
        """The features in the compute dtype, and the boxes as they are."""
        features, boxes = self._pair(inputs)
        for name, level in self._named(features).items():
            self._computed_dtype(name, ops.convert_to_tensor(level).dtype)
        return tree.map_structure(lambda level: ops.cast(level, self.compute_dtype), features), boxes

    def compute_output_shape(self, input_shape):
        features, boxes = self._pair(input_shape)
        shapes = {name: tuple(shape) for name, shape in self._named(features).items()}
        return self._output_shape(
            {name: (shape, self.compute_dtype) for name, shape in shapes.items()}, boxes
        )

    def compute_output_spec(self, inputs):
        features, boxes = self._pair(inputs)
        kinds = {
            name: (tuple(level.shape), self._computed_dtype(name, level.dtype))
            for name, level in self._named(features).items()
        }
        return keras.KerasTensor(self._output_shape(kinds, boxes.shape), dtype=self.compute_dtype)

    def _pair(self, inputs):
        """Features and boxes, or their shapes, from what the layer was called with."""
        if not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
            received = len(inputs) if isinstance(inputs, (tuple, list)) else type(inputs).__name__
            fix = "Call the layer with [features, boxes]."
            raise bad_argument("inputs", "a pair of features and boxes", received, fix, TypeError)
        return inputs

    def _named(self, features):
        """The maps or their shapes by the words for them, see `maps_by_argument`."""
        if isinstance(features, dict):
            level_numbers("features", features)
            if self.spatial_scale != 1:
                expected = "1.0 where the features are a pyramid"
                fix = "The names of a pyramid's levels tell their scales."
                raise bad_argument("spatial_scale", expected, self.spatial_scale, fix)
        return maps_by_argument(features)

    def _computed_dtype(self, name, dtype):
        """What features of a dtype are cast to, or a ValueError for those that are not floating point."""
        dtype = keras.backend.standardize_dtype(dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise bad_argument(f"{name}.dtype", "a floating-point type", dtype, "Cast the features first.")
        return self.compute_dtype

    def _output_shape(self, kinds, boxes):
        check_maps(kinds, tuple(boxes))
        shape, _ = next(iter(kinds.values()))
        return (shape[0] if boxes[0] is None else boxes[0], boxes[1], *self.output_size, shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "spatial_scale": self.spatial_scale,
            "canonical_size": self.canonical_size,
            "canonical_level": self.canonical_level,
        }


@keras.saving.register_keras_serializable(package="keras_seg")
class RoIAlign(_RegionLayer):
    """Features of each box: means of bilinear samples in h x w bins, from one map or from a pyramid.

    The ops `roi_align` and `multilevel_roi_align` say what is computed. Under a mixed dtype policy the
    features and the result have the policy's compute dtype; boxes stay in float32.

    Reference: He et al. 2017, Mask R-CNN, section 3.

    Args:
        output_size: int or pair (h, w). Bins along y and x.
        spatial_scale: float. Map pixels per image pixel, where the features are one map. Defaults to 1.
        sampling_ratio: int. Samples in each bin and axis; -1 adapts to the size of the box. Defaults to 2.
        aligned: bool. Half-pixel rule for the boxes. Defaults to True.
        canonical_size: float. Side of the box that belongs to `canonical_level`, where the features are a
            pyramid. Defaults to 224.
        canonical_level: int. Defaults to 4.

    Call arguments:
        inputs: pair of the features, a tensor (N, H, W, C) or a dict of level names such as "P2" to such
            tensors, and the boxes (N, K, 4), xyxy in absolute pixels of the image.

    Returns:
        Tensor (N, K, h, w, C), the compute dtype.

    Raises:
        ValueError, TypeError: as the ops do.

    Example:
        >>> pyramid = {"P2": np.zeros((1, 64, 64, 8)), "P3": np.zeros((1, 32, 32, 8))}
        >>> RoIAlign(7)([pyramid, np.array([[[0.0, 0.0, 200.0, 200.0]]])]).shape
        TensorShape([1, 1, 7, 7, 8])
    """

    def __init__(
        self,
        output_size,
        spatial_scale=1.0,
        sampling_ratio=2,
        aligned=True,
        canonical_size=224,
        canonical_level=4,
        **kwargs,
    ):
        super().__init__(output_size, spatial_scale, canonical_size, canonical_level, **kwargs)
        self.sampling_ratio = check_sampling_ratio(sampling_ratio)
        self.aligned = bool(aligned)

    def call(self, inputs):
        features, boxes = self._cast_features(inputs)
        sampling = self.sampling_ratio, self.aligned
        if isinstance(features, dict):
            canonical = self.canonical_size, self.canonical_level
            return multilevel_roi_align(features, boxes, self.output_size, *sampling, *canonical)
        return roi_align(features, boxes, self.output_size, self.spatial_scale, *sampling)

    def get_config(self):
        return {**super().get_config(), "sampling_ratio": self.sampling_ratio, "aligned": self.aligned}


@keras.saving.register_keras_serializable(package="keras_seg")
class RoIPool(_RegionLayer):
    """Features of each box: the largest value in each of h x w bins of whole pixels.

    What RoIAlign replaced; it takes the same inputs, so that one can stand in the other's place. The ops
    `roi_pool` and `multilevel_roi_pool` say what is computed. Under a mixed dtype policy the features and the
    result have the policy's compute dtype; boxes stay in float32.

    Reference: Girshick 2015, Fast R-CNN, section 2.1.

    Args:
        output_size: int or pair (h, w). Bins along y and x.
        spatial_scale: float. Map pixels per image pixel, where the features are one map. Defaults to 1.
        canonical_size: float. As in RoIAlign. Defaults to 224.
        canonical_level: int. Defaults to 4.

    Call arguments:
        inputs: as in RoIAlign.

    Returns:
        Tensor (N, K, h, w, C), the compute dtype.

    Raises:
        ValueError, TypeError: as the ops do.

    Example:
        >>> RoIPool(7, spatial_scale=1 / 16)([np.zeros((1, 32, 32, 8)), np.zeros((1, 5, 4))]).shape
        TensorShape([1, 5, 7, 7, 8])
    """

    def __init__(self, output_size, spatial_scale=1.0, canonical_size=224, canonical_level=4, **kwargs):
        super().__init__(output_size, spatial_scale, canonical_size, canonical_level, **kwargs)

    def call(self, inputs):
        features, boxes = self._cast_features(inputs)
        if isinstance(features, dict):
            canonical = self.canonical_size, self.canonical_level
            return multilevel_roi_pool(features, boxes, self.output_size, *canonical)
        return roi_pool(features, boxes, self.output_size, self.spatial_scale)
