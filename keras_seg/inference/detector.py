"""A detector as inference sees it: what makes a model one, which size it takes, and how it is run."""

import keras
import numpy as np

from keras_seg.inference.frozen_model import thawed
from keras_seg.models.detector import MaskRCNN
from keras_seg.utils.validation import bad_argument

OUTPUTS = ("boxes", "labels", "scores", "masks", "num_detections")


def is_detector(model):
    """Whether a model gives instances and not a map of classes.

    Args:
        model: keras.Model or FrozenModel. A `MaskRCNN` is a detector, and so is any functional model whose
            outputs are a dict with the names in `OUTPUTS`, such as one with a MaskRCNN in it.
    """
    model = thawed(model)
    if isinstance(model, MaskRCNN):
        return True
    # Sequential models that are not built have no outputs.
    outputs = getattr(model, "output", None) if isinstance(model, keras.Model) and model.built else None
    return isinstance(outputs, dict) and outputs.keys() >= set(OUTPUTS)


class Detector:
    """Wraps a model, frozen or not, with images (N, H, W, C) of one size in and a dict of detections out.

    Attributes:
        input_size: (H, W), pixels.
        channels: int. C.
        num_classes: int or None. K, where the model says it.

    Raises:
        ValueError: not a detector, or one without a fixed size.
    """

    def __init__(self, model):
        if not is_detector(model):
            raise bad_argument(
                "model",
                f"a detector: one that gives a dict of {', '.join(OUTPUTS)}",
                getattr(model, "name", model),
            )
        shape = model.input_shape
        if len(shape) != 4 or None in shape[1:]:
            raise bad_argument("model", "built for images of one size (H, W, C)", f"input_shape {shape}")
        self.model = model
        self.input_size, self.channels = tuple(shape[1:3]), shape[3]
        self.num_classes = getattr(thawed(model), "num_classes", None)

    def detect(self, images):
        """Run one batch: array (N, H, W, C), 0..255 -> list of N dicts, without the rows of padding.

        Each has boxes float32 (d, 4), xyxy in pixels of the input, labels int32 (d,), scores float32 (d,) and
        masks float32 (d, m, n), the highest score first.
        """
        outputs = self.model.predict_on_batch(np.asarray(images, "float32"))
        outputs = {name: np.asarray(outputs[name]) for name in OUTPUTS}
        return [self._rows(outputs, index) for index in range(len(images))]

    @staticmethod
    def _rows(outputs, index):
        kept = np.arange(outputs["num_detections"][index])
        kept = kept[np.argsort(-outputs["scores"][index][kept], kind="stable")]
        types = {"boxes": "float32", "labels": "int32", "scores": "float32", "masks": "float32"}
        return {name: outputs[name][index][kept].astype(dtype) for name, dtype in types.items()}
