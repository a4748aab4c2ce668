"""RoIAlign: features of boxes, read from a map or from a pyramid at points between the pixels."""

from keras_seg.ops.roi_means import RegionMeans
from keras_seg.ops.roi_regions import lay_on_map, lay_on_pyramid, output_of
from keras_seg.utils.validation import check_integer, check_pair


def roi_align(features, boxes, output_size, spatial_scale=1.0, sampling_ratio=2, aligned=True):
    """Features of each box, cut into bins: the mean of bilinear samples in each bin.

    Coordinates are continuous: pixel i covers i..i+1 and its centre is at i + 0.5. A sample more than one
    pixel outside the map is 0, a nearer one takes the map's edge: torchvision's rule. The gradient goes to
    the features only, as in torchvision. Coordinates and sums are in float32, whatever the features' dtype.

    Reference: He et al. 2017, Mask R-CNN, section 3. Border rule, `aligned=False` and adaptive sampling are
    those of torchvision.ops.roi_align.

    Args:
        features: tensor (N, H, W, C), floating point.
        boxes: tensor (N, K, 4), xyxy in absolute pixels of the image; cast to float32. A box may reach over
            the border, have no area, or be padding of any value: what lies outside the map is 0, and so is a
            box with a NaN.
        output_size: int or pair (h, w). Bins along y and x.
        spatial_scale: float. Map pixels per image pixel: 1 / 16 for a map of stride 16. Defaults to 1.
        sampling_ratio: int. Samples in each bin and axis, at least 1. -1 adapts: as many as the bin has map
            pixels, rounded up; a box without area then gives 0. Defaults to 2.
        aligned: bool. True for the half-pixel rule above. False for the rule of the first implementations,
            half a pixel to the lower right, with boxes at least one map pixel wide. Defaults to True.

    Returns:
        Tensor (N, K, h, w, C), the features' dtype.

    Raises:
        ValueError: for a wrong rank, a last axis of boxes that is not 4, batches that differ, features that
            are not floating point, or a setting out of range.
        TypeError: for an argument of a wrong type, or a KerasTensor: use `keras_seg.layers.RoIAlign`.

    Example:
        >>> features = np.arange(16.0, dtype="float32").reshape(1, 4, 4, 1)
        >>> boxes = np.array([[[0.0, 0.0, 4.0, 4.0]]], "float32")
        >>> roi_align(features, boxes, 2)[0, 0, :, :, 0]  # the means of the four quarters
        [[ 2.5,  4.5], [10.5, 12.5]]
    """
    means = _checked_means(output_size, sampling_ratio, aligned)
    table, regions, leading = lay_on_map("roi_align", features, boxes, spatial_scale)
    return output_of(means, table, regions, leading)


def multilevel_roi_align(
    features, boxes, output_size, sampling_ratio=2, aligned=True, canonical_size=224, canonical_level=4
):
    """Features of each box from the one level of a pyramid that fits its size.

    Each box is read from one level only, see `assign_pyramid_levels`; pixels of level k are 2 ** k image
    pixels wide. All levels together cost as much as one.

    Reference: Lin et al. 2017, Feature Pyramid Networks for Object Detection, equation 1; He et al. 2017.

    Args:
        features: dict of level name to tensor (N, H_k, W_k, C), floating point, the same N, C and dtype. The
            number in the name is the level: "P2" has stride 4. Levels are consecutive, in any order.
        boxes: tensor (N, K, 4), xyxy in absolute pixels of the image, as in `roi_align`.
        output_size: int or pair (h, w).
        sampling_ratio: int. As in `roi_align`. Defaults to 2.
        aligned: bool. As in `roi_align`. Defaults to True; torchvision's MultiScaleRoIAlign has False.
        canonical_size: float. Side of the box that belongs to `canonical_level`. Defaults to 224.
        canonical_level: int. Defaults to 4.

    Returns:
        Tensor (N, K, h, w, C), the features' dtype.

    Raises:
        ValueError: as `roi_align`; also for no levels, names without a number, or levels with a gap.
        TypeError: as `roi_align`; also where `features` is not a dict.

    Example:
        >>> pyramid = {"P2": np.zeros((1, 64, 64, 8), "float32"), "P3": np.ones((1, 32, 32, 8), "float32")}
        >>> multilevel_roi_align(pyramid, np.array([[[0.0, 0.0, 200.0, 200.0]]]), 7).shape
        (1, 1, 7, 7, 8)
    """
    # A pyramid's boxes are a detector's, of whose time they take a twentieth: no reason to load a compiler.
    means = _checked_means(output_size, sampling_ratio, aligned, compiles=False)
    laid = lay_on_pyramid("multilevel_roi_align", features, boxes, canonical_size, canonical_level)
    return output_of(means, *laid)


def check_sampling_ratio(value):
    """Return `value` if it is a number of samples, at least 1, or -1, else raise."""
    if isinstance(value, int) and value == -1:
        return value
    return check_integer(
        "sampling_ratio", value, fix="-1 adapts the number of samples to the size of the box."
    )


def _checked_means(output_size, sampling_ratio, aligned, compiles=True):
    output_size = check_pair("output_size", output_size)
    return RegionMeans(output_size, check_sampling_ratio(sampling_ratio), bool(aligned), compiles)
