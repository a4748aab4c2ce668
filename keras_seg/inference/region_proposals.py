"""Object proposals of a trained Mask R-CNN, in place of selective search: boxes for DeconvNet's crops."""

import keras
import numpy as np

from keras_seg.data.box_crops import enlarged
from keras_seg.data.letterbox import Letterbox
from keras_seg.models.detector import MaskRCNN
from keras_seg.utils.validation import bad_argument, check_integer, check_number


class RegionProposals:
    """A callable from an image to boxes, as `predict_proposals` and `train_two_stage` take it.

    The boxes are those of the region proposal network, before any class: best first, enlarged around their
    centres, without those that are small. The image is letterboxed to the detector's size.

    Args:
        model: `keras_seg.models.detector.MaskRCNN`, trained.
        count: int. Most boxes of an image, default 50.
        enlarge: float. Factor on both sides of a box, default 1.2.
        min_side: float. Enlarged boxes with a shorter side are left out: a part of the image's shorter side
            up to 1, pixels above 1. Default 0.1.

    Call arguments:
        image: array (H, W, C), 0..255, of the detector's channels.

    Returns:
        float32 array (P, 4), xyxy in pixels of the image, P at most `count`.

    Raises:
        TypeError: a model that is no MaskRCNN.
        ValueError: a number out of range, or an image of other channels than the model's.

    Example:

        >>> boxes = RegionProposals(detector, count=100)
        >>> classes = predict_proposals(deconvnet, photo, boxes, output="classes")
    """

    def __init__(self, model, count=50, enlarge=1.2, min_side=0.1):
        if not isinstance(model, MaskRCNN):
            raise bad_argument(
                "model",
                "a MaskRCNN, which has a region proposal network",
                type(model).__name__,
                "Build and train one: keras_seg.mask_rcnn.",
                TypeError,
            )
        self.model = model
        self._network = _Proposing(model)
        self.count = check_integer("count", count)
        self.enlarge = check_number("enlarge", enlarge, 0.01)
        self.min_side = check_number("min_side", min_side, 0)

    def __call__(self, image):
        height, width, channels = self.model.input_shape[1:]
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[-1] != channels:
            raise bad_argument("image", f"an image (H, W, {channels})", image.shape)
        if image.dtype != np.uint8:
            image = image.astype("float32")
        letterbox = Letterbox(image.shape[:2], (height, width))
        boxes, scores = self._network.predict_on_batch(letterbox.image(image)[None])
        boxes = letterbox.boxes_back(boxes[0][scores[0] > 0])
        boxes = enlarged(boxes, self.enlarge)
        least = self.min_side * min(image.shape[:2]) if self.min_side <= 1 else self.min_side
        return boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= least][: self.count]


class _Proposing(keras.Model):
    """A detector that stops at its proposals, so that Keras compiles this part on every backend."""

    def __init__(self, detector):
        super().__init__(name=f"{detector.name}_proposals")
        self.detector = detector

    def call(self, images):
        return self.detector.propose(images)
