"""Instances from semantic output: separate objects of one class, by connected components or by watershed.

A semantic network gives classes, not objects. Where objects do not touch, the connected components of their
class are the objects. Where they touch, the network is trained with a border class between background and
inside (nuclei: 0 background, 1 inside, 2 border): the insides are apart, and each grows back over the border.
"""

import numpy as np

from keras_seg.utils.validation import bad_argument, check_choice, check_integer


def instances_from_semantic(
    prediction, *, method="watershed", foreground=1, border=2, min_size=0, connectivity=None
):
    """Label the objects of a class map, or of a probability map.

    "components" labels the connected components of the foreground classes; the border class, if there is
    one, counts as background. "watershed" takes those components as seeds and grows them over the border
    class, in the order of distance from the foreground, or of falling foreground probability where
    probabilities are given; a patch of border without any inside is dropped. Watershed: Meyer 1991, as in
    scikit-image.

    Args:
        prediction: integer array (H, W) of class ids, or float array (H, W, K) of probabilities.
        method: str, "watershed" (default) or "components".
        foreground: int or sequence of int, default 1. Classes whose pixels are inside objects.
        border: int, default 2. Class of the objects' rims. Not used by "components".
        min_size: int, default 0. Objects of fewer pixels are removed.
        connectivity: 1, pixels touch along an edge; 2, also at a corner; or None (default), which is 1 for
            "components", as a membrane that runs diagonally would leak else, and 2 for "watershed", as a thin
            inside would fall apart else (AP of the true borders of 133 real images of nuclei: 0.96 with 2,
            0.92 with 1).

    Returns:
        int32 array (H, W): 0 background, 1..n the objects.

    Raises:
        ValueError: a prediction of another shape or type, or an argument out of its range.

    Example:

        >>> cells = instances_from_semantic(classes, method="components", foreground=1)
        >>> nuclei = instances_from_semantic(probabilities, min_size=20)
    """
    from skimage.measure import label
    from skimage.segmentation import relabel_sequential, watershed

    check_choice("method", method, ("watershed", "components"))
    connectivity = check_choice("connectivity", connectivity, (None, 1, 2)) or (
        1 if method == "components" else 2
    )
    check_integer("min_size", min_size, minimum=0)
    foreground = [check_integer("foreground", i, minimum=0) for i in np.atleast_1d(foreground).tolist()]
    classes, relief = _classes_and_relief(np.asarray(prediction), foreground)
    inside = np.isin(classes, foreground)
    instances = label(inside, connectivity=connectivity)
    if method == "watershed":
        if check_integer("border", border, minimum=0) in foreground:
            raise bad_argument(
                "border",
                f"another class than foreground={foreground}",
                border,
                'Without one, take method="components".',
            )
        objects = inside | (classes == border)
        instances = watershed(relief, instances, connectivity=connectivity, mask=objects)
    sizes = np.bincount(instances.ravel())
    instances[sizes[instances] < min_size] = 0
    return relabel_sequential(instances)[0].astype("int32")


def _classes_and_relief(prediction, foreground):
    """The class map, and what the watershed climbs: low inside the objects, high at their rims."""
    if prediction.ndim == 3 and prediction.dtype.kind == "f":
        if max(foreground) >= prediction.shape[-1]:
            raise bad_argument("foreground", f"class ids below {prediction.shape[-1]}", foreground)
        return prediction.argmax(-1), 1 - prediction[..., foreground].sum(-1)
    if prediction.ndim == 2 and prediction.dtype.kind in "bui":
        from scipy.ndimage import distance_transform_edt

        return prediction, distance_transform_edt(~np.isin(prediction, foreground))
    raise bad_argument(
        "prediction",
        "class ids, integers (H, W), or probabilities, floats (H, W, K)",
        f"shape {prediction.shape} and dtype {prediction.dtype}",
    )
