"""Object proposals: boxes that may hold an object, for DeconvNet's second stage and its inference.

Boxes are float32 (P, 4), xyxy in continuous pixels of the image, the best first.
"""

import os

import numpy as np

from keras_seg.data.box_crops import enlarged
from keras_seg.utils.optional import import_optional
from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_number

METHODS = ("selective_search", "edge_boxes")


def propose(
    image,
    method="selective_search",
    *,
    count=50,
    enlarge=1.2,
    min_side=0.1,
    work_size=300,
    seed=0,
    model_file=None,
):
    """Boxes that may hold an object.

    "selective_search" is OpenCV contrib's, in its fast mode: regions that are merged by likeness. It has no
    objectness; as in its paper, large regions come before small ones but for a random factor, which is drawn
    here, since OpenCV's cannot be seeded. The same seed gives the same boxes. "edge_boxes" is the paper's, by
    objectness, and needs the structured-edge model of OpenCV's extra data (`model.yml.gz`), whose path the
    user gives.

    Reference: Uijlings et al. 2013, "Selective search for object recognition"; Zitnick and Dollar 2014, "Edge
    boxes". DeconvNet takes the best 50 of about 2000 (Noh, Hong, Han 2015, section 4.3).

    Args:
        image: uint8 or float array (H, W, 3), RGB, or (H, W, 1), 0..255.
        method: "selective_search" or "edge_boxes".
        count: int. Most boxes returned.
        enlarge: float. Each box is enlarged around its centre by this factor, also over the border.
        min_side: float. Enlarged boxes with a shorter side are left out: a part of the image's shorter side
            up to 1, pixels above 1. The released code leaves out boxes below 112 pixels of PASCAL's images.
        work_size: int. The image is shrunk first to this longer side, in pixels; selective search takes about
            four times as long for twice the size.
        seed: int, of selective search.
        model_file: path of the structured-edge model, for "edge_boxes".

    Returns:
        float32 array (P, 4), P at most `count`; (0, 4) where nothing is found.

    Raises:
        ImportError: OpenCV's contrib modules are not installed.
        ValueError: an argument out of range, or a model file that isn't there.

    Example:
        >>> boxes = propose(photo, count=50)
    """
    check_choice("method", method, METHODS)
    check_integer("count", count)
    check_number("enlarge", enlarge, 0.01)
    check_number("min_side", min_side, 0)
    pixels, scale = _working_image(image, check_integer("work_size", work_size, 16))
    if method == "edge_boxes":
        boxes = _edge_boxes(pixels, model_file)
    else:
        boxes = _selective_search(pixels, check_integer("seed", seed, 0))
    least = min_side * min(np.shape(image)[:2]) if min_side <= 1 else min_side
    boxes = enlarged(boxes * np.float32(scale), enlarge)
    return boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= least][:count]


def overlapping(boxes, truth):
    """The true box that each box overlaps most, and how much.

    Args:
        boxes: float array (P, 4), xyxy.
        truth: float array (G, 4), xyxy.

    Returns:
        Pair: int array (P,), rows of `truth`, and float64 array (P,), IoUs; 0 where there is no true box, or
        a box has no area.
    """
    boxes, truth = (np.asarray(b, "float64").reshape(-1, 4) for b in (boxes, truth))
    if not len(truth):
        return np.zeros(len(boxes), int), np.zeros(len(boxes))
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=-1) for b in (boxes, truth)]
    union = areas[0][:, None] + areas[1][None] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou.argmax(axis=1), iou.max(axis=1)


def instance_boxes(instances):
    """The tight box around each object.

    Args:
        instances: integer array (H, W), 0 for background.

    Returns:
        Pair: ids, int array (G,), ascending, and float32 (G, 4), xyxy; the last column belongs to the box, so
        x2 is one more than its number.
    """
    from scipy import ndimage

    found = enumerate(ndimage.find_objects(np.asarray(instances).astype("int32")), start=1)
    found = [(number, slices) for number, slices in found if slices is not None]
    boxes = [(x.start, y.start, x.stop, y.stop) for _, (y, x) in found]
    return np.array([number for number, _ in found], int), np.array(boxes, "float32").reshape(-1, 4)


def _working_image(image, work_size):
    """uint8 (h, w, 3) in BGR, shrunk, and the factor from its pixels to the image's."""
    cv2 = _opencv()
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or 0 in image.shape:
        raise bad_argument("image", "an image (H, W, 3) or (H, W, 1)", image.shape)
    pixels = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., ::-1]
    pixels = np.ascontiguousarray(pixels.clip(0, 255).astype("uint8"))
    scale = max(1.0, max(image.shape[:2]) / work_size)
    if scale == 1:
        return pixels, scale
    size = [max(1, round(side / scale)) for side in (image.shape[1], image.shape[0])]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), scale


def _selective_search(pixels, seed):
    cv2 = _opencv()
    if min(pixels.shape[:2]) < 3 or (pixels == pixels[:1, :1]).all():
        return np.zeros((0, 4), "float32")
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(pixels)
    search.switchToSelectiveSearchFast()
    boxes = np.unique(_from_corners_and_sizes(search.process()), axis=0)
    by_area = boxes[np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")]
    priority = np.random.default_rng(seed).uniform(size=len(by_area)) * np.arange(1, len(by_area) + 1)
    return by_area[np.argsort(priority)]


def _edge_boxes(pixels, model_file):
    cv2 = _opencv()
    if model_file is None or not os.path.isfile(model_file):
        fix = "It is model.yml.gz of the folder ximgproc in OpenCV's opencv_extra."
        raise bad_argument("model_file", "the path of the structured-edge model", model_file, fix)
    detector = cv2.ximgproc.createStructuredEdgeDetection(str(model_file))
    edges = detector.detectEdges(pixels[..., ::-1].astype("float32") / 255)
    orientation = detector.computeOrientation(edges)
    return boxes_of_edges(detector.edgesNms(edges, orientation), orientation)


def boxes_of_edges(edges, orientation, count=2000):
    """Edge Boxes of an edge map, by objectness.

    Args:
        edges: float32 array (H, W), strength of the edges, thinned.
        orientation: float32 array (H, W), radians.
        count: int. Most boxes returned.

    Returns:
        float32 array (P, 4), xyxy.
    """
    finder = _opencv().ximgproc.createEdgeBoxes()
    finder.setMaxBoxes(count)
    boxes, scores = finder.getBoundingBoxes(edges, orientation)
    if len(boxes) == 0:
        return np.zeros((0, 4), "float32")
    return _from_corners_and_sizes(np.asarray(boxes)[np.argsort(-np.ravel(scores), kind="stable")])


def _from_corners_and_sizes(boxes):
    """(x, y, width, height) to xyxy, without repeated boxes."""
    boxes = np.asarray(boxes, "float32").reshape(-1, 4)
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    first = np.unique(boxes, axis=0, return_index=True)[1]
    return boxes[np.sort(first)]


def _opencv():
    cv2 = import_optional("cv2", "object proposals", extra="proposals")
    if not hasattr(cv2, "ximgproc"):
        raise ImportError(
            "object proposals need OpenCV's contrib modules, which the installed OpenCV lacks. "
            "Install them in its place: pip install opencv-contrib-python-headless"
        )
    return cv2
